package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"kvstore/internal/testseed"
)

// A tree of runs has the keys of all runs in order, however many each run has,
// and whatever the keys have in common.
func TestTreeOfRuns(t *testing.T) {
	for name, key := range map[string]func(rng *rand.Rand) string{
		"numbers":         func(rng *rand.Rand) string { return fmt.Sprintf("key %012d", rng.IntN(1e9)) },
		"alike":           func(rng *rand.Rand) string { return fmt.Sprintf("%020d", rng.IntN(1e5)) },
		"end of zeros":    func(rng *rand.Rand) string { return "a" + strings.Repeat("\x00", rng.IntN(300)) },
		"any bytes":       func(rng *rand.Rand) string { return string(binaryKey(rng, rng.IntN(12))) },
		"long, and empty": func(rng *rand.Rand) string { return strings.Repeat("x", rng.IntN(2)*rng.IntN(1<<16)) },
	} {
		t.Run(name, func(t *testing.T) {
			rng := testseed.Rand(t)
			for _, n := range []int{0, 1, 2, 300, minRunKeys} {
				if name == "long, and empty" {
					n = min(n, 300)
				}
				want := map[string]bool{}
				runs := make([]keyRun, 1+rng.IntN(4))
				for range n {
					k := key(rng)
					if i := rng.IntN(len(runs)); !want[k] {
						runs[i*rng.IntN(2)].add([]byte(k)) // the first run has most
						want[k] = true
					}
				}
				skip := commonPrefix(runs)
				for k := range want {
					if first := runs[0].keys; len(first) > 0 && k[:skip] != string(runs[0].key(first[0])[:skip]) {
						t.Fatalf("%q does not begin as the others do, %d bytes", k, skip)
					}
				}
				for i := range runs {
					runs[i].sort(skip)
				}
				tree, keys := treeOf(runs), []string{}
				for k := range want {
					keys = append(keys, k)
				}
				slices.Sort(keys)
				if got := tree.root.check(t, "", "", false); !slices.Equal(got, keys) || tree.len != len(keys) {
					t.Fatalf("%d keys in %d runs: the tree has %d, or in another order", len(keys), len(runs), len(got))
				}
			}
		})
	}
}

func binaryKey(rng *rand.Rand, n int) []byte {
	key := make([]byte, n)
	for i := range key {
		key[i] = byte(rng.IntN(4)) * 85
	}
	return key
}

// Ranges of keys have all keys once, in order, and none is far larger than the
// others.
func TestSplitRuns(t *testing.T) {
	rng := testseed.Rand(t)
	runs := make([]keyRun, 2)
	for i := range 4 * minRunKeys {
		runs[rng.IntN(2)].add(fmt.Appendf(nil, "%08x", uint32(i)*0x9e3779b1))
	}
	skip := commonPrefix(runs)
	for i := range runs {
		runs[i].sort(skip)
	}
	parts, last, all := splitRuns(runs), "", 0
	if len(parts) != mergeParts*len(runs) {
		t.Fatalf("%d parts", len(parts))
	}
	for _, part := range parts {
		n, highest := 0, last
		for i := range part {
			for _, k := range part[i].keys {
				key := string(part[i].key(k))
				if n++; key <= last {
					t.Fatalf("%q is not above %q, of the part before", key, last)
				}
				highest = max(highest, key)
			}
		}
		if last, all = highest, all+n; n > 4*minRunKeys/len(parts)*5/4 {
			t.Errorf("a part has %d keys", n)
		}
	}
	if all != 4*minRunKeys {
		t.Errorf("%d keys in all", all)
	}
}
