package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/internal/testseed"
)

// A table whose keys are loaded in order has its index, and no other one has.
func TestUseSorted(t *testing.T) {
	rng := testseed.Rand(t)
	sorted := func(n int) (keys []string) {
		for i := range n {
			keys = append(keys, fmt.Sprintf("%0*d", 6+rng.IntN(3)*i/n, i))
		}
		slices.Sort(keys)
		return slices.Compact(keys)
	}
	swapped := func(i int) func([]string) {
		return func(keys []string) { keys[i], keys[i+1] = keys[i+1], keys[i] }
	}
	const part = 700 // keys of most parts
	for _, c := range []struct {
		name   string
		keys   int
		change func(keys []string)
		index  bool
	}{
		{"many", fewer(20_000), nil, true},
		{"enough", 2 * minSortedKeys, nil, true},
		{"few", minSortedKeys - 1, nil, false},
		{"none", 0, nil, false},
		{"two are swapped", 5000, swapped(10), false},
		{"two are swapped at the end of a part", 5000, swapped(part - 1), false},
		{"the last two are swapped", 5000, func(keys []string) { swapped(len(keys) - 2)(keys) }, false},
	} {
		keys := sorted(c.keys)
		if c.change != nil {
			c.change(keys)
		}
		tab := New(0)
		var parts []SortedKeys
		for at := 0; at < len(keys); {
			n := min([]int{part, 1, 3, part}[len(parts)%4], len(keys)-at)
			var p SortedKeys
			var ops []Op
			for _, key := range keys[at : at+n] {
				p.Add([]byte(key))
				ops = append(ops, Op{Key: []byte(key), Value: []byte(key)})
			}
			tab.Load(ops, 1)
			parts = append(parts, p, SortedKeys{})
			at += n
		}
		tab.UseSorted(parts)
		if tab.HasIndex() != c.index {
			t.Errorf("%s: index %v", c.name, tab.HasIndex())
		}
		slices.Sort(keys)
		if c.index {
			got := tab.index.Load().tree.root.check(t, "", "", false)
			if !slices.Equal(got, keys) {
				t.Errorf("%s: the index has %d keys, want %d", c.name, len(got), len(keys))
			}
			checkAllInOrder(t, tab, keys)
			keys = changeLoaded(t, rng, tab, keys)
			checkAllInOrder(t, tab, keys)
		}
		v := tab.View()
		if got := keysOf(v.Scan(Bounds{}, Loop{})); !slices.Equal(got, keys) {
			t.Errorf("%s: a scan shows %d keys, want %d", c.name, len(got), len(keys))
		}
		v.Close()
		tab.Release()
	}
}

// checkAllInOrder checks that All and Saved show all pairs in order.
func checkAllInOrder(t *testing.T, tab *Table, keys []string) {
	t.Helper()
	v := tab.View()
	defer v.Close()
	for name, pairs := range map[string]func(func(Pair) bool){"All": tab.All(), "Saved": v.Saved()} {
		var got []string
		for p := range pairs {
			if got = append(got, string(p.Key)); string(p.Value) != string(p.Key) {
				t.Fatalf("%s shows %q for %q", name, p.Value, p.Key)
			}
		}
		if !slices.Equal(got, keys) {
			t.Errorf("%s shows %d keys, want %d in order", name, len(got), len(keys))
		}
		for range pairs {
			break // a loop may be left, and run again
		}
	}
}

// changeLoaded loads a few changes, as a short log has them, and returns the
// keys that there are then.
func changeLoaded(t *testing.T, rng *rand.Rand, tab *Table, keys []string) []string {
	t.Helper()
	present := map[string]bool{}
	for _, key := range keys {
		present[key] = true
	}
	for range 5 {
		var ops []Op
		for range len(keys) / 50 {
			key := keys[rng.IntN(len(keys))]
			if rng.IntN(2) == 0 {
				key = fmt.Sprint("new ", rng.IntN(100))
			}
			op := Op{Key: []byte(key), Value: []byte(key), Delete: rng.IntN(2) == 0}
			present[key] = !op.Delete
			ops = append(ops, op)
		}
		tab.Load(ops, 2)
	}
	if !tab.HasIndex() {
		t.Fatal("a short log takes the index away")
	}
	keys = nil
	for key, is := range present {
		if is {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if got := tab.index.Load().tree.root.check(t, "", "", false); !slices.Equal(got, keys) {
		t.Errorf("after a short log, the index has %d keys, want %d", len(got), len(keys))
	}
	return keys
}

// A log that is long in proportion to the table takes the index away: sorting
// all keys once is faster than inserting them.
func TestLongLogTakesTheIndex(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	var all SortedKeys
	var ops []Op
	for i := range 2 * minSortedKeys {
		key := fmt.Appendf(nil, "%06d", i)
		all.Add(key)
		ops = append(ops, Op{Key: key})
	}
	tab.Load(ops, 1)
	tab.UseSorted([]SortedKeys{all})
	tab.Load(ops[:100], 2)
	if !tab.HasIndex() {
		t.Error("a short log takes the index away")
	}
	tab.Load(ops, 3)
	if tab.HasIndex() {
		t.Error("a long log leaves the index")
	}
}

// P9: views may close while Close writes its snapshot, and take keys out of the
// index then (the race detector takes part).
func TestAllBesideViewsThatClose(t *testing.T) {
	for range fewer(20) {
		tab := New(0)
		var set, remove []Op
		for i := range 2000 {
			key := fmt.Appendf(nil, "%06d", i)
			set = append(set, Op{Key: key, Value: key})
			if i%2 == 0 {
				remove = append(remove, Op{Key: key, Delete: true})
			}
		}
		tab.Apply([]Commit{{Ops: set, Version: 1}})
		tab.Order()
		v := tab.View()
		tab.Apply([]Commit{{Ops: remove, Version: 2}})
		closed := make(chan struct{})
		n := 0
		for p := range tab.All() {
			if n++; n == 1 {
				go func() {
					defer close(closed)
					v.Close()
				}()
			}
			if string(p.Key) != string(p.Value) {
				t.Errorf("%q for %q", p.Value, p.Key)
			}
		}
		if <-closed; n != 1000 {
			t.Errorf("%d pairs, want 1000", n)
		}
		tab.Release()
	}
}
