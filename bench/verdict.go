package main

import (
	"fmt"
	"math"
)

// check is one target: a figure that must be at least, or at most, want.
type check struct {
	target, what string
	want         float64
	atMost       bool
	unit         string // printed after the figures; "x" for ratios
	// measure returns the figure and what it is compared with. ok is false if
	// the figure was not measured.
	measure func(r *results) (value float64, beside string, ok bool)
}

type outcome string

const (
	met         outcome = "met"
	notMet      outcome = "**not met**"
	notMeasured outcome = "not measured"
)

func (c check) judge(r *results) (value float64, beside string, o outcome) {
	value, beside, ok := c.measure(r)
	switch {
	case !ok || math.IsNaN(value):
		return 0, "", notMeasured
	case c.atMost && value <= c.want, !c.atMost && value >= c.want:
		return value, beside, met
	default:
		return value, beside, notMet
	}
}

const subjectName = "kvstore"

// ours is kvstore in a case.
func ours(workload, name string) point { return point{workload, name, subjectName} }

// over is the ratio of a to b.
func over(a, b point) func(*results) (float64, string, bool) {
	return func(r *results) (float64, string, bool) {
		value, ok := r.ratio(a, b)
		return value, b.engine, ok
	}
}

// growthCost is the cost of an operation at the largest size divided by the
// cost at the smallest. That is the rate at the smallest size divided by the
// rate at the largest.
func growthCost(name string) func(*results) (float64, string, bool) {
	least, most := growthCase(name, growthSizes[0]), growthCase(name, growthSizes[len(growthSizes)-1])
	return func(r *results) (float64, string, bool) {
		value, ok := r.ratio(ours("F10", least), ours("F10", most))
		return value, "kvstore, " + least, ok
	}
}

// overPeer is the ratio to one engine, overBest the ratio to the best peer that
// counts.
func overPeer(workload, name, engine string) func(*results) (float64, string, bool) {
	return over(ours(workload, name), point{workload, name, engine})
}

func overBest(workload, name string, counts func(spec) bool) func(*results) (float64, string, bool) {
	return func(r *results) (float64, string, bool) {
		engine, ok := r.bestPeer(workload, name, counts)
		if !ok {
			return 0, "", false
		}
		return overPeer(workload, name, engine)(r)
	}
}

// overCase is the ratio of kvstore's values in two cases.
func overCase(workload, name, usual string) func(*results) (float64, string, bool) {
	return func(r *results) (float64, string, bool) {
		value, ok := r.ratio(ours(workload, name), ours(workload, usual))
		return value, usual, ok
	}
}

// costOver is overCase for a cost if the values are rates.
func costOver(workload, name, usual string) func(*results) (float64, string, bool) {
	return func(r *results) (float64, string, bool) {
		value, ok := r.ratio(ours(workload, usual), ours(workload, name))
		return value, usual, ok
	}
}

// latencyOver is kvstore's latency in one case divided by its latency in
// another, as the median over the rounds.
func latencyOver(
	workload, name, usual string, of func(*latency) float64,
) func(*results) (float64, string, bool) {
	return func(r *results) (float64, string, bool) {
		value, ok := r.latencyRatio(ours(workload, name), ours(workload, usual), of)
		return value, usual, ok
	}
}

// latencyOverPeer is kvstore's latency divided by that of one engine.
func latencyOverPeer(
	workload, name, engine string, of func(*latency) float64,
) func(*results) (float64, string, bool) {
	return func(r *results) (float64, string, bool) {
		value, ok := r.latencyRatio(ours(workload, name), point{workload, name, engine}, of)
		return value, engine, ok
	}
}

// plain is the median of one field of the samples at p.
func plain(p point, of func(sample) (float64, bool)) func(*results) (float64, string, bool) {
	return func(r *results) (float64, string, bool) {
		var values []float64
		for _, s := range r.at(p) {
			if value, ok := of(s); ok {
				values = append(values, value)
			}
		}
		return median(values), "–", len(values) > 0
	}
}

func ofValue(s sample) (float64, bool) { return s.Value, s.Note == "" }

func ofSyncs(s sample) (float64, bool) {
	if s.Syncs == nil {
		return 0, false
	}
	return *s.Syncs, true
}

// ofP999 is in milliseconds.
func ofP999(s sample) (float64, bool) {
	if s.Latency == nil {
		return 0, false
	}
	return s.Latency.P999 / 1e3, true
}

// offBy is the distance of a value from the wanted one.
func offBy(want float64, of func(sample) (float64, bool)) func(sample) (float64, bool) {
	return func(s sample) (float64, bool) {
		value, ok := of(s)
		return math.Abs(value - want), ok
	}
}

func reachesOS(s spec) bool { return !s.staysInside }

func allChecks() []check {
	var list checks
	list.addFigures()
	list.addScans()
	list.addSnapshots()
	list.addCounters()
	list.addExpiry()
	return list
}

type checks []check

// ratio adds a ratio that must be at least want.
func (c *checks) ratio(target, what string, want float64, measure func(*results) (float64, string, bool)) {
	c.least(target, what, want, "x", measure)
}

// least adds a figure that must be at least want, most one that must be at most
// want.
func (c *checks) least(
	target, what string, want float64, unit string, measure func(*results) (float64, string, bool),
) {
	*c = append(*c, check{target: target, what: what, want: want, unit: unit, measure: measure})
}

func (c *checks) most(
	target, what string, want float64, unit string, measure func(*results) (float64, string, bool),
) {
	*c = append(*c, check{target: target, what: what, want: want, unit: unit, atMost: true, measure: measure})
}

