package table

import (
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"kvstore/internal/testseed"
)

// newTree returns a tree of keys, which must be in order, each once.
func newTree(keys iter.Seq[[]byte]) *tree {
	var b treeBuilder
	for key := range keys {
		b.add(key)
	}
	return b.tree()
}

// check verifies the invariants of a tree and returns its keys.
func (n *node) check(t *testing.T, bound, below string, bounded bool) (keys []string) {
	t.Helper()
	inside := func(key string) bool { return key >= bound && (!bounded || key < below) }
	for i := range n.keys.len() {
		key := string(n.keys.at(i))
		if !inside(key) || i > 0 && key <= string(n.keys.at(i-1)) {
			t.Fatalf("key %d, %q, is not between %q and %q, or not above the one before it", i, key, bound, below)
		}
	}
	if n.keys.len() > maxNodeKeys {
		t.Fatalf("a node of %d keys", n.keys.len())
	}
	if n.alive != n.hasAlive() {
		t.Fatalf("a node of %d keys and %d children is alive: %v", n.keys.len(), len(n.children), n.alive)
	}
	if n.children == nil {
		for i := range n.keys.len() {
			keys = append(keys, string(n.keys.at(i)))
		}
		return keys
	}
	if len(n.children) != n.keys.len()+1 {
		t.Fatalf("%d children with %d bounds between them", len(n.children), n.keys.len())
	}
	for i, child := range n.children {
		to, ok := below, bounded
		if i < n.keys.len() {
			to, ok = string(n.keys.at(i)), true
		}
		keys = append(keys, child.check(t, bound, to, ok)...)
		bound = to
	}
	return keys
}

// hasAlive reports whether a key below the node is not marked dead.
func (n *node) hasAlive() bool {
	for i := range n.keys.len() {
		if n.children == nil && n.keys.ends[i]&deadKey == 0 {
			return true
		}
	}
	return slices.ContainsFunc(n.children, (*node).hasAlive)
}

// nodes counts the nodes of a tree.
func (n *node) nodes() (count int) {
	for _, child := range n.children {
		count += child.nodes()
	}
	return count + 1
}

// randomKey returns short and long keys that often collide, have common
// prefixes, and contain the lowest and highest bytes.
func randomKey(rng *rand.Rand) string {
	b := make([]byte, rng.IntN(5))
	for i := range b {
		b[i] = "\x00\x01az\xff"[rng.IntN(5)]
	}
	switch rng.IntN(40) {
	case 0:
		return strings.Repeat("long", 100+rng.IntN(2000)) + string(b)
	case 1:
		return string(b) + strings.Repeat("\xff", rng.IntN(65000))
	}
	return string(b) + string(rune('a'+rng.IntN(26))) + string(rune('a'+rng.IntN(26)))
}

// A tree agrees with a sorted slice while keys are inserted and removed, down
// to the last key, whether it grew key by key or was built from many.
func TestTreeAgreesWithASortedSlice(t *testing.T) {
	rng := testseed.Rand(t)
	for _, size := range []int{0, 1, 10, fewer(5000)} {
		model := map[string]bool{}
		var first []string
		for range size {
			first = append(first, randomKey(rng))
			model[first[len(first)-1]] = true
		}
		slices.Sort(first)
		first = slices.Compact(first)
		tree := newTree(func(yield func([]byte) bool) {
			for _, key := range first {
				if !yield([]byte(key)) {
					return
				}
			}
		})
		compareTree(t, rng, tree, model)
		for _, removes := range []int{30, 70, 50, 100} { // percent
			for range size {
				key := randomKey(rng)
				if rng.IntN(100) < removes {
					if i := rng.IntN(len(first) + 1); i < len(first) {
						key = first[i]
					}
					tree.remove(key)
					delete(model, key)
				} else {
					tree.insert(key)
					model[key] = true
				}
			}
			compareTree(t, rng, tree, model)
		}
		for key := range model {
			tree.remove(key)
		}
		compareTree(t, rng, tree, nil)
		if n := tree.root.nodes(); n > 1+size/maxNodeKeys {
			t.Fatalf("%d nodes for no key", n)
		}
	}
}

