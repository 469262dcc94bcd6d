package commands

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/dustin/go-humanize"
)

// benchReport is what bench prints.
type benchReport struct {
	Dir      string         `json:"dir"`
	Version  versionReport  `json:"version"`
	CPUs     int            `json:"cpus"`
	KeyBytes int            `json:"key_bytes"`
	Batch    int            `json:"batch"`
	Floor    *benchResult   `json:"floor"`
	Results  []*benchResult `json:"results"`
}

func newBenchReport(dir string) *benchReport {
	return &benchReport{Dir: dir, Version: buildVersion(), CPUs: runtime.GOMAXPROCS(0), KeyBytes: len(makeKeys(1, 0)[0]), Batch: benchBatch}
}

// benchResult is what was measured of one case.
type benchResult struct {
	Case       string  `json:"case"`
	Writers    int     `json:"writers"`
	ValueBytes int     `json:"value_bytes"`
	Operations uint64  `json:"operations"` // keys written or read
	Fsyncs     uint64  `json:"fsyncs"`
	Seconds    float64 `json:"seconds"`
	Rate       float64 `json:"operations_per_second"`
	Floors     float64 `json:"floors,omitzero"` // rate as a multiple of the floor's, if there were fsyncs
	Latency    latency `json:"latency"`         // of a call
	Histogram  []bar   `json:"histogram"`

	took      time.Duration
	histogram *hdrhistogram.Histogram
}

// latency has the usual percentiles.
type latency struct {
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// finish fills in what follows from what was measured.
func (r *benchResult) finish(floor *benchResult) {
	r.Seconds = r.took.Seconds()
	r.Rate = math.Round(float64(r.Operations) / max(r.Seconds, 1e-9))
	if floor.Rate > 0 && r.Fsyncs > 0 {
		r.Floors = math.Round(r.Rate/floor.Rate*100) / 100
	}
	at := func(percentile float64) time.Duration {
		return time.Duration(r.histogram.ValueAtPercentile(percentile))
	}
	r.Latency = latency{at(50), at(90), at(99), at(99.9), time.Duration(r.histogram.Max())}
	r.Histogram = bars(r.histogram, 4)
}

// title names the result in a histogram or a plot.
func (r *benchResult) title() string {
	return fmt.Sprintf("%s, %d × %s", r.Case, r.Writers, humanize.IBytes(uint64(r.ValueBytes)))
}

const benchLine = "%-12s%8s%10s%13s%8s%10s%10s%10s%10s%10s\n"

// write prints the table, and the histograms of what waits for the disk.
func (b *benchReport) write(w *bufio.Writer) error {
	if _, err := fmt.Fprintf(w, benchLine, "case", "writers", "value", "keys/s", "floors", "p50", "p99", "p99.9", "max", "fsyncs"); err != nil {
		return err
	}
	all := append([]*benchResult{b.Floor}, b.Results...)
	for _, r := range all {
		l, floors := r.Latency, ""
		if r.Floors > 0 {
			floors = fmt.Sprintf("%.2f", r.Floors)
		}
		if _, err := fmt.Fprintf(
			w, benchLine, r.Case, humanize.Comma(int64(r.Writers)), humanize.IBytes(uint64(r.ValueBytes)), humanize.Comma(int64(r.Rate)),
			floors, short(l.P50), short(l.P99), short(l.P999), short(l.Max), humanize.Comma(int64(r.Fsyncs)),
		); err != nil {
			return err
		}
	}
	for _, r := range all {
		if r != b.Floor && r.Case != "set" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s: latency\n", r.title()); err != nil {
			return err
		}
		if err := drawBars(w, bars(r.histogram, 2), uint64(r.histogram.TotalCount())); err != nil {
			return err
		}
	}
	return nil
}

// short is a duration with three digits.
func short(d time.Duration) string {
	for unit := time.Nanosecond; unit < time.Second; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
	return d.Round(time.Second / 100).String()
}

const barColumns = 50

// drawBars draws a histogram; what is too little to be seen is a dot.
func drawBars(w io.Writer, bars []bar, total uint64) error {
	most := uint64(1)
	for _, b := range bars {
		most = max(most, b.Count)
	}
	for _, b := range bars {
		drawn := drawBar(float64(b.Count) / float64(most) * barColumns)
		if drawn == "" && b.Count > 0 {
			drawn = "·"
		}
		space := strings.Repeat(" ", barColumns-utf8.RuneCountInString(drawn))
		if _, err := fmt.Fprintf(w, "%8s ▏%s%s %6.2f %%\n", short(b.UpTo), drawn, space, 100*float64(b.Count)/float64(max(1, total))); err != nil {
			return err
		}
	}
	return nil
}

// drawBar draws so many columns, to the eighth of one.
func drawBar(columns float64) string {
	eighths := int(math.Round(columns * 8))
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return text
}
