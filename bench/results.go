package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// Units of values. More is better for rates and busy cores, less for the
// others.
const (
	unitOps   = "ops/s"
	unitKeys  = "keys/s"
	unitPairs = "pairs/s"
	unitMega  = "MB/s"
	unitMilli = "ms"
	unitMicro = "µs/key"
	unitBytes = "B/key"
	unitCores = "cores busy"
	unitRate  = "x the rate" // of another case
	unitDelay = "x the p99"  // of another case
)

func moreIsBetter(unit string) bool {
	return slices.Contains([]string{unitOps, unitKeys, unitPairs, unitMega, unitCores, unitRate}, unit)
}

// sample is the result of a run, or of a phase of it. Fields that cannot be
// measured are nil.
type sample struct {
	Workload string   `json:"workload"`
	Case     string   `json:"case"`
	Engine   string   `json:"engine"`
	Round    int      `json:"round"`
	Unit     string   `json:"unit"`
	Value    float64  `json:"value"`
	Ops      int      `json:"ops,omitempty"`
	Seconds  float64  `json:"seconds,omitempty"`
	CPU      *float64 `json:"cpu_us_per_op,omitempty"`
	Syncs    *float64 `json:"syncs_per_op,omitempty"`
	Retries  *float64 `json:"retries_per_op,omitempty"` // of transactions
	Latency  *latency `json:"latency_us,omitempty"`
	Note     string   `json:"note,omitempty"` // in place of a value
}

// latency is in microseconds.
type latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// results is all samples of a session.
type results struct {
	Facts    []fact   `json:"facts"`
	Samples  []sample `json:"samples"`
	Failures []string `json:"failures,omitempty"`
	specs    []spec
}

// failed is an error if a run has failed.
func (r *results) failed() error {
	if len(r.Failures) == 0 {
		return nil
	}
	return fmt.Errorf("%d runs have failed, the first: %s", len(r.Failures), r.Failures[0])
}

func (r *results) write(name string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

func readResults(name string) (r results, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// merge adds the workloads of an earlier session that were not measured now,
// and returns all workloads that have results. Where the earlier header
// differs, one line of the header says so.
func (r *results) merge(earlier results, measured []workload) (all []workload) {
	var taken []string
	for _, w := range allWorkloads() {
		isNew := slices.ContainsFunc(measured, func(m workload) bool { return m.id == w.id })
		if len(earlier.cases(w.id)) > 0 && !isNew {
			taken = append(taken, w.id)
			isNew = true
		}
		if isNew {
			all = append(all, w)
		}
	}
	if len(taken) == 0 {
		return all
	}
	for _, s := range earlier.Samples {
		if slices.Contains(taken, s.Workload) {
			r.Samples = append(r.Samples, s)
		}
	}
	for _, text := range earlier.Failures {
		if workload, _, _ := strings.Cut(text, ","); slices.Contains(taken, workload) {
			r.Failures = append(r.Failures, text)
		}
	}
	var differs []string
	for _, f := range earlier.Facts {
		if !slices.Contains(r.Facts, f) {
			differs = append(differs, f.Name+": "+f.Value)
		}
	}
	text := strings.Join(append([]string{strings.Join(taken, ", ")}, differs...), "; ")
	r.Facts = append(r.Facts, fact{"measured earlier", text})
	return all
}

// point identifies one engine in one case.
type point struct{ workload, name, engine string }

func (r *results) at(p point) []sample {
	var found []sample
	for _, s := range r.Samples {
		if s.Workload == p.workload && s.Case == p.name && s.Engine == p.engine {
			found = append(found, s)
		}
	}
	return found
}

// cases and engines return names in the order in which they first ran.
func (r *results) cases(workload string) []string {
	return r.distinct(func(s sample) (string, bool) { return s.Case, s.Workload == workload })
}

func (r *results) engines(workload, name string) []string {
	return r.distinct(func(s sample) (string, bool) { return s.Engine, s.Workload == workload && s.Case == name })
}

func (r *results) distinct(of func(sample) (string, bool)) []string {
	var found []string
	for _, s := range r.Samples {
		if text, ok := of(s); ok && !slices.Contains(found, text) {
			found = append(found, text)
		}
	}
	return found
}

// median of the values at p, if there are any.
func (r *results) median(p point) (float64, bool) {
	var values []float64
	for _, s := range r.at(p) {
		if s.Note == "" {
			values = append(values, s.Value)
		}
	}
	return median(values), len(values) > 0
}

// ratio is the median of ratios, if there are any.
func (r *results) ratio(a, b point) (float64, bool) {
	ratios := r.ratios(a, b)
	return median(ratios), len(ratios) > 0
}

// ratios are a's values, each divided by b's value of the same round, so that
// a slow minute of the machine affects both or neither.
func (r *results) ratios(a, b point) (ratios []float64) {
	for _, x := range r.at(a) {
		for _, y := range r.at(b) {
			if x.Round == y.Round && x.Note == "" && y.Note == "" && y.Value > 0 {
				ratios = append(ratios, x.Value/y.Value)
			}
		}
	}
	return ratios
}

// latencyRatio is ratio for a latency.
func (r *results) latencyRatio(a, b point, of func(*latency) float64) (float64, bool) {
	var ratios []float64
	for _, x := range r.at(a) {
		for _, y := range r.at(b) {
			if x.Round == y.Round && x.Latency != nil && y.Latency != nil {
				ratios = append(ratios, of(x.Latency)/of(y.Latency))
			}
		}
	}
	return median(ratios), len(ratios) > 0
}

// bestPeer is the peer with the best median in a case, among the peers that
// count.
func (r *results) bestPeer(workload, name string, counts func(spec) bool) (string, bool) {
	best, engine := 0.0, ""
	for _, s := range r.specs {
		if s.role != peer && s.role != lonePeer || counts != nil && !counts(s) {
			continue
		}
		value, ok := r.median(point{workload, name, s.name})
		if !ok {
			continue
		}
		if !moreIsBetter(r.at(point{workload, name, s.name})[0].Unit) {
			value = 1 / value
		}
		if value > best {
			best, engine = value, s.name
		}
	}
	return engine, engine != ""
}

// median leaves values unsorted. For an even number of values it is the mean of
// the two in the middle; for none it is NaN.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
