package bench

import (
	"bufio"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	plotWidth  = 20 * vg.Centimeter
	plotHeight = 11 * vg.Centimeter
)

// WritePlot writes an SVG with a line for the floor and for each result: the
// percentage of calls that took no longer than a time.
func (r *Report) WritePlot(w *bufio.Writer) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "Latency", "µs", "% of the calls"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for i, result := range r.all() {
		line, err := plotter.NewLine(result.cumulative())
		if err != nil {
			return err
		}
		line.Color, line.Width = plotutil.Color(i), vg.Points(1.5)
		line.Dashes = plotutil.Dashes(i / len(plotutil.DefaultColors))
		p.Add(line)
		p.Legend.Add(result.title(), line)
	}
	return writeSVG(w, p)
}

// cumulative returns 16 points for each power of two: microseconds, and the
// percentage of calls that took no longer.
func (r *Result) cumulative() plotter.XYs {
	var points plotter.XYs
	seen := uint64(0)
	for _, b := range buckets(r.histogram, 16) {
		seen += b.Count
		points = append(points, plotter.XY{
			X: math.Max(1e-3, float64(b.UpTo)/1e3), // above 0, for the logarithm
			Y: 100 * float64(seen) / float64(r.histogram.TotalCount()),
		})
	}
	return points
}

// writeSVG draws the legend beside the plot, where it hides no line.
func writeSVG(w *bufio.Writer, p *plot.Plot) error {
	format, err := draw.NewFormattedCanvas(plotWidth, plotHeight, "svg")
	if err != nil {
		return err
	}
	canvas := draw.New(format)
	legend := p.Legend
	p.Legend = plot.NewLegend()
	width := legend.Rectangle(canvas).Size().X + vg.Centimeter
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Path())
	p.Draw(draw.Crop(canvas, 0, -width, 0, 0))
	legend.Draw(canvas)
	_, err = format.WriteTo(w)
	return err
}
