package bench

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"math/rand/v2"
	"os"
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

// No two lines look the same, and none is too light to be seen on white.
func TestLineStyles(t *testing.T) {
	r := sampleReport([]int{1, 2, 4, 8, 16, 32, 64}, []int{1, 2, 3})
	seen := map[string]string{}
	for i, style := range lineStyles(r.all()) {
		red, green, blue, _ := style.Color.RGBA()
		look := fmt.Sprint(red>>8, green>>8, blue>>8)
		title := r.all()[i].title()
		if other, ok := seen[look]; ok {
			t.Errorf("%s and %s have the same color", title, other)
		}
		seen[look] = title
		if gray := color.GrayModel.Convert(style.Color).(color.Gray); gray.Y > 190 {
			t.Errorf("%s has lightness %d", title, gray.Y)
		}
	}
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
