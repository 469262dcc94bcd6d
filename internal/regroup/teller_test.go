package regroup

import (
	"testing"
	"time"
)

// P10: neither a few callers are told in turn, nor many, nor so many that they can be expected to take longer than the disk; and a writer that slept for long stays
// awake more and more often, so that what it lost comes to little.
func TestHowCallersAreTold(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		callers       int
		synced, slept time.Duration
		want          [3]int // of a hundred groups, those told at once, with the writer asleep, and in turn
	}{
		{callers: 1, synced: ms, want: [3]int{100, 0, 0}},
		{callers: minTold - 1, synced: ms, want: [3]int{100, 0, 0}},
		{callers: minTold, synced: ms, want: [3]int{0, 0, 100}},
		{callers: maxInTurn, synced: ms, slept: maxInTurn * turnTime, want: [3]int{0, 0, 100}},
		{callers: maxInTurn, synced: 100 * time.Microsecond, slept: 100 * time.Microsecond, want: [3]int{0, 0, 100}},
		{callers: maxInTurn + 1, synced: ms, want: [3]int{0, 100, 0}},
		{callers: maxAsleep, synced: ms, slept: maxAsleep * turnTime, want: [3]int{0, 100, 0}},
		{callers: maxAsleep + 1, synced: ms, want: [3]int{100, 0, 0}},
		{callers: 100, synced: 10 * time.Microsecond, want: [3]int{100, 0, 0}},
		{callers: 100, synced: 0, want: [3]int{100, 0, 0}},
		{callers: 100, synced: ms, slept: 100*turnTime + 1, want: [3]int{94, 0, 6}}, // with 1, 3, 7, 15 and 31 groups between
		{callers: 100, synced: 100 * time.Microsecond, slept: 101 * time.Microsecond, want: [3]int{94, 0, 6}},
		{callers: 200, synced: ms, slept: ms, want: [3]int{94, 6, 0}},
		{callers: 200, synced: ms, slept: 20 * ms, want: [3]int{97, 3, 0}}, // 20 and 60
	} {
		var got [3]int
		var teller Teller
		for range 100 {
			way := teller.Choose(c.callers, c.synced)
			if got[way]++; way != AtOnce {
				teller.Slept(way, c.callers, c.slept)
			}
		}
		if got != c.want {
			t.Errorf("%d callers, a sync of %v, asleep for %v: %v, want %v", c.callers, c.synced, c.slept, got, c.want)
		}
	}
}

// One way that takes long says nothing of the other.
func TestWaysAreJudgedByThemselves(t *testing.T) {
	var teller Teller
	teller.Slept(teller.Choose(200, time.Millisecond), 200, time.Second)
	if way := teller.Choose(100, time.Millisecond); way != InTurn {
		t.Errorf("way %d", way)
	}
	if way := teller.Choose(200, time.Millisecond); way != AtOnce {
		t.Errorf("way %d", way)
	}
}

// What was in vain is tried again, the less often the more it cost; and when it was good for a while, always.
func TestPatienceComesBack(t *testing.T) {
	for _, cost := range []int{0, 1, 10} {
		var p patience
		tries, asked := 0, 20*maxPause*max(cost, 1)
		for range asked {
			if p.try() {
				tries++
				p.vain(cost)
			}
		}
		if tries < 20 || tries > 30 {
			t.Errorf("cost %d: tried %d times of %d", cost, tries, asked)
		}
		for !p.try() {
		}
		p.good()
		if p.vain(1); p.pause < maxPause/2 {
			t.Errorf("after a single success, %d groups go by", p.pause)
		}
		for !p.try() {
		}
		for range maxPause {
			if p.good(); !p.try() {
				t.Fatal("not tried though it was good")
			}
		}
		if p.vain(1); p.pause != 1 {
			t.Errorf("after a single failure, %d groups go by", p.pause)
		}
	}
}
