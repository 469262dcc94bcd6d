package table

import (
	"fmt"
	"slices"
	"testing"

	"kvstore/internal/testseed"
)

// Walk returns every key that stays, however the table grows and shrinks
// meanwhile, and not many keys at once.
func TestTableWalk(t *testing.T) {
	rng := testseed.Rand(t)
	for _, c := range []struct {
		keys, n int
		mask    uint64
	}{
		{0, 1, ^uint64(0)},
		{1, 1, ^uint64(0)},
		{1000, 1, ^uint64(0)},
		{1000, 0, ^uint64(0)},
		{fewer(20_000), 100, ^uint64(0)},
		{fewer(20_000), 5000, ^uint64(0)},
		{300, 10, 0xf << 50}, // many keys with the same place
	} {
		tab := newTable(0, c.mask)
		version := int64(0)
		change := func(op Op) {
			version++
			tab.Apply([]Commit{{Ops: []Op{op}, Version: version}})
		}
		for i := range c.keys {
			change(Op{Key: fmt.Appendf(nil, "stays %d", i)})
		}
		seen := map[string]int{}
		calls, most, passing := 0, 0, 0
		for place := uint64(0); place < WalkEnd; calls++ {
			keys, next := tab.Walk(place, c.n)
			if next <= place || next < WalkEnd && len(keys) < c.n {
				t.Fatalf("%+v: %d keys, from %d to %d", c, len(keys), place, next)
			}
			most = max(most, len(keys))
			for _, key := range keys {
				seen[key]++
			}
			place = next
			for range rng.IntN(30) {
				change(Op{Key: fmt.Appendf(nil, "passes %d", rng.IntN(20_000)), Delete: rng.IntN(3) == 0})
				passing++
			}
		}
		for i := range c.keys {
			if key := fmt.Sprintf("stays %d", i); seen[key] != 1 {
				t.Fatalf("%+v: %q is returned %d times", c, key, seen[key])
			}
		}
		if c.mask == ^uint64(0) && most > 2*max(c.n, 8) {
			t.Errorf("%+v: %d keys at once", c, most)
		}
		t.Logf("%+v: %d calls, %d keys at most, %d changes", c, calls, most, passing)
		tab.Release()
	}
}

// Two tables have different numbers, most likely: of 20 tables, all have the
// same one with a probability of 2^-304.
func TestTableID(t *testing.T) {
	var ids []uint16
	for range 20 {
		tab := New(0)
		ids = append(ids, tab.ID())
		tab.Release()
	}
	slices.Sort(ids)
	if ids[0] == 0 || len(slices.Compact(ids)) == 1 {
		t.Errorf("numbers %v", ids)
	}
}
