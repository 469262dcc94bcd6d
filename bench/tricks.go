package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"kvstore/internal/tuning"
)

// This file measures what each of kvstore's speed tricks is worth. A trick is
// switched off when a program is linked, so there is a program for each trick.
// A pair of runs compares a program with everything on with one of the others.

const (
	// tricksEach stands for each trick alone, followed by tricksAll.
	tricksEach = "each"

	// tricksAll stands for all tricks together, as in package tuning.
	tricksAll = "all"

	// tuningOff is the variable that the linker sets.
	tuningOff = "kvstore/internal/tuning.off"

	// worthwhile is the ratio from which a table marks a trick.
	worthwhile = 1.05

	// trickMillions is the size to which the growth workload grows a store.
	trickMillions = 3
)

// trickDefault are the workloads that run if -only names none.
var trickDefault = []string{"F1", "F2", "F3", "F4", "F5", "F6", "F8", "F10"}

// trickWorkloads are all workloads. Two are shortened, because each part runs
// twice for each trick: opening leaves out the replay, since each run of it
// needs a new log, and growth stops early.
func trickWorkloads() (list []workload) {
	for _, w := range allWorkloads() {
		switch w.id {
		case "F8":
			w.parts = slices.DeleteFunc(w.parts, func(p part) bool { return p.name == partReplay })
		case "F10":
			w.parts = []part{growthPart(trickMillions)}
		}
		list = append(list, w)
	}
	return list
}

