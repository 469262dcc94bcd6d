package table

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

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
	for _, size := range []int{0, 1, 10, fewer(5000)} {
		seed := rand.Uint64()
		t.Logf("size %d, seed %d", size, seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		model := map[string]bool{}
		var first []string
		for range size {
			first = append(first, randomKey(rng))
			model[first[len(first)-1]] = true
		}
		slices.Sort(first)
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
		tree.root.ascend(from, take(&up))
		tree.root.descend(from, true, take(&down))
		tree.root.descend("", false, take(&all))
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
