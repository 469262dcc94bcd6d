package commands

import (
	"testing"
	"time"
)

// Bars hold each duration once, end at parts of powers of two, and begin and end with one that is not empty.
func TestBars(t *testing.T) {
	h := newHistogram()
	for i := range 1000 {
		if err := h.RecordValue(997 * int64(20+i*i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, perPower := range []int{1, 2, 4, 16} {
		all := bars(h, perPower)
		sum, before := uint64(0), time.Duration(0)
		for _, b := range all {
			if b.UpTo <= before {
				t.Errorf("a bar up to %v after one up to %v", b.UpTo, before)
			}
			part := time.Duration(1) // the width of a bar that ends there
			for part*time.Duration(2*perPower) <= b.UpTo {
				part *= 2
			}
			if (b.UpTo+1)%part != 0 || before > 0 && b.UpTo-before > 2*part {
				t.Errorf("%d bars in each power of two: one up to %d after one up to %d", perPower, b.UpTo, before)
			}
			before = b.UpTo
			sum += b.Count
		}
		if sum != 1000 || all[0].Count == 0 || all[len(all)-1].Count == 0 {
			t.Errorf("%d of 1000 durations are in the bars %v", sum, all)
		}
	}
	if all := bars(newHistogram(), 4); len(all) != 0 {
		t.Errorf("an empty histogram has bars: %v", all)
	}
}
