package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// report writes the results as Markdown. figures are the names of plots by
// workload, relative to the report.
func (r *results) report(workloads []workload, figures map[string]string) string {
	var t strings.Builder
	t.WriteString("# Benchmarks\n\n" +
		"kvstore beside other embedded stores, Redis, and floors: programs that do only the minimum. " +
		"`bench` writes this report; its README.md says how to repeat it. " +
		"Only ratios within one run count: absolute figures change with the machine and its load.\n\n")
	for _, f := range r.Facts {
		fmt.Fprintf(&t, "- %s: %s\n", f.Name, f.Value)
	}
	r.reportVerdicts(&t, workloads)
	r.reportOptions(&t)
	t.WriteString("\n## Reading the tables\n\n" +
		"\"kvstore is\" compares kvstore's figure with the engine's figure of the same round. " +
		"It is the median over the rounds, and above 1 where kvstore is better. " +
		"CPU is user and system time of the whole process for each operation; " +
		"n/a is an engine in another process. Syncs are given where they can be counted. " +
		"Latencies are in microseconds; in loops of fast operations one in 4, 8 or 16 is measured.\n")
	for _, w := range workloads {
		r.reportWorkload(&t, w, figures[w.id])
	}
	if len(r.Failures) > 0 {
		t.WriteString("\n## Failures\n\n")
		for _, text := range r.Failures {
			fmt.Fprintf(&t, "- %s\n", strings.ReplaceAll(text, "\n", "; "))
		}
	}
	return t.String()
}

func (r *results) reportVerdicts(t *strings.Builder, workloads []workload) {
	t.WriteString("\n## Verdicts\n\n| # | what | beside | target | measured | |\n|---|---|---|--:|--:|---|\n")
	for _, c := range allChecks() {
		if !slices.ContainsFunc(workloads, func(w workload) bool { return w.id == c.target }) {
			continue
		}
		value, beside, o := c.judge(r)
		sign, measured := "≥", figure(value)+c.unit
		if c.atMost {
			sign = "≤"
		}
		if o == notMeasured {
			measured, beside = "–", "–"
		}
		fmt.Fprintf(t, "| %s | %s | %s | %s %s%s | %s | %s |\n",
			c.target, c.what, beside, sign, figure(c.want), c.unit, measured, o)
	}
}

func (r *results) reportOptions(t *strings.Builder) {
	t.WriteString("\n## Engines and their options\n\n| engine | durable | relaxed |\n|---|---|---|\n")
	for _, s := range r.specs {
		fmt.Fprintf(t, "| %s | %s | %s |\n", s.name, s.durable, s.relaxed)
	}
}

func (r *results) reportWorkload(t *strings.Builder, w workload, plot string) {
	fmt.Fprintf(t, "\n## %s: %s\n\n%s\n", w.id, w.title, w.note)
	if plot != "" {
		fmt.Fprintf(t, "\n![%s](%s)\n", w.title, plot)
	}
	for _, name := range r.cases(w.id) {
		fmt.Fprintf(t, "\n### %s\n\n%s", name, r.headline(w.id, name))
		r.reportCase(t, w.id, name)
	}
}

// headline has the two ratios that most readers look for.
func (r *results) headline(workload, name string) string {
	var parts []string
	if best, ok := r.bestPeer(workload, name, nil); ok {
		if value, ok := r.advantage(workload, name, best); ok {
			parts = append(parts, fmt.Sprintf("%sx the best peer, %s", figure(value), best))
		}
	}
	if value, ok := r.advantage(workload, name, "pebble"); ok {
		parts = append(parts, figure(value)+"x pebble")
	}
	if len(parts) == 0 {
		return ""
	}
	return "kvstore: " + strings.Join(parts, "; ") + ".\n\n"
}

// advantage is how many times better kvstore is.
func (r *results) advantage(workload, name, engine string) (float64, bool) {
	a, b := ours(workload, name), point{workload, name, engine}
	if found := r.at(a); len(found) > 0 && !moreIsBetter(found[0].Unit) {
		a, b = b, a
	}
	return r.ratio(a, b)
}

func (r *results) reportCase(t *strings.Builder, workload, name string) {
	engines := r.engines(workload, name)
	unit := r.at(point{workload, name, engines[0]})[0].Unit
	retries := slices.ContainsFunc(r.Samples, func(s sample) bool {
		return s.Workload == workload && s.Case == name && s.Retries != nil
	})
	// end ends a row. A case of transactions has one more column.
	end := func(last string) {
		if retries {
			t.WriteString(last + "|")
		}
		t.WriteString("\n")
	}
	fmt.Fprintf(t, "| engine | %s | least–most | kvstore is | syncs/op | CPU µs/op | p50 | p99 | p99.9 |", unit)
	end(" retries/op ")
	t.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
	end("--:")
	for _, engine := range engines {
		found := r.at(point{workload, name, engine})
		if note := found[0].Note; note != "" {
			fmt.Fprintf(t, "| %s | %s | | | | | | | |", engine, note)
			end(" ")
			continue
		}
		var values []float64
		for _, s := range found {
			values = append(values, s.Value)
		}
		ratio := "–"
		if value, ok := r.advantage(workload, name, engine); ok && engine != subjectName {
			ratio = figure(value) + "x"
		}
		fmt.Fprintf(t, "| %s | %s | %s–%s | %s | %s | %s | %s | %s | %s |", engine,
			figure(median(values)), figure(slices.Min(values)), figure(slices.Max(values)), ratio,
			optional(found, ofSyncs, "–"), optional(found, ofCPU, r.withoutCPU(engine)),
			optional(found, ofLatency(p50), "–"),
			optional(found, ofLatency(p99), "–"),
			optional(found, ofLatency(p999), "–"))
		end(" " + optional(found, ofRetries, "–") + " ")
	}
}

func (r *results) withoutCPU(engine string) string {
	if slices.ContainsFunc(r.specs, func(s spec) bool { return s.name == engine && s.otherProcess }) {
		return "n/a"
	}
	return "–"
}

func ofCPU(s sample) (float64, bool) {
	if s.CPU == nil {
		return 0, false
	}
	return *s.CPU, true
}

func ofLatency(field func(*latency) float64) func(sample) (float64, bool) {
	return func(s sample) (float64, bool) {
		if s.Latency == nil {
			return 0, false
		}
		return field(s.Latency), true
	}
}

func ofRetries(s sample) (float64, bool) {
	if s.Retries == nil {
		return 0, false
	}
	return *s.Retries, true
}

func p50(l *latency) float64  { return l.P50 }
func p99(l *latency) float64  { return l.P99 }
func p999(l *latency) float64 { return l.P999 }

// optional is the median of a figure that some samples have, or otherwise.
func optional(samples []sample, of func(sample) (float64, bool), otherwise string) string {
	var values []float64
	for _, s := range samples {
		if value, ok := of(s); ok {
			values = append(values, value)
		}
	}
	if len(values) == 0 {
		return otherwise
	}
	return figure(median(values))
}

// figure formats v with two or three significant digits, or from 1000 on with
// all digits, in groups of three.
func figure(v float64) string {
	if math.Abs(v) < 1000 {
		if v != 0 && math.Abs(v) < 0.01 {
			return strconv.FormatFloat(v, 'g', 2, 64)
		}
		decimals := 2
		if v != 0 && math.Abs(v) < 0.1 {
			decimals = 3
		}
		for limit := 10.0; decimals > 0 && math.Abs(v) >= limit; limit *= 10 {
			decimals--
		}
		return strconv.FormatFloat(v, 'f', decimals, 64)
	}
	return humanize.Comma(int64(math.RoundToEven(v)))
}
