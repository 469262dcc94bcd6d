package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(runChild(text))
	}
	os.Exit(m.Run())
}

func TestMedian(t *testing.T) {
	values := []float64{9, 1, 5}
	if got := median(values); got != 5 {
		t.Errorf("odd: %v", got)
	}
	if !slices.Equal(values, []float64{9, 1, 5}) {
		t.Errorf("sorted in place: %v", values)
	}
	if got := median([]float64{4, 1, 2, 9}); got != 3 {
		t.Errorf("even: %v", got)
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("of none: %v", got)
	}
}

func TestFigure(t *testing.T) {
	for want, v := range map[string]float64{
		"0.00": 0, "0.024": 0.0236, "0.020": 0.02, "0.24": 0.236, "0.0016": 0.0016, "1.60": 1.6, "16.0": 16,
		"160": 160, "1,600": 1600, "-1,234,567": -1234567, "-123,456": -123456,
	} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
}

// made returns results of the first case of F2, with the values of the rounds
// by engine.
func made(values map[string][]float64) *results {
	r := &results{specs: allSpecs()}
	for engine, rounds := range values {
		for round, value := range rounds {
			r.Samples = append(r.Samples, sample{
				Workload: "F2", Case: setCase(16, true), Engine: engine, Round: round, Unit: unitOps, Value: value,
			})
		}
	}
	return r
}

func TestVerdicts(t *testing.T) {
	name := setCase(16, true)
	pebble := check{want: 2.5, measure: overPeer("F2", name, "pebble")}
	best := check{want: 1, measure: overBest("F2", name, nil)}
	other := check{want: 1, measure: overBest("F2", name, reachesOS)}
	most := check{want: 100, atMost: true, measure: plain(ours("F2", name), ofValue)}
	type values = map[string][]float64
	for _, test := range []struct {
		name    string
		values  values
		check   check
		value   float64
		beside  string
		outcome outcome
	}{
		{"at the target", values{"kvstore": {250}, "pebble": {100}}, pebble, 2.5, "pebble", met},
		{"below it", values{"kvstore": {249}, "pebble": {100}}, pebble, 2.49, "pebble", notMet},
		{"rounds are paired", values{"kvstore": {300, 30, 3}, "pebble": {100, 10, 2}}, pebble, 3, "pebble", met},
		{
			"the best peer",
			values{"kvstore": {100}, "pebble": {80}, "redis": {50}, "map floor": {900}},
			best, 1.25, "pebble", met,
		},
		{"the best that counts", values{"kvstore": {100}, "pebble": {80}, "redis": {50}}, other, 2, "redis", met},
		{"no peer", values{"kvstore": {100}}, best, 0, "", notMeasured},
		{"no kvstore", values{"pebble": {100}}, pebble, 0, "", notMeasured},
		{"nothing at all", nil, most, 0, "", notMeasured},
		{"at most", values{"kvstore": {90, 100, 110}}, most, 100, "–", met},
		{"more than that", values{"kvstore": {101}}, most, 101, "–", notMet},
	} {
		value, beside, o := test.check.judge(made(test.values))
		if math.Abs(value-test.value) > 1e-9 || beside != test.beside || o != test.outcome {
			t.Errorf("%s: %v beside %q, %s; want %v beside %q, %s",
				test.name, value, beside, o, test.value, test.beside, test.outcome)
		}
	}
}

func TestMemoryIsRefused(t *testing.T) {
	const shm = "/dev/shm"
	if _, err := os.Stat(shm); err != nil || runtime.GOOS != "linux" {
		t.Skipf("no %s here: %v", shm, err)
	}
	c := config{rounds: 1, time: time.Millisecond, scale: 1, dir: shm}
	err := c.run(t.Context(), new(bytes.Buffer), new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "tmpfs") {
		t.Errorf("err = %v", err)
	}
}

