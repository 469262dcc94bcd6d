package main

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	plotWidth  = 18 * vg.Centimeter
	plotHeight = 11 * vg.Centimeter

	fontMargin = 1.3
)

// column is a position on the horizontal axis: a case and its number.
type column struct {
	name string
	x    float64
}

// plots draws the workloads that have results. It returns the names of the
// files, relative to dir, by workload.
func (r *results) plots(dir string) (map[string]string, error) {
	if err := os.MkdirAll(filepath.Join(dir, "benchmarks"), 0o755); err != nil {
		return nil, err
	}
	figures := make(map[string]string)
	for _, f := range []struct {
		workload, file string
		draw           func() (*plot.Plot, error)
	}{
		{"F2", "set.svg", r.plotSet},
		{"F5", "get.svg", r.plotGet},
		{"F10", "growth.svg", r.plotGrowth},
		{"sizes", "sizes.svg", r.plotSizes},
		{"scans", "scans.svg", r.plotScans},
		{"transactions", "transactions.svg", r.plotTransactions},
	} {
		if len(r.cases(f.workload)) == 0 {
			continue
		}
		p, err := f.draw()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.file, err)
		}
		name := filepath.Join("benchmarks", f.file)
		if err := save(p, filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("%s: %w", f.file, err)
		}
		figures[f.workload] = filepath.ToSlash(name)
	}
	return figures, nil
}

func (r *results) plotSet() (*plot.Plot, error) {
	var columns []column
	for _, n := range manyWriters {
		columns = append(columns, column{setCase(n, true), float64(n)})
	}
	return r.lines("Durable Set", "goroutines", unitOps, "F2", []series{{"", columns}}, asRate)
}

func (r *results) plotSizes() (*plot.Plot, error) {
	var columns []column
	for _, size := range valueSizes {
		columns = append(columns, column{sizeCase(size), float64(size)})
	}
	all := []series{{"", columns}}
	return r.lines("Durable Set by 64 goroutines", "bytes of a value", unitOps, "sizes", all, asRate)
}

func (r *results) plotGrowth() (*plot.Plot, error) {
	var all []series
	for _, name := range []string{"Get", "Set"} {
		s := series{suffix: ", " + name}
		for _, millions := range growthSizes {
			s.columns = append(s.columns, column{growthCase(name, millions), float64(millions)})
		}
		all = append(all, s)
	}
	return r.lines("Cost by size of the store", "million keys", "ns/op", "F10", all, asNanoseconds)
}

func asRate(v float64) float64        { return v }
func asNanoseconds(v float64) float64 { return 1e9 / v }

// series has a line for each engine.
type series struct {
	suffix  string // of the engine's name in the legend
	columns []column
}

func (r *results) lines(title, x, y, workload string, all []series, scale func(float64) float64) (*plot.Plot, error) {
	p := newPlot(title, x, y)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.ConstantTicks(ticks(all[0].columns))
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
	style := 0
	for number, s := range all {
		for _, engine := range r.engines(workload, s.columns[0].name) {
			var points plotter.XYs
			for _, c := range s.columns {
				if value, ok := r.median(point{workload, c.name, engine}); ok && value > 0 {
					points = append(points, plotter.XY{X: c.x, Y: scale(value)})
				}
			}
			if len(points) == 0 {
				continue
			}
			line, dots, err := plotter.NewLinePoints(points)
			if err != nil {
				return nil, err
			}
			line.Color, line.Width = colorOf(engine), vg.Points(1.5)
			line.Dashes = plotutil.Dashes(number)
			dots.Color, dots.Shape = colorOf(engine), plotutil.Shape(style)
			p.Add(line, dots)
			p.Legend.Add(engine+s.suffix, line, dots)
			style++
		}
	}
	return p, nil
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	// Names begin beside their mark: whoever shows the plot may have a wider
	// font than the one that is reckoned with here.
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(2)
	p.Add(plotter.NewGrid())
	return p
}