// addFigures adds F1 to F10.
func (c *checks) addFigures() {
	lone := setCase(1, true)
	c.ratio("F1", lone, 0.90, overPeer("F1", lone, diskFloorSpec().name))
	c.ratio("F1", lone, 1.3, overPeer("F1", lone, "pebble"))
	for i, want := range []float64{2.5, 2.3, 2.5, 3} {
		name := setCase(manyWriters[i], true)
		c.ratio("F2", name, want, overPeer("F2", name, "pebble"))
		c.ratio("F2", name+", every peer", 1, overBest("F2", name, nil))
	}
	c.ratio("F3", batchCase(100, 1), 2, overBest("F3", batchCase(100, 1), nil))
	c.ratio("F3", batchCase(1000, 4), 4, overBest("F3", batchCase(1000, 4), nil))
	c.ratio("F4", setCase(1, false), 1, overBest("F4", setCase(1, false), reachesOS))
	c.ratio("F4", setCase(16, false), 1.5, overBest("F4", setCase(16, false), reachesOS))
	for _, n := range []int{1, 2} {
		floor := point{"F5", by(caseGet, n), mapFloorSpec().name}
		c.ratio("F5", by(caseGet, n), 1, over(ours("F5", by(caseGet, n)), floor))
		c.ratio("F5", by(caseAppendGet, n), 1.2, over(ours("F5", by(caseAppendGet, n)), floor))
		c.ratio("F5", by(caseMultiGet, n), 3, over(ours("F5", by(caseMultiGet, n)), floor))
	}
	c.ratio("F6", caseMixed, 6, overBest("F6", caseMixed, nil))
	c.most("F6", "p99.9 of Get in it", 1, " ms", plain(ours("F6", caseMixed), ofP999))
	c.most("F7", caseGC, 5, " ms", plain(ours("F7", caseGC), ofValue))
	c.most("F7", caseResident, memoryOverhead, " B/key", plain(ours("F7", caseResident), ofValue))
	c.least("F8", caseSnapshot, 3e6, " keys/s", plain(ours("F8", caseSnapshot), ofValue))
	c.least("F8", caseReplay, 1.5e6, " keys/s", plain(ours("F8", caseReplay), ofValue))
	c.most("F9", "syncs per write, "+setCase(64, true), 0.02, "", plain(ours("F9", setCase(64, true)), ofSyncs))
	c.most("F9", "distance from 1.00 syncs per write, "+lone, 0.005, "", plain(ours("F9", lone), offBy(1, ofSyncs)))
	for _, name := range []string{"Set", "Get"} {
		c.most("F10", fmt.Sprintf("cost of a %s at 10 M keys", name), 1.6, "x", growthCost(name))
	}
	c.most("F10", caseLongest, 10, " ms", plain(ours("F10", caseLongest), ofValue))
}

func (c *checks) addScans() {
	c.ratio("scans", caseFullScan, 1, overPeer("scans", caseFullScan, "bbolt"))
	c.ratio("scans", casePrefixScan, 1.2, overPeer("scans", casePrefixScan, "bbolt"))
	c.most("scans", "p99 of "+casePrefixScan, 1, "x", latencyOverPeer("scans", casePrefixScan, "bbolt", p99))
	c.most("scans", caseFirstPrefix, 1500, " ms", plain(ours("scans", caseFirstPrefix), ofValue))
	c.most("scans", caseIndexMemory, 32, " B/key", plain(ours("scans", caseIndexMemory), ofValue))
	c.most("scans", caseKeyIndex, 1.2, " µs", plain(ours("scans", caseKeyIndex), ofValue))
	c.most("scans", caseOpenOrdered, 1.25, "x", overCase("scans", caseOpenOrdered, caseOpenUnordered))
	c.ratio("scans", caseIndexGet, 0.5, overCase("scans", caseIndexGet, caseUsualGet))
	c.ratio("scans", caseIndexSet, 0.5, overCase("scans", caseIndexSet, caseUsualSet))
}

func (c *checks) addSnapshots() {
	const id = "snapshots"
	for _, l := range snapshotLoads {
		during := fmt.Sprintf(" during Snapshot, %s load, beside the usual one", l.name)
		c.most(id, "p99.9 of Get"+during, 2, "x", latencyOver(id, l.get(phaseSnapshot), l.get(phaseUsual), p999))
		c.most(id, "p99 of Set"+during, 2, "x", latencyOver(id, l.set(phaseSnapshot), l.set(phaseUsual), p99))
	}
}

func (c *checks) addCounters() {
	c.ratio("counters", caseAddRate, 0.8, plain(ours("counters", caseAddRate), ofValue))
}

func (c *checks) addExpiry() {
	const id = "expiry"
	for _, callers := range lagCallers {
		c.most(id, lagCase(callers), 10, " ms", plain(ours(id, lagCase(callers)), ofValue))
	}
	c.least(id, caseIdle, 1e6, " keys/s", plain(ours(id, caseIdle), ofValue))
	for _, callers := range dueCallers {
		delay := dueCase(dueMillions[len(dueMillions)-1], callers, dueDelay)
		c.most(id, delay, 2, "x", plain(ours(id, delay), ofValue))
	}
	for _, what := range append(besideRelaxed, besideDurable) {
		with, without := besideCase(what, true), besideCase(what, false)
		c.ratio(id, with, besideShare, overCase(id, with, without))
	}
	c.most(id, caseVolatileOpen, 1.15, "x", costOver(id, caseVolatileOpen, casePlainOpen))
	c.most(id, caseDeadline, 20, " B/key", plain(ours(id, caseDeadline), ofValue))
}