// chooseTricks returns the tricks that the list names, without repetitions.
func chooseTricks(list string) (chosen []string, err error) {
	known := trickNames()
	for _, name := range splitList(list) {
		switch {
		case name == tricksEach:
			chosen = append(append(chosen, known...), tricksAll)
		case name == tricksAll || slices.Contains(known, name):
			chosen = append(chosen, name)
		default:
			return nil, fmt.Errorf("no trick is named %q; the tricks are %s", name, strings.Join(known, ", "))
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("-tricks names no trick")
	}
	var distinct []string
	for _, name := range chosen {
		if !slices.Contains(distinct, name) {
			distinct = append(distinct, name)
		}
	}
	return distinct, nil
}

func trickNames() (names []string) {
	for _, t := range tuning.Tricks() {
		names = append(names, t.Name)
	}
	return names
}

// switchedOff returns the tricks that the linker has switched off in this
// program, as -tricks names them.
func switchedOff() string {
	var off []string
	all := tuning.Tricks()
	for _, t := range all {
		if !t.On {
			off = append(off, t.Name)
		}
	}
	if len(off) == len(all) {
		return tricksAll
	}
	return strings.Join(off, ",")
}

// trial is a session that compares tricks.
type trial struct {
	*bench
	programs map[string]string // by the trick that is off; "" for none
}

// runTricks measures and prints. After an interrupt it prints what was
// measured until then.
func (c *config) runTricks(b *bench, out io.Writer) error {
	if c.out != "" || c.merge != "" || c.engines != "" || c.profile != "" {
		return errors.New("-tricks cannot be combined with -out, -merge, -engines and -cpuprofile")
	}
	tricks, err := chooseTricks(c.tricks)
	if err != nil {
		return err
	}
	workloads, err := chooseWorkloads(trickWorkloads(), cmp.Or(c.only, strings.Join(trickDefault, ",")))
	if err != nil {
		return err
	}
	t := &trial{bench: b, programs: make(map[string]string)}
	for _, off := range append([]string{""}, tricks...) {
		if err := t.build(off); err != nil {
			return err
		}
	}
	r := &results{Facts: b.facts(c.seed, nil, nil)}
	err = t.runAll(workloads, tricks, r)
	if c.json != "" {
		err = errors.Join(err, r.write(c.json))
	}
	_, failed := io.WriteString(out, r.trickReport(workloads, tricks))
	return errors.Join(err, failed, r.failed())
}

// build builds this program once more, from the sources in the current
// directory. The one with everything on is built too, so that all are linked
// in the same way: without symbols for a debugger (-s -w), which takes less
// time.
func (t *trial) build(off string) error {
	began := time.Now()
	program := filepath.Join(t.dir, "bench-"+cmp.Or(off, "normal")+".exe")
	cmd := exec.CommandContext(t.ctx, "go", "build",
		"-buildvcs=false", "-ldflags=-s -w -X="+tuningOff+"="+off, "-o", program, ".")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	t.programs[off] = program
	t.progress.Printf("built %s: %.1f s", filepath.Base(program), time.Since(began).Seconds())
	return nil
}

func (t *trial) runAll(workloads []workload, tricks []string, r *results) error {
	for _, w := range workloads {
		for _, p := range w.parts {
			for round := range t.rounds {
				for i, trick := range tricks {
					// Every other time the normal program is the first of the
					// pair, so that being first is no advantage.
					if err := t.runPair(w, p, trick, round, (round+i)%2 == 0, r); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// runPair runs a part with and without a trick. An error ends the session; the
// failure of a run does not.
func (t *trial) runPair(w workload, p part, trick string, round int, normalFirst bool, r *results) error {
	began := time.Now()
	order := []string{"", trick}
	if !normalFirst {
		slices.Reverse(order)
	}
	var pair []sample
	for _, off := range order {
		name := besideTrick(trick, off == "")
		samples, err := t.runPart(w, p, off)
		if t.ctx.Err() != nil {
			return t.ctx.Err()
		}
		if err != nil {
			r.Failures = append(r.Failures, fmt.Sprintf("%s, %s, %s: %v", w.id, p.name, name, err))
			return nil // half a pair is worth nothing
		}
		for _, m := range samples {
			m.Workload, m.Engine, m.Round = w.id, name, round
			pair = append(pair, m)
		}
	}
	r.Samples = append(r.Samples, pair...)
	t.progress.Printf("%s: %s: round %d of %d: %s: %.1f s",
		w.id, p.name, round+1, t.rounds, trick, time.Since(began).Seconds())
	return nil
}

// besideTrick names the two runs of a pair, in the place of an engine.
func besideTrick(trick string, on bool) string {
	if on {
		return "with " + trick
	}
	return "without " + trick
}

// runPart runs a part in a process of its own. The first run that needs a full
// store loads it, for all others too. That run is repeated, since a process
// that has loaded a store differs from one that has not.
func (t *trial) runPart(w workload, p part, off string) ([]sample, error) {
	for {
		answer, err := t.childOf(t.programs[off], childJob{
			Task: taskPart, Engine: subjectName, Dir: t.dir,
			Workload: w.id, Part: p.name, Off: off, Duration: t.duration, Scale: t.scale, Filled: t.filled,
		})
		if err != nil || len(answer.Filled) == len(t.filled) {
			return answer.Samples, err
		}
		t.filled = answer.Filled
	}
}

// runPart is the child's side.
func (job childJob) runPart(s spec) (answer childAnswer, err error) {
	if off := switchedOff(); off != job.Off {
		return answer, fmt.Errorf("%q is switched off in this program, and not %q", off, job.Off)
	}
	b := job.bench()
	for _, w := range trickWorkloads() {
		for _, p := range w.parts {
			if w.id == job.Workload && p.name == job.Part {
				answer.Samples, err = p.run(b, s)
				answer.Filled = b.filled
				return answer, err
			}
		}
	}
	return answer, fmt.Errorf("workload %s has no part %q", job.Workload, job.Part)
}

// worth is how many times better a case is with a trick than without it.
type worth struct{ median, least, most float64 }

func (r *results) worth(workload, name, trick string) (w worth, ok bool) {
	a, b := point{workload, name, besideTrick(trick, true)}, point{workload, name, besideTrick(trick, false)}
	found := r.at(a)
	if len(found) == 0 || found[0].Unit == unitCores { // busy cores are no speed
		return w, false
	}
	if !moreIsBetter(found[0].Unit) {
		a, b = b, a
	}
	ratios := r.ratios(a, b)
	if len(ratios) == 0 {
		return w, false
	}
	return worth{median(ratios), slices.Min(ratios), slices.Max(ratios)}, true
}

// isGain and isLoss hold only if all rounds agree, because the median of noise
// may be any figure.
func (w worth) isGain() bool { return w.median >= worthwhile && w.least > 1 }
func (w worth) isLoss() bool { return w.median <= 1/worthwhile && w.most < 1 }

func (w worth) String() string {
	text := fmt.Sprintf("%.2f", w.median)
	if w.median >= worthwhile {
		text = "**" + text + "**"
	}
	return fmt.Sprintf("%s (%.2f–%.2f)", text, w.least, w.most)
}

// trickReport is Markdown: a table for each workload, and a summary.
func (r *results) trickReport(workloads []workload, tricks []string) string {
	var t strings.Builder
	t.WriteString("# What each speed trick is worth\n\n")
	for _, f := range r.Facts {
		if f.Value != "" {
			fmt.Fprintf(&t, "- %s: %s\n", f.Name, f.Value)
		}
	}
	fmt.Fprintf(&t, "\nA figure compares kvstore with a trick to kvstore without it. "+
		"It is the median over the rounds (least–most), above 1 where the trick helps, and bold from %.2f on. "+
		"The two runs of a pair follow each other. \"%s\" compares all tricks to none.\n", worthwhile, tricksAll)
	for _, w := range workloads {
		if rows := r.trickRows(w.id, tricks); rows != nil {
			fmt.Fprintf(&t, "\n## %s: %s\n\n", w.id, w.title)
			writeTable(&t, rows)
		}
	}
	t.WriteString("\n## Summary\n\n")
	r.trickSummary(&t, workloads, tricks)
	if len(r.Failures) > 0 {
		t.WriteString("\n## Failures\n\n")
		for _, text := range r.Failures {
			fmt.Fprintf(&t, "- %s\n", strings.ReplaceAll(text, "\n", "; "))
		}
	}
	return t.String()
}

// trickRows has a column for each case of a workload, and is nil if there is
// none.
func (r *results) trickRows(workload string, tricks []string) (rows [][]string) {
	header := []string{"trick"}
	var cases []string
	for _, name := range r.cases(workload) {
		if slices.ContainsFunc(tricks, func(trick string) bool {
			_, ok := r.worth(workload, name, trick)
			return ok
		}) {
			cases = append(cases, name)
		}
	}
	if len(cases) == 0 {
		return nil
	}
	rows = append(rows, append(header, cases...))
	for _, trick := range tricks {
		row := []string{trick}
		for _, name := range cases {
			cell := "–"
			if w, ok := r.worth(workload, name, trick); ok {
				cell = w.String()
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return rows
}

// trickSummary lists for each trick the cases in which it makes kvstore faster
// or slower.
func (r *results) trickSummary(t *strings.Builder, workloads []workload, tricks []string) {
	t.WriteString("Only cases in which all rounds agree:\n\n")
	for _, trick := range tricks {
		var faster, slower []string
		for _, w := range workloads {
			for _, name := range r.cases(w.id) {
				found, ok := r.worth(w.id, name, trick)
				text := fmt.Sprintf("%s (%.2f)", name, found.median)
				switch {
				case ok && found.isGain():
					faster = append(faster, text)
				case ok && found.isLoss():
					slower = append(slower, text)
				}
			}
		}
		fmt.Fprintf(t, "- %s\n  - faster with it: %s\n  - slower with it: %s\n",
			trick, cmp.Or(strings.Join(faster, "; "), "–"), cmp.Or(strings.Join(slower, "; "), "–"))
	}
}

// writeTable writes Markdown that can be read as it is: the cells of a column
// are equally wide, except for those of the last one. The first row is the
// header.
func writeTable(t *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	last := len(widths) - 1
	widths[last] = 0
	rule := make([]string, len(widths))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", max(3, width))
	}
	for _, row := range slices.Insert(slices.Clone(rows), 1, rule) {
		for i, cell := range row {
			padding := max(0, widths[i]-utf8.RuneCountInString(cell))
			fmt.Fprintf(t, "| %s%s ", cell, strings.Repeat(" ", padding))
		}
		t.WriteString("|\n")
	}
}
