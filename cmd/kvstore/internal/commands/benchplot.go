package commands

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

// plot draws, for the floor and each result, which part of the calls took how long at most, as SVG.
func (b *benchReport) plot(w *bufio.Writer) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "Latency", "µs", "% of the calls"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for i, r := range append([]*benchResult{b.Floor}, b.Results...) {
		line, err := plotter.NewLine(r.cumulative())
		if err != nil {
			return err
		}
		line.Color, line.Width, line.Dashes = plotutil.Color(i), vg.Points(1.5), plotutil.Dashes(i/len(plotutil.DefaultColors))
		p.Add(line)
		p.Legend.Add(r.title(), line)
	}
	return writeSVG(w, p)
}

// cumulative has 16 points for each power of two: microseconds, and the percentage that took no longer.
func (r *benchResult) cumulative() plotter.XYs {
	var points plotter.XYs
	seen := uint64(0)
	for _, bar := range bars(r.histogram, 16) {
		seen += bar.Count
		points = append(points, plotter.XY{
			X: math.Max(1e-3, float64(bar.UpTo)/1e3), // a logarithm is taken of it
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
