package regroup

import (
	"testing"
	"time"
)

// P10: neither a few callers are told in turn nor so many that they would take longer than the disk, and a writer that slept for long stays awake more and
// more often.
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
		{callers: maxInTurn + 1, synced: ms, want: [3]int{0, 100, 0}},
		{callers: maxAsleep, synced: ms, slept: maxAsleep * turnTime, want: [3]int{0, 100, 0}},
		{callers: maxAsleep + 1, synced: ms, want: [3]int{100, 0, 0}},
		{callers: 100, synced: 10 * time.Microsecond, want: [3]int{100, 0, 0}},
		{callers: 100, synced: 0, want: [3]int{100, 0, 0}},
		{callers: 100, synced: ms, slept: 100*turnTime + 1, want: [3]int{94, 0, 6}}, // with 1, 3, 7, 15 and 31 groups between
		{callers: 200, synced: ms, slept: ms, want: [3]int{94, 6, 0}},
	} {
		var got [3]int
		var teller Teller
		for range 100 {
			way := teller.Choose(c.callers, c.synced)
			if got[way]++; way != AtOnce {
				teller.Slept(c.callers, c.slept)
			}
		}
		if got != c.want {
			t.Errorf("%d callers, a sync of %v, asleep for %v: %v, want %v", c.callers, c.synced, c.slept, got, c.want)
		}
	}
}

// What was in vain is tried again, and when it was not, always.
func TestPatienceComesBack(t *testing.T) {
	var p patience
	tries := 0
	for range 10 * maxPause {
		if p.try() {
			tries++
			p.learn(false)
		}
	}
	if tries < 10 || tries > 20 {
		t.Errorf("%d tries", tries)
	}
	for !p.try() {
	}
	p.learn(true)
	for range 10 {
		if !p.try() {
			t.Fatal("not tried though it was good")
		}
		p.learn(true)
	}
	p.try()
	if p.learn(false); p.pause != 1 {
		t.Errorf("after one failure, %d groups go by", p.pause)
	}
}
