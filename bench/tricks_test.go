package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChooseTricks(t *testing.T) {
	each := append(trickNames(), tricksAll)
	for _, c := range []struct {
		list string
		want []string // nil is an error
	}{
		{"linger,zeros", []string{"linger", "zeros"}},
		{"zeros,all", []string{"zeros", "all"}},
		{"each", each},
		{"each,zeros", each},
		{"zeros,zeros", []string{"zeros"}},
		{"zeros,magic", nil},
		{",", nil},
	} {
		got, err := chooseTricks(c.list)
		if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%s: %v, %v", c.list, got, err)
		}
	}
}

// paired returns results of one case, with the values of the rounds with a
// trick and without it.
func paired(name, unit, trick string, with, without []float64) (samples []sample) {
	for round := range with {
		s := sample{Workload: "F1", Case: name, Round: round, Unit: unit}
		s.Engine, s.Value = besideTrick(trick, true), with[round]
		samples = append(samples, s)
		s.Engine, s.Value = besideTrick(trick, false), without[round]
		samples = append(samples, s)
	}
	return samples
}

func TestTrickReport(t *testing.T) {
	r := &results{
		Facts: []fact{{"date", "today"}, {"peers", ""}},
		Samples: slices.Concat(
			paired("rate", unitOps, "linger", []float64{100, 300, 220}, []float64{100, 200, 200}),
			paired("rate", unitOps, "zeros", []float64{104}, []float64{100}),
			paired("time", unitMilli, "linger", []float64{12}, []float64{10}),
			paired("time", unitMilli, "all", []float64{10}, []float64{21}),
			paired("cores", unitCores, "linger", []float64{2}, []float64{1}),
		),
		Failures: []string{"F1, rate, without zeros: a\nb"},
	}
	workloads := []workload{{id: "F1", title: "Work"}, {id: "F2", title: "None"}}
	got := r.trickReport(workloads, []string{"linger", "zeros", "all"})
	want := `
## F1: Work

| trick  | rate                 | time |
| ------ | -------------------- | --- |
| linger | **1.10** (1.00–1.50) | 0.83 (0.83–0.83) |
| zeros  | 1.04 (1.04–1.04)     | – |
| all    | –                    | **2.10** (2.10–2.10) |

## Summary

Only cases in which all rounds agree:

- linger
  - faster with it: –
  - slower with it: time (0.83)
- zeros
  - faster with it: –
  - slower with it: –
- all
  - faster with it: time (2.10)
  - slower with it: –

## Failures

- F1, rate, without zeros: a; b
`
	if !strings.HasSuffix(got, want) {
		t.Errorf("the report is\n%s\nand should end with\n%s", got, want)
	}
	if !strings.Contains(got, "- date: today\n") || strings.Contains(got, "peers") {
		t.Errorf("the header is wrong:\n%s", got)
	}
}

// TestTricks builds this program with one trick switched off and with all, and
// compares them in one workload that loads a store and in one that does not.
func TestTricks(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds three programs")
	}
	dir := t.TempDir()
	if err := refuseMemory(dir); err != nil {
		t.Skip(err)
	}
	c := config{
		rounds: 2, time: 2 * time.Millisecond, scale: 0.0005, seed: 3, dir: dir,
		json: filepath.Join(dir, "raw.json"), tricks: "zeros,all", only: "F1,F5,F10",
	}
	var text, progress bytes.Buffer
	if err := c.run(t.Context(), &text, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.Bytes())
	}
	r, err := readResults(c.json)
	if err != nil {
		t.Fatal(err)
	}
	for workload, name := range map[string]string{
		"F1": setCase(1, true), "F5": by(caseMultiGet, 2), "F10": growthCase("Get", trickMillions),
	} {
		for _, trick := range []string{"zeros", "all"} {
			with, without := besideTrick(trick, true), besideTrick(trick, false)
			ratios := r.ratios(point{workload, name, with}, point{workload, name, without})
			if len(ratios) != c.rounds {
				t.Errorf("%s: %s: %s: %d ratios", workload, name, trick, len(ratios))
			}
		}
	}
	if !strings.Contains(text.String(), "| zeros ") || strings.Contains(text.String(), "| linger ") {
		t.Errorf("the report is\n%s", text.Bytes())
	}
	if left, err := filepath.Glob(filepath.Join(dir, "kvstore-bench-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestTrickMustBeOff: the linker ignores a variable that does not exist, so a
// child checks that its trick is off.
func TestTrickMustBeOff(t *testing.T) {
	job := childJob{Workload: "F1", Part: setCase(1, true), Off: "no such trick", Dir: t.TempDir()}
	if _, err := job.runPart(kvstoreSpec()); err == nil || !strings.Contains(err.Error(), "switched off") {
		t.Errorf("err = %v", err)
	}
}

func TestTricksRefuseOtherFlags(t *testing.T) {
	for name, change := range map[string]func(*config){
		"out":      func(c *config) { c.out = t.TempDir() },
		"engines":  func(c *config) { c.engines = "pebble" },
		"tricks":   func(c *config) { c.tricks = "magic" },
		"workload": func(c *config) { c.only = "F77" },
	} {
		c := config{rounds: 1, time: time.Millisecond, scale: 1, tricks: "zeros"}
		change(&c)
		if err := c.run(t.Context(), new(bytes.Buffer), new(bytes.Buffer)); err == nil {
			t.Errorf("bad %s: no error", name)
		}
	}
}