func TestKeysAndValues(t *testing.T) {
	d := newData(7)
	seen := make(map[string]bool)
	for i := range 10_000 {
		seen[d.key(i)] = true
		if n := len(d.value(i, valueBytes)); n != valueBytes {
			t.Fatalf("value %d has %d bytes", i, n)
		}
	}
	if len(seen) != 10_000 || len(d.key(0)) != keyBytes {
		t.Errorf("%d distinct keys of %d bytes", len(seen), len(d.key(0)))
	}
	again := newData(7)
	if d.key(5) != again.key(5) || !bytes.Equal(d.value(5, 1<<10), again.value(5, 1<<10)) {
		t.Error("the same seed gives different data")
	}
}

func TestBadFlags(t *testing.T) {
	good := config{rounds: 1, time: time.Millisecond, scale: 1}
	for name, change := range map[string]func(*config){
		"workload": func(c *config) { c.only = "F2,F77" },
		"engine":   func(c *config) { c.engines = "kvstore,sqlite" },
		"rounds":   func(c *config) { c.rounds = 0 },
		"scale":    func(c *config) { c.scale = -1 },
		"dir":      func(c *config) { c.dir = filepath.Join(t.TempDir(), "absent") },
	} {
		c := good
		change(&c)
		if err := c.run(t.Context(), new(bytes.Buffer), new(bytes.Buffer)); err == nil {
			t.Errorf("bad %s: no error", name)
		}
	}
}