// save draws the legend beside the plot, where it hides no line.
func save(p *plot.Plot, name string) error {
	format, err := draw.NewFormattedCanvas(plotWidth, plotHeight, "svg")
	if err != nil {
		return err
	}
	canvas := draw.New(format)
	legend := p.Legend
	p.Legend = plot.NewLegend()
	width := fontMargin*legend.Rectangle(canvas).Size().X + vg.Centimeter
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Path())
	p.Draw(draw.Crop(canvas, 0, -width, 0, 0))
	legend.Draw(draw.Crop(canvas, plotWidth-width+vg.Centimeter/2, 0, 0, -vg.Centimeter))
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = format.WriteTo(f)
	return errors.Join(err, f.Close())
}

// logTicks labels 1, 2 and 5 of each power of ten.
func logTicks(least, most float64) (list []plot.Tick) {
	for power := math.Pow(10, math.Floor(math.Log10(least))); power <= most; power *= 10 {
		for _, digit := range []float64{1, 2, 5} {
			list = append(list, plot.Tick{Value: digit * power, Label: figure(digit*power) + "\u00a0\u00a0"})
		}
	}
	return list
}

func ticks(columns []column) (list []plot.Tick) {
	for _, c := range columns {
		list = append(list, plot.Tick{Value: c.x, Label: fmt.Sprint(c.x)})
	}
	return list
}

// bars has a group of bars for each case, with a bar for each engine.
func (r *results) bars(
	title, y, workload string, cases []string, scale func(name string, value float64) float64,
) (*plot.Plot, error) {
	p := newPlot(title, "", y)
	var engines []string
	for _, name := range cases {
		for _, engine := range r.engines(workload, name) {
			if _, ok := r.median(point{workload, name, engine}); ok && !slices.Contains(engines, engine) {
				engines = append(engines, engine)
			}
		}
	}
	group := 0.7 * plotWidth * 0.7 / vg.Length(max(1, len(cases)))
	width := group / vg.Length(max(1, len(engines)))
	for i, engine := range engines {
		values := make(plotter.Values, len(cases))
		for k, name := range cases {
			if value, ok := r.median(point{workload, name, engine}); ok {
				values[k] = scale(name, value)
			}
		}
		chart, err := plotter.NewBarChart(values, width)
		if err != nil {
			return nil, err
		}
		chart.Color, chart.LineStyle.Width = colorOf(engine), 0
		chart.Offset = width * vg.Length(float64(i)-float64(len(engines)-1)/2)
		p.Add(chart)
		p.Legend.Add(engine, chart)
	}
	p.NominalX(labels(cases)...)
	return p, nil
}

// labels are the cases, broken into short lines so that they do not overlap.
func labels(cases []string) (list []string) {
	lines := strings.NewReplacer(" of ", "\nof ", " by ", "\nby ", " on ", "\non ")
	for _, name := range cases {
		list = append(list, lines.Replace(name))
	}
	return list
}

func (r *results) plotGet() (*plot.Plot, error) {
	return r.bars("Get of 1 M keys", "million keys/s", "F5", r.cases("F5"), asMillions)
}

func (r *results) plotScans() (*plot.Plot, error) {
	scale := func(name string, value float64) float64 {
		if name == casePrefixScan {
			value *= groupKeys
		}
		return asMillions(name, value)
	}
	return r.bars("Ordered scans", "million pairs/s", "scans", []string{caseFullScan, casePrefixScan}, scale)
}

func (r *results) plotTransactions() (*plot.Plot, error) {
	return r.bars("Transactions", "thousand commits/s", "transactions", r.cases("transactions"), asThousands)
}

func asThousands(_ string, value float64) float64 { return value / 1e3 }

func asMillions(_ string, value float64) float64 { return value / 1e6 }

// colors has one for each engine.
var colors = []color.RGBA{
	{0xd6, 0x27, 0x28, 0xff},
	{0x2c, 0xa0, 0x2c, 0xff},
	{0x1f, 0x77, 0xb4, 0xff},
	{0xff, 0x7f, 0x0e, 0xff},
	{0x94, 0x67, 0xbd, 0xff},
	{0x8c, 0x56, 0x4b, 0xff},
	{0xe3, 0x77, 0xc2, 0xff},
	{0x17, 0xbe, 0xcf, 0xff},
	{0xbc, 0xbd, 0x22, 0xff},
	{0x7f, 0x7f, 0x7f, 0xff},
}

// colorOf is the color of an engine in all plots.
func colorOf(engine string) color.Color {
	return colors[max(0, slices.Index(engineNames(), engine))%len(colors)]
}
