package table

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/internal/testseed"
)

// deleteAll deletes keys.
func (tab *timedTable) deleteAll(keys []string) {
	c := Commit{Version: tab.Version() + 1}
	for _, key := range keys {
		c.Ops = append(c.Ops, Op{Key: []byte(key), Delete: true})
		delete(tab.model.keys, key)
	}
	tab.Apply([]Commit{c})
}

// wantDue checks keys that were taken while others were due: each is due, each
// is there once, and none is of a later millisecond than one that was left.
func (tab *timedTable) wantDue(t *testing.T, keys []string) {
	t.Helper()
	taken, latest := map[string]bool{}, int64(0)
	for _, key := range keys {
		pair, ok := tab.model.keys[key]
		if !ok || !isDue(pair.deadline, tab.model.now) || taken[key] {
			t.Fatalf("%q: %v, %d at %d, taken before: %v", key, ok, pair.deadline, tab.model.now, taken[key])
		}
		taken[key], latest = true, max(latest, pair.deadline)
	}
	for key, pair := range tab.model.keys {
		if pair.deadline != 0 && milliOf(pair.deadline) < milliOf(latest) && !taken[key] {
			t.Fatalf("%q is due at %d and was left, another one at %d was taken", key, pair.deadline, latest)
		}
	}
}

// Keys that fall due together are all found, in the order of their deadlines to
// the millisecond, and only those, while others are written and the slabs they
// lie in are compacted and used again.
func TestSweepFindsWhatIsDue(t *testing.T) {
	for _, mask := range []uint64{^uint64(63), ^uint64(62), 0xff << 56} { // one shard, two shards, few tags
		t.Run(fmt.Sprintf("mask=%x", mask), func(t *testing.T) {
			rng := testseed.Rand(t)
			tab := newTimedTable(mask, base)
			defer tab.Release()
			const keys = 8000
			write := func(n int, deadline func() int64) {
				c := Commit{Version: tab.Version() + 1}
				for range n {
					key := fmt.Sprint(rng.IntN(keys))
					op := Op{Key: []byte(key), Value: randomDueValue(rng), Deadline: deadline()}
					if rng.IntN(8) == 0 {
						op = Op{Key: op.Key, Delete: true}
					}
					c.Ops = append(c.Ops, op)
					tab.change(op)
				}
				tab.Apply([]Commit{c})
			}
			var d DueSweep
			swept := 0
			for range fewer(20) {
				at := (tab.model.now/1e6+1)*1e6 + rng.Int64N(2)*400_000
				write(2*keys, func() int64 {
					switch rng.IntN(8) {
					case 0:
						return 0
					case 1:
						return at + rng.Int64N(3e6)
					case 2:
						return at + 1e12
					default:
						return at
					}
				})
				tab.model.now = at + []int64{0, 1e6 - 1, 1e6, 5e6}[rng.IntN(4)]
				for {
					most := 1 + rng.IntN(1000)
					due := d.DueKeys(tab.Table, tab.model.now, most, 1<<20)
					if swept += len(due); len(due) == 0 {
						due = tab.DueKeys(tab.model.now, most, 1<<20, nil)
					}
					if len(due) == 0 {
						break
					}
					tab.wantDue(t, due)
					if len(due) > most {
						t.Fatalf("%d keys, want %d at most", len(due), most)
					}
					if rng.IntN(10) > 0 { // else as if the log had no space
						tab.deleteAll(due)
					}
					if rng.IntN(4) == 0 {
						write(rng.IntN(100), func() int64 { return tab.model.now + 1 + rng.Int64N(1e7) })
					}
				}
				tab.check(t)
				tab.checkDeadlines(t)
				if want := tab.model.due(); len(want) > 0 {
					t.Fatalf("%d keys are due and were not found", len(want))
				}
			}
			if swept == 0 {
				t.Error("no key was found by a sweep")
			}
		})
	}
}

func randomDueValue(rng *rand.Rand) []byte {
	if rng.IntN(500) == 0 {
		return bytes.Repeat([]byte{1}, maxPackedBytes+rng.IntN(1000))
	}
	return bytes.Repeat([]byte{2}, rng.IntN(200))
}

