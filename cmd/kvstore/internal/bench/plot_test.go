package bench

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"image/color"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// sampleReport is a report with all cases, for some writers and sizes.
func sampleReport(writers, values []int) *Report {
	random := rand.New(rand.NewPCG(1, 2))
	result := func(name string, writers, value int, usual time.Duration) *Result {
		r := &Result{Case: name, Writers: writers, ValueBytes: value, histogram: newHistogram()}
		for range 1000 {
			_ = r.histogram.RecordValue(int64(float64(usual) * (1 + random.ExpFloat64())))
		}
		return r
	}
	report := &Report{Floor: result("disk floor", 1, 4096, 150*time.Microsecond)}
	for _, v := range values {
		for _, n := range writers {
			for i, c := range cases {
				usual := time.Duration(n) * 2 * time.Microsecond << (2 * i)
				report.Results = append(report.Results, result(c.name, n, v, usual))
			}
		}
	}
	return report
}

// A plot is well-formed, names each result once, and its texts have fonts to
// fall back on. With $KVSTORE_PLOT, it is written there, to be looked at.
func TestPlot(t *testing.T) {
	r := sampleReport([]int{1, 16, 256}, []int{100, 4096})
	var svg bytes.Buffer
	w := bufio.NewWriter(&svg)
	if err := r.WritePlot(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if name := os.Getenv("KVSTORE_PLOT"); name != "" {
		if err := os.WriteFile(name, svg.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := xml.Unmarshal(svg.Bytes(), new(struct{})); err != nil {
		t.Error(err)
	}
	for _, result := range r.all() {
		if n := strings.Count(svg.String(), ">"+result.title()+"<"); n != 1 {
			t.Errorf("%s is named %d times", result.title(), n)
		}
	}
	for _, label := range []string{"100µs", "1ms", "0", "50", "100"} {
		if !strings.Contains(svg.String(), ">"+label+"<") {
			t.Errorf("no tick is labeled %s", label)
		}
	}
	texts, sans := strings.Count(svg.String(), "font-family:"), strings.Count(svg.String(), "sans-serif")
	if texts == 0 || texts != sans {
		t.Errorf("%d of %d texts have a font to fall back on", sans, texts)
	}
}

// No two lines look the same, however many a case may have: their dashes
// differ, or their colors by much. None is too light to be seen on white.
func TestLineStyles(t *testing.T) {
	writers := []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}
	for lines := 1; lines <= MaxPlotLines/2; lines++ {
		all := sampleReport(writers[:lines], []int{1, 2}).all()
		styles := lineStyles(all)
		for i, style := range styles {
			if gray := color.GrayModel.Convert(style.Color).(color.Gray); gray.Y > 190 {
				t.Errorf("%s has lightness %d", all[i].title(), gray.Y)
			}
			for j := range i {
				if slices.Equal(style.Dashes, styles[j].Dashes) && distance(style.Color, styles[j].Color) < 20 {
					t.Errorf("of %d lines a case, %s and %s look alike", 2*lines, all[i].title(), all[j].title())
				}
			}
		}
	}
}

// distance returns the largest difference of red, green and blue, of 255.
func distance(a, b color.Color) int {
	var most int
	r1, g1, b1, _ := a.RGBA()
	r2, g2, b2, _ := b.RGBA()
	for _, pair := range [][2]uint32{{r1, r2}, {g1, g2}, {b1, b2}} {
		most = max(most, int(pair[0]>>8)-int(pair[1]>>8), int(pair[1]>>8)-int(pair[0]>>8))
	}
	return most
}

// Ticks are in their range, from few to few dozen, and most ranges have several
// labels.
func TestTimeTicks(t *testing.T) {
	for _, c := range []struct {
		low, high time.Duration
		labels    int
	}{
		{100 * time.Microsecond, 900 * time.Microsecond, 3}, // 100, 200, 500
		{time.Microsecond, time.Second, 7},
		{time.Microsecond, 10 * time.Millisecond, 13},
		{3 * time.Nanosecond, 3 * time.Microsecond, 9},
	} {
		labels := 0
		for _, tick := range (timeTicks{}).Ticks(float64(c.low), float64(c.high)) {
			if tick.Value < float64(c.low)*0.999 || tick.Value > float64(c.high)*1.001 {
				t.Errorf("%v to %v: a tick at %v", c.low, c.high, tick.Value)
			}
			if tick.Label != "" {
				labels++
			}
		}
		if labels != c.labels {
			t.Errorf("%v to %v: %d labels, want %d", c.low, c.high, labels, c.labels)
		}
	}
}
