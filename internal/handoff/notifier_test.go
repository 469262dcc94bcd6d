package handoff

import (
	"testing"
	"time"
)

// P10: the writer sleeps only for a number of callers within the bounds, and
// only if they can return within a sync. A writer that slept too long stays
// awake more and more often, so that it loses little in the long run.
func TestChoose(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		callers       int
		synced, slept time.Duration
		want          [3]int // how many of a hundred groups get each mode
	}{
		{callers: 1, synced: ms, want: [3]int{100, 0, 0}},
		{callers: minCallers - 1, synced: ms, want: [3]int{100, 0, 0}},
		{callers: minCallers, synced: ms, want: [3]int{0, 0, 100}},
		{callers: maxInTurn, synced: ms, slept: maxInTurn * turnTime, want: [3]int{0, 0, 100}},
		{callers: maxInTurn, synced: 100 * time.Microsecond, slept: 100 * time.Microsecond, want: [3]int{0, 0, 100}},
		{callers: maxInTurn + 1, synced: ms, want: [3]int{0, 100, 0}},
		{callers: maxAsleep, synced: ms, slept: maxAsleep * turnTime, want: [3]int{0, 100, 0}},
		{callers: maxAsleep + 1, synced: ms, want: [3]int{100, 0, 0}},
		{callers: 100, synced: 10 * time.Microsecond, want: [3]int{100, 0, 0}},
		{callers: 100, synced: 0, want: [3]int{100, 0, 0}},
		// Pauses of 1, 3, 7, 15 and 31 groups.
		{callers: 100, synced: ms, slept: 100*turnTime + 1, want: [3]int{94, 0, 6}},
		{callers: 100, synced: 100 * time.Microsecond, slept: 101 * time.Microsecond, want: [3]int{94, 0, 6}},
		{callers: 200, synced: ms, slept: ms, want: [3]int{94, 6, 0}},
		{callers: 200, synced: ms, slept: 20 * ms, want: [3]int{97, 3, 0}}, // pauses of 20 and 60
	} {
		var got [3]int
		var notifier Notifier
		for range 100 {
			mode := notifier.Choose(c.callers, c.synced)
			if got[mode]++; mode != AtOnce {
				notifier.Slept(mode, c.callers, c.slept)
			}
		}
		if got != c.want {
			t.Errorf("%d callers, a sync of %v, asleep for %v: %v, want %v", c.callers, c.synced, c.slept, got, c.want)
		}
	}
}

// A mode that took too long does not delay the other mode.
func TestModesBackOffSeparately(t *testing.T) {
	var notifier Notifier
	notifier.Slept(notifier.Choose(200, time.Millisecond), 200, time.Second)
	if mode := notifier.Choose(100, time.Millisecond); mode != InTurn {
		t.Errorf("mode %d", mode)
	}
	if mode := notifier.Choose(200, time.Millisecond); mode != AtOnce {
		t.Errorf("mode %d", mode)
	}
}

// A failed attempt is repeated, the less often the more it cost. After a row of
// successes it is made every time.
func TestBackoff(t *testing.T) {
	for _, cost := range []int{0, 1, 10} {
		var b backoff
		tries, groups := 0, 20*maxPause*max(cost, 1)
		for range groups {
			if b.try() {
				tries++
				b.failed(cost)
			}
		}
		if tries < 20 || tries > 30 {
			t.Errorf("cost %d: tried %d times of %d", cost, tries, groups)
		}
		for !b.try() {
		}
		b.succeeded()
		if b.failed(1); b.pause < maxPause/2 {
			t.Errorf("after a single success, the pause is %d groups", b.pause)
		}
		for !b.try() {
		}
		for range maxPause {
			if b.succeeded(); !b.try() {
				t.Fatal("not tried after a success")
			}
		}
		if b.failed(1); b.pause != 1 {
			t.Errorf("after a single failure, the pause is %d groups", b.pause)
		}
	}
}
