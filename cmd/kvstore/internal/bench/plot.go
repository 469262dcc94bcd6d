package bench

import (
	"bufio"
	"bytes"
	"image/color"
	"math"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/palette"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	plotWidth  = 18 * vg.Centimeter // without the legend
	plotHeight = 11 * vg.Centimeter // if the legend is not higher

	// plotFont is measured for the layout. What shows an SVG may lack it, so
	// there are others to fall back on, and room for wider ones.
	plotFont      = "Liberation Sans"
	fallbackFonts = "Liberation Sans, Arial, Helvetica, sans-serif"
	fallbackWidth = 1.4
)

// WritePlot writes an SVG with a line for the floor and for each result: the
// percentage of calls that took no longer than a time.
func (r *Report) WritePlot(w *bufio.Writer) error {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = "How many calls took no longer", "% of the calls"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, timeTicks{}
	p.Y.Min, p.Y.Max, p.Y.Tick.Marker = 0, 100, percentTicks{}
	p.Add(plotter.NewGrid())
	all := r.all()
	for i, style := range lineStyles(all) {
		line, err := plotter.NewLine(all[i].cumulative())
		if err != nil {
			return err
		}
		line.LineStyle = style
		p.Add(line)
		p.Legend.Add(all[i].title(), line)
	}
	p.Y.Max = 100 // Add has made room for the lines
	return writeSVG(w, p)
}

// cumulative returns 16 points for each power of two: nanoseconds, and the
// percentage of calls that took no longer.
func (r *Result) cumulative() plotter.XYs {
	var points plotter.XYs
	seen := uint64(0)
	for _, b := range buckets(r.histogram, 16) {
		seen += b.Count
		points = append(points, plotter.XY{
			X: math.Max(1, float64(b.UpTo)), // above 0, for the logarithm
			Y: 100 * float64(seen) / float64(r.histogram.TotalCount()),
		})
	}
	return points
}

// MaxPlotLines is how many lines of one case can be told apart: four shades of
// each kind of dashes.
const MaxPlotLines = 20

// dashes tell lines of a case apart.
var dashes = [][]vg.Length{
	nil,
	{vg.Points(6), vg.Points(3)},
	{vg.Points(2), vg.Points(2)},
	{vg.Points(8), vg.Points(2), vg.Points(2), vg.Points(2)},
	{vg.Points(12), vg.Points(4)},
}

// lineStyles returns a style for each result. A case has a hue. Within it,
// lines for more writers or larger values are lighter, and dashed. No two look
// the same if a case has at most MaxPlotLines.
func lineStyles(all []*Result) []draw.LineStyle {
	hues, count := map[string]int{}, map[string]int{}
	for _, r := range all {
		if _, ok := hues[r.Case]; !ok {
			hues[r.Case] = len(hues)
		}
		count[r.Case]++
	}
	styles, seen := make([]draw.LineStyle, len(all)), map[string]int{}
	for i, r := range all {
		n := seen[r.Case]
		seen[r.Case]++
		styles[i] = draw.LineStyle{
			Color:  lineColor(float64(hues[r.Case])/float64(len(hues)), float64(n)/float64(count[r.Case])),
			Width:  vg.Points(1.5),
			Dashes: dashes[n%len(dashes)],
		}
	}
	return styles
}

// lineColor returns a color that is dark enough on white. Hue and light are
// from 0 to 1.
func lineColor(hue, light float64) color.Color {
	c := palette.HSVA{H: hue, S: 1 - 0.6*light, V: 0.7 + 0.2*light, A: 1}
	if 0.1 < hue && hue < 0.55 {
		c.V -= 0.2 // yellow, green and cyan look lighter than others
	}
	return color.NRGBAModel.Convert(c)
}

// timeTicks are ticks at 1, 2 and 5 of each power of ten nanoseconds, labeled
// as times. All have labels unless there are too many.
type timeTicks struct{}

// Ticks implements [plot.Ticker].
func (timeTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	many := high/low > 1e5
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for _, digit := range []float64{1, 2, 3, 4, 5, 6, 7, 8, 9} {
			at := digit * power
			if at < low*(1-1e-9) || at > high*(1+1e-9) {
				continue
			}
			tick := plot.Tick{Value: at}
			if digit == 1 || !many && (digit == 2 || digit == 5) {
				tick.Label = time.Duration(math.Round(at)).String()
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// percentTicks are ticks at each ten percent.
type percentTicks struct{}

// Ticks implements [plot.Ticker].
func (percentTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for at := math.Ceil(low/10) * 10; at <= high; at += 10 {
		ticks = append(ticks, plot.Tick{Value: at, Label: strconv.Itoa(int(at))})
	}
	return ticks
}

// useFont sets plotFont for all texts.
func useFont(p *plot.Plot) {
	for _, style := range []*text.Style{
		&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label,
		&p.Legend.TextStyle,
	} {
		style.Font = font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, style.Font.Size)
	}
}

// writeSVG draws a plot and, to the right of it, its legend.
func writeSVG(w *bufio.Writer, p *plot.Plot) error {
	useFont(p)
	legend := p.Legend
	p.Legend = plot.NewLegend()
	legend.Top, legend.Left, legend.Padding = true, true, vg.Points(3)
	size := legend.Rectangle(draw.Canvas{}).Size()
	width := legend.ThumbnailWidth + fallbackWidth*(size.X-legend.ThumbnailWidth) + vg.Centimeter
	height := max(plotHeight, size.Y+2*vg.Centimeter)
	format, err := draw.NewFormattedCanvas(plotWidth+width, height, "svg")
	if err != nil {
		return err
	}
	canvas := draw.New(format)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Path())
	p.Draw(draw.Crop(canvas, 0, -width, 0, 0))
	legend.Draw(draw.Crop(canvas, plotWidth+vg.Centimeter/2, 0, 0, -vg.Centimeter))
	var svg bytes.Buffer
	if _, err := format.WriteTo(&svg); err != nil {
		return err
	}
	_, err = w.WriteString(strings.ReplaceAll(svg.String(), "font-family:"+plotFont, "font-family:"+fallbackFonts))
	return err
}
