package bench

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

	"kvstore/cmd/kvstore/internal/version"
)

// Report is what [Run] measured.
type Report struct {
	Dir      string       `json:"dir"`
	Version  version.Info `json:"version"`
	CPUs     int          `json:"cpus"`
	KeyBytes int          `json:"key_bytes"`
	Batch    int          `json:"batch"`
	Floor    *Result      `json:"floor"`
	Results  []*Result    `json:"results"`
}

func newReport(dir string, floor *Result) *Report {
	return &Report{
		Dir: dir, Version: version.Build(), CPUs: runtime.GOMAXPROCS(0), KeyBytes: len(makeKeys(1, 0)[0]),
		Batch: BatchWrites,
		Floor: floor,
	}
}

// Result is what was measured of one case.
type Result struct {
	Case       string   `json:"case"`
	Writers    int      `json:"writers"`
	ValueBytes int      `json:"value_bytes"`
	Operations uint64   `json:"operations"` // keys written or read
	Fsyncs     uint64   `json:"fsyncs"`
	Seconds    float64  `json:"seconds"`
	Rate       float64  `json:"operations_per_second"`
	Floors     float64  `json:"floors,omitzero"` // Rate as a multiple of the floor's, if there were fsyncs
	Latency    Latency  `json:"latency"`         // of a call
	Histogram  []Bucket `json:"histogram"`

	took      time.Duration
	histogram *hdrhistogram.Histogram
}

// Latency has percentiles of a latency.
type Latency struct {
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// finish computes the fields that follow from the measurement.
func (r *Result) finish(floor *Result) {
	r.Seconds = r.took.Seconds()
	r.Rate = math.Round(float64(r.Operations) / max(r.Seconds, 1e-9))
	if floor.Rate > 0 && r.Fsyncs > 0 {
		r.Floors = math.Round(r.Rate/floor.Rate*100) / 100
	}
	at := func(percentile float64) time.Duration {
		return time.Duration(r.histogram.ValueAtPercentile(percentile))
	}
	r.Latency = Latency{at(50), at(90), at(99), at(99.9), time.Duration(r.histogram.Max())}
	r.Histogram = buckets(r.histogram, 4)
}

// title names the result in a histogram or a plot.
func (r *Result) title() string {
	return fmt.Sprintf("%s, %d × %s", r.Case, r.Writers, humanize.IBytes(uint64(r.ValueBytes)))
}

// all returns the floor and the results.
func (r *Report) all() []*Result { return append([]*Result{r.Floor}, r.Results...) }

const tableLine = "%-12s%8s%10s%13s%8s%10s%10s%10s%10s%10s\n"

// WriteTable writes a table of the results, and histograms of those that wait
// for the disk.
func (r *Report) WriteTable(w *bufio.Writer) error {
	if _, err := fmt.Fprintf(
		w, tableLine, "case", "writers", "value", "keys/s", "floors", "p50", "p99", "p99.9", "max", "fsyncs",
	); err != nil {
		return err
	}
	for _, result := range r.all() {
		if err := result.writeLine(w); err != nil {
			return err
		}
	}
	for _, result := range r.all() {
		if result != r.Floor && result.Case != "set" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s: latency\n", result.title()); err != nil {
			return err
		}
		total := uint64(result.histogram.TotalCount())
		if err := drawHistogram(w, buckets(result.histogram, 2), total); err != nil {
			return err
		}
	}
	return nil
}

func (r *Result) writeLine(w io.Writer) error {
	l, floors := r.Latency, ""
	if r.Floors > 0 {
		floors = fmt.Sprintf("%.2f", r.Floors)
	}
	_, err := fmt.Fprintf(
		w, tableLine, r.Case, humanize.Comma(int64(r.Writers)), humanize.IBytes(uint64(r.ValueBytes)),
		humanize.Comma(int64(r.Rate)), floors,
		short(l.P50), short(l.P99), short(l.P999), short(l.Max), humanize.Comma(int64(r.Fsyncs)),
	)
	return err
}

// short rounds a duration to three digits.
func short(d time.Duration) string {
	for unit := time.Nanosecond; unit < time.Second; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
	return d.Round(time.Second / 100).String()
}

const barColumns = 50

// drawHistogram draws a bar for each bucket. A bar that is too short to be seen
// is a dot.
func drawHistogram(w io.Writer, all []Bucket, total uint64) error {
	most := uint64(1)
	for _, b := range all {
		most = max(most, b.Count)
	}
	for _, b := range all {
		bar := drawBar(float64(b.Count) / float64(most) * barColumns)
		if bar == "" && b.Count > 0 {
			bar = "·"
		}
		space := strings.Repeat(" ", barColumns-utf8.RuneCountInString(bar))
		percent := 100 * float64(b.Count) / float64(max(1, total))
		if _, err := fmt.Fprintf(w, "%8s ▏%s%s %6.2f %%\n", short(b.UpTo), bar, space, percent); err != nil {
			return err
		}
	}
	return nil
}

// drawBar draws a bar of a number of columns, to an eighth of one.
func drawBar(columns float64) string {
	eighths := int(math.Round(columns * 8))
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return text
}