func compareTree(t *testing.T, rng *rand.Rand, tree *tree, model map[string]bool) {
	t.Helper()
	var want []string
	for key := range model {
		want = append(want, key)
	}
	slices.Sort(want)
	if got := tree.root.check(t, "", "", false); !slices.Equal(got, want) || tree.len != len(want) {
		t.Fatalf("%d keys, counted %d, want %d", len(got), tree.len, len(want))
	}
	for range 20 {
		from := randomKey(rng)
		if len(want) > 0 && rng.IntN(2) == 0 {
			from = want[rng.IntN(len(want))]
		}
		at, _ := slices.BinarySearch(want, from)
		limit := rng.IntN(300)
		take := func(got *[]string) func([]byte) bool {
			return func(key []byte) bool {
				*got = append(*got, string(key))
				return len(*got) < limit
			}
		}
		var up, down, all []string
		tree.root.ascend(from, 0, take(&up))
		tree.root.descend(from, true, 0, take(&down))
		tree.root.descend("", false, 0, take(&all))
		limit = max(limit, 1) // the first key is always visited
		below, last := slices.Clone(want[:at]), slices.Clone(want)
		slices.Reverse(below)
		slices.Reverse(last)
		if !slices.Equal(up, want[at:min(len(want), at+limit)]) ||
			!slices.Equal(down, below[:min(len(below), limit)]) ||
			!slices.Equal(all, last[:min(len(last), limit)]) {
			t.Fatalf("from %q, up to %d keys: %d up, %d down, %d from the end, of %d with %d below",
				from, limit, len(up), len(down), len(all), len(want), at)
		}
	}
}

// A tree shows all keys that are alive, or that died after a version, and of
// the others only those whose neighbours died later. Keys are inserted, marked,
// inserted again and removed, in any order.
func TestTreeLeavesOutDeadKeys(t *testing.T) {
	const alive = math.MaxInt64
	rng := testseed.Rand(t)
	tree, died := newTree(func(func([]byte) bool) {}), map[string]int64{}
	for version := range int64(fewer(100)) {
		kills := rng.IntN(100) // percent; in some rounds most keys die
		known := slices.Sorted(maps.Keys(died))
		for range 300 {
			key := randomKey(rng)
			if rng.IntN(100) < kills && len(known) > 0 {
				key = known[rng.IntN(len(known))]
			}
			switch _, present := died[key]; {
			case rng.IntN(100) >= kills:
				tree.insert(key)
				died[key] = alive
			case present && rng.IntN(2) == 0:
				tree.remove(key)
				delete(died, key)
			case present:
				tree.root.markDead(key, version)
				died[key] = version
			}
		}
		tree.root.check(t, "", "", false)
		at, all := rng.Int64N(version+2)-1, slices.Sorted(maps.Keys(died))
		for _, reverse := range []bool{false, true} {
			var shown []string
			visit := func(key []byte) bool { shown = append(shown, string(key)); return true }
			if reverse {
				tree.root.descend("", false, at, visit)
				slices.Reverse(shown)
			} else {
				tree.root.ascend("", at, visit)
			}
			if !slices.IsSorted(shown) || len(slices.Compact(slices.Clone(shown))) != len(shown) {
				t.Fatal("keys are shown twice, or out of order")
			}
			for _, key := range all {
				if _, found := slices.BinarySearch(shown, key); !found && died[key] > at {
					t.Fatalf("at version %d, %q is left out, which died at %d", at, key, died[key])
				}
			}
			if at == version && slices.ContainsFunc(shown, func(key string) bool { return died[key] != alive }) {
				t.Fatal("after the last death, a dead key is shown")
			}
		}
	}
}