// TestEverything runs every available engine through every workload, for a very
// short time, so that none of them rots.
func TestEverything(t *testing.T) {
	dir := t.TempDir()
	if err := refuseMemory(dir); err != nil {
		t.Skip(err)
	}
	c := config{
		rounds: 1, time: 2 * time.Millisecond, scale: 0.0005, seed: 3, dir: dir,
		out: filepath.Join(dir, "out"), json: filepath.Join(dir, "raw.json"),
	}
	var text, progress bytes.Buffer
	if err := c.run(t.Context(), &text, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.Bytes())
	}
	var r results
	raw, err := os.ReadFile(c.json)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	specs, missing, err := chooseSpecs("")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("missing: %v", missing)
	for _, w := range allWorkloads() {
		for _, s := range specs {
			measured := slices.ContainsFunc(r.Samples, func(m sample) bool {
				return m.Workload == w.id && m.Engine == s.name
			})
			if measured != w.joins(s) {
				t.Errorf("%s: %s: measured is %t, joins is %t", w.id, s.name, measured, w.joins(s))
			}
		}
	}
	for _, m := range r.Samples {
		if m.Note == "" && !(m.Value > 0) && m.Unit != unitBytes && m.Unit != unitCores && m.Case != caseKeyIndex {
			t.Errorf("%s: %s: %s: %v %s", m.Workload, m.Case, m.Engine, m.Value, m.Unit)
		}
	}
	if strings.Contains(text.String(), string(notMeasured)) && len(missing) == 0 {
		t.Errorf("a target was not measured:\n%s", text.Bytes())
	}
	for _, name := range []string{
		"BENCHMARKS.md", "benchmarks/set.svg", "benchmarks/get.svg", "benchmarks/growth.svg", "benchmarks/sizes.svg",
		"benchmarks/scans.svg", "benchmarks/transactions.svg",
	} {
		if info, err := os.Stat(filepath.Join(c.out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "kvstore-bench-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestGroupsHaveTheirOwnPrefixes(t *testing.T) {
	d := newData(7)
	seen := make(map[string]int)
	for i := range 3 * groupKeys {
		key := d.groupKey(i)
		if len(key) != keyBytes || !strings.HasPrefix(key, d.groupPrefix(i/groupKeys)) {
			t.Fatalf("key %d is %q", i, key)
		}
		seen[key[:prefixBytes]]++
	}
	if len(seen) != 3 || seen[d.groupPrefix(1)] != groupKeys {
		t.Errorf("groups: %v", seen)
	}
}

func TestWhatIsKeptDoesNotChange(t *testing.T) {
	var own keeper
	var kept [][]byte
	source := make([]byte, 2*maxKeptBytes)
	for size := 0; size < len(source); size += 97 {
		for i := range source[:size] {
			source[i] = byte(size)
		}
		b := source[:size]
		kept = append(kept, own.bytes(b), []byte(own.text(b)), own.bytesOf(string(b)))
	}
	for i, b := range kept {
		size := i / 3 * 97
		if len(b) != size || cap(b) < size || bytes.Count(b, []byte{byte(size)}) != size {
			t.Fatalf("copy %d of %d bytes has changed", i%3, size)
		}
		_ = append(b, 1) // does not reach the next one
	}
}

// TestScansAgree compares the same spans in every engine that can scan.
func TestScansAgree(t *testing.T) {
	dir := t.TempDir()
	specs, _, err := chooseSpecs("")
	if err != nil {
		t.Fatal(err)
	}
	d := newData(7)
	const n = 5 * groupKeys
	names := make([]string, n)
	for i := range names {
		names[i] = d.groupKey(i)
	}
	slices.Sort(names)
	spans := []span{
		{},
		{limit: 7},
		{from: names[11], limit: 3},
		{from: names[n-2]},
		{prefix: d.groupPrefix(2)},
		{prefix: d.groupPrefix(3), limit: 5},
		{prefix: "x"},
	}
	for _, s := range specs {
		if s.noScans != "" || s.role != subject && s.role != peer {
			continue
		}
		b := &bench{dir: dir, data: d}
		err := b.empty(s, false, func(e engine) error {
			if err := d.load(e, n, n, d.groupKey); err != nil {
				return err
			}
			for _, within := range spans {
				var want, got []string
				for _, name := range names {
					if name >= within.from && strings.HasPrefix(name, within.prefix) && !within.full(len(want)) {
						want = append(want, name)
					}
				}
				err := e.(scanner).scan(within, func(key string, value []byte) {
					got = append(got, key)
					if len(value) != valueBytes {
						t.Errorf("%s: %d bytes", s.name, len(value))
					}
				})
				if err != nil {
					return err
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: %+v: %d keys, should be %d", s.name, within, len(got), len(want))
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

func TestMergeTakesWhatIsNotMeasuredAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "raw.json")
	earlier := &results{
		Facts: []fact{{"Go", "go1"}, {"date", "yesterday"}},
		Samples: []sample{
			{Workload: "F1", Case: "a", Engine: "kvstore", Value: 1},
			{Workload: "scans", Case: "b", Engine: "kvstore", Value: 2},
		},
		Failures: []string{"F1, a, pebble: broken", "scans, b, pebble: broken"},
	}
	if err := earlier.write(name); err != nil {
		t.Fatal(err)
	}
	read, err := readResults(name)
	if err != nil {
		t.Fatal(err)
	}
	r := &results{
		Facts:   []fact{{"Go", "go1"}, {"date", "today"}},
		Samples: []sample{{Workload: "scans", Case: "b", Engine: "kvstore", Value: 3}},
	}
	all := r.merge(read, []workload{scanWorkload()})
	if len(all) != 2 || all[0].id != "F1" || all[1].id != "scans" {
		t.Errorf("%d workloads", len(all))
	}
	if a, _ := r.median(ours("F1", "a")); a != 1 {
		t.Errorf("F1: %v", a)
	}
	if b, _ := r.median(ours("scans", "b")); b != 3 {
		t.Errorf("scans: %v", b)
	}
	if !slices.Equal(r.Failures, earlier.Failures[:1]) {
		t.Errorf("failures: %q", r.Failures)
	}
	if got := r.Facts[len(r.Facts)-1].Value; got != "F1; date: yesterday" {
		t.Errorf("the header says %q", got)
	}
}