// Deleting all keys that a sweep finds empties slab after slab. So nothing is
// moved, and dead records never take more than one slab of each shard.
func TestSweepLeavesNoGarbage(t *testing.T) {
	tab := newTimedTable(^uint64(0), base)
	defer tab.Release()
	ops := make([]Op, fewer(500_000))
	value := make([]byte, 500)
	for i := range ops {
		ops[i] = Op{Key: fmt.Appendf(nil, "%016d", i), Value: value, Deadline: base + 1}
	}
	tab.Load(ops, 1)
	var slabs [shardCount]uint32
	for i := range tab.shards {
		slabs[i] = tab.shards[i].slabs.added
	}
	tab.model.now += 1e6
	var d DueSweep
	for tab.Size() > len(ops)/20 { // some of the last ones are moved, and left for the index
		due := d.DueKeys(tab.Table, tab.model.now, 4000, 1<<20)
		if len(due) == 0 {
			t.Fatalf("%d keys are left for the index", tab.Size())
		}
		tab.deleteAll(due)
		for i := range tab.shards {
			s := &tab.shards[i]
			if s.slabs.dead > maxSlabBytes || s.slabs.added > slabs[i]+4 { // the last slabs are compacted
				t.Fatalf("shard %d has %d dead bytes, and %d new slabs", i, s.slabs.dead, s.slabs.added-slabs[i])
			}
		}
	}
}

// A sweep takes as many bytes of keys as it may, and one key at least.
func TestSweepIsBounded(t *testing.T) {
	tab := newTimedTable(0, base)
	defer tab.Release()
	ops := make([]Op, 4*minSwept)
	for i := range ops {
		ops[i] = Op{Key: fmt.Appendf(nil, "%010d", i), Deadline: base + 1}
	}
	tab.Load(ops, 1)
	tab.model.now += 1e6
	for _, c := range []struct{ most, bytes, want int }{
		{1, 1 << 20, 1}, {10, 1 << 20, 10}, {10, 55, 5}, {10, 0, 1}, {1 << 20, 1 << 20, len(ops)},
	} {
		var d DueSweep
		keys := d.DueKeys(tab.Table, tab.model.now, c.most, c.bytes)
		if n := len(slices.Compact(slices.Sorted(slices.Values(keys)))); n != c.want || n != len(keys) {
			t.Errorf("%d keys, %d bytes at most: %d keys, %d different ones, want %d",
				c.most, c.bytes, len(keys), n, c.want)
		}
	}
	var d DueSweep
	seen := maps.Collect(func(yield func(string, bool) bool) {
		for range len(ops) / 100 { // nothing is deleted, and no key is shown twice
			for _, key := range d.DueKeys(tab.Table, tab.model.now, 100, 1<<20) {
				if !yield(key, true) {
					return
				}
			}
		}
	})
	if len(seen) != len(ops)/100*100 {
		t.Errorf("%d keys in all, want %d", len(seen), len(ops)/100*100)
	}
}

// A slab that a sweep is at may be freed, and another one may have its number
// before the sweep goes on. The sweep takes that one from its beginning.
func TestSweepGoesOnInItsSlab(t *testing.T) {
	tab := newTimedTable(^uint64(shardCount-1), base) // all keys are in one shard
	defer tab.Release()
	load := func(name string, n int) (keys []string) {
		c := Commit{Version: tab.Version() + 1}
		for i := range n {
			keys = append(keys, fmt.Sprintf("%s %06d", name, i))
			c.Ops = append(c.Ops, Op{Key: []byte(keys[i]), Value: make([]byte, 100), Deadline: base + 1})
		}
		tab.Apply([]Commit{c})
		return keys
	}
	old := load("old", 4*minSwept)
	var d DueSweep
	tab.model.now += 1e6
	if n := len(d.DueKeys(tab.Table, tab.model.now, 20, 1<<20)); n != 20 || d.slab != 1 {
		t.Fatalf("%d keys, in slab %d", n, d.slab)
	}
	s := &tab.shards[0]
	serial := s.slabs.use[1].serial
	tab.deleteAll(old[:len(old)/2])
	for i := 0; s.slabs.mem[1] == nil || s.slabs.use[1].serial == serial; i++ {
		load(fmt.Sprint("new ", i), 10)
	}
	first := string(s.slabs.at(1 << offsetBits).key())
	if keys := d.DueKeys(tab.Table, tab.model.now, 20, 1<<20); len(keys) == 0 || keys[0] != first {
		t.Errorf("the sweep goes on with %q, want %q", keys, first)
	}
}
