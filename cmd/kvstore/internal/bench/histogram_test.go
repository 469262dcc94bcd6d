package bench

import (
	"testing"
	"time"
)

// Each duration is in one bucket. Buckets end at parts of powers of two, and
// the first and the last are not empty.
func TestBuckets(t *testing.T) {
	h := newHistogram()
	for i := range 1000 {
		if err := h.RecordValue(997 * int64(20+i*i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, perPower := range []int{1, 2, 4, 16} {
		all := buckets(h, perPower)
		sum, before := uint64(0), time.Duration(0)
		for _, b := range all {
			if b.UpTo <= before {
				t.Errorf("a bucket up to %v after one up to %v", b.UpTo, before)
			}
			part := time.Duration(1) // the width of a bucket that ends there
			for part*time.Duration(2*perPower) <= b.UpTo {
				part *= 2
			}
			if (b.UpTo+1)%part != 0 || before > 0 && b.UpTo-before > 2*part {
				t.Errorf("%d buckets in each power of two: one up to %d after one up to %d", perPower, b.UpTo, before)
			}
			before = b.UpTo
			sum += b.Count
		}
		if sum != 1000 || all[0].Count == 0 || all[len(all)-1].Count == 0 {
			t.Errorf("%d of 1000 durations are in the buckets %v", sum, all)
		}
	}
	if all := buckets(newHistogram(), 4); len(all) != 0 {
		t.Errorf("an empty histogram has buckets: %v", all)
	}
}
