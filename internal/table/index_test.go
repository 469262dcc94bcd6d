package table

import (
	"encoding/binary"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"kvstore/internal/testseed"
)

// has reports whether key is in the tree.
func (t *tree) has(key string) (found bool) {
	t.root.ascend(key, 0, func(k []byte) bool {
		found = string(k) == key
		return false
	})
	return found
}

// keysOf returns the keys that an iterator yields.
func keysOf(pairs iter.Seq2[string, []byte]) (keys []string) {
	for key := range pairs {
		keys = append(keys, key)
	}
	return keys
}

// Keys that are added and deleted while the index is built, a few of them and
// many, are in the complete index or not, as they should be. Scans wait until
// it is complete.
func TestIndexCatchesUp(t *testing.T) {
	for _, n := range []int{1, maxCatchUp, maxCatchUp + 1, 5 * maxCatchUp} {
		synctest.Test(t, func(t *testing.T) {
			tab := New(0)
			defer tab.Release()
			x := &index{built: make(chan struct{})}
			tab.index.Store(x)
			key, version := make([]byte, 4), int64(0)
			apply := func(i int, del bool) {
				version++
				binary.BigEndian.PutUint32(key, uint32(i)) // the memory of key is reused
				tab.Apply([]Commit{{Ops: []Op{{Key: key, Delete: del}}, Version: version}})
			}
			var want []string
			for i := range n {
				apply(i, false)
				if i%3 == 1 {
					apply(i, true)
				} else {
					want = append(want, string(key))
				}
			}
			scanned := make(chan []string, 1)
			go func() {
				v := tab.View()
				defer v.Close()
				scanned <- keysOf(v.Scan(Bounds{}, Loop{}))
			}()
			synctest.Wait()
			if len(scanned) > 0 {
				t.Fatal("a scan did not wait")
			}
			tree := newTree(func(func([]byte) bool) {}) // the table was empty when the building began
			done := x.install(tab, tree)
			if done != (n <= maxCatchUp) {
				t.Fatalf("the writer waited for %d keys: %v", n, done)
			}
			for !done {
				x.catchUp(tree)
				done = x.install(tab, tree)
			}
			if got := <-scanned; !slices.Equal(got, want) {
				t.Fatalf("a scan shows %d keys of %d", len(got), len(want))
			}
			if got := tree.root.check(t, "", "", false); !slices.Equal(got, want) {
				t.Fatalf("the index has %d keys, want %d", len(got), len(want))
			}
		})
	}
}

// The first scan runs between Stage and Publish of a group that is published in
// several slices. The index gets the keys that were staged before it existed.
func TestIndexOfStagedKeys(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	tab.Apply([]Commit{{Ops: []Op{{Key: []byte("a")}, {Key: []byte("b")}}, Version: 1}})
	old := tab.View()
	group, want := []Commit{{Ops: []Op{{Key: []byte("a"), Delete: true}}, Version: 2}}, []string{"b"}
	for i := range 3 * sliceOps {
		key := fmt.Sprintf("key %06d", i)
		want = append(want, key)
		group = append(group, Commit{Ops: []Op{{Key: []byte(key)}}, Version: int64(3 + i)})
	}
	tab.Begin(group)
	tab.Stage(func() {})
	if got := keysOf(old.Scan(Bounds{}, Loop{})); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("%q", got)
	}
	tab.Publish()
	old.Close()
	v := tab.View()
	defer v.Close()
	if got := keysOf(v.Scan(Bounds{}, Loop{})); !slices.Equal(got, want) {
		t.Fatalf("%d keys of %d", len(got), len(want))
	}
	if got := tab.index.Load().tree.root.check(t, "", "", false); !slices.Equal(got, want) {
		t.Fatalf("the index has %d keys, want %d", len(got), len(want))
	}
}

// The last view of deleted keys is closed between Stage and Publish. The key
// that is about to be added stays in the index, and the other one is removed.
func TestIndexKeepsStagedKeys(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	a, b := Op{Key: []byte("a")}, Op{Key: []byte("b")}
	tab.Apply([]Commit{{Ops: []Op{a, b}, Version: 1}})
	v := tab.View()
	if got := keysOf(v.Scan(Bounds{}, Loop{})); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("%q", got)
	}
	tab.Apply([]Commit{{Ops: []Op{{Key: a.Key, Delete: true}, {Key: b.Key, Delete: true}}, Version: 2}})
	group := []Commit{{Ops: []Op{a}, Version: 3}}
	tab.Begin(group)
	tab.Stage(func() {})
	v.Close()
	tab.Publish()
	if got := tab.index.Load().tree.root.check(t, "", "", false); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("the index has %q", got)
	}
}

// Keys that only a view has are put off when the view closes while changes are
// staged. However many these are, nothing of them stays in the index when the
// next view closes.
func TestIndexDropsWhatWasPutOff(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	var sets, deletes Commit
	for i := range 3*maxGone + 1 {
		key := fmt.Appendf(nil, "key %d", i)
		sets.Ops = append(sets.Ops, Op{Key: key})
		deletes.Ops = append(deletes.Ops, Op{Key: key, Delete: true})
	}
	apply := func(c Commit, version int64) {
		c.Version = version
		tab.Apply([]Commit{c})
	}
	apply(sets, 1)
	older := tab.View()
	tab.ordered()
	apply(deletes, 2)
	newer := tab.View()

	tab.Begin([]Commit{{Ops: []Op{{Key: []byte("other")}}, Version: 3}})
	tab.Stage(func() {})
	older.Close()
	tab.Publish()
	newer.Close()
	if got := tab.index.Load().tree.root.check(t, "", "", false); !slices.Equal(got, []string{"other"}) {
		t.Errorf("the index has %d keys, want only the one that is left", len(got))
	}
}

// An index is built in parallel from many keys, some of which are only in a
// view, and some in a view and in the table.
func TestIndexBeginsWithOldStates(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	rng := testseed.Rand(t)
	for _, keys := range []int{64, minRunKeys + minRunKeys/2} {
		tab := New(0)
		var set, change []Op
		var before, after []string
		for _, i := range rng.Perm(keys) {
			key := fmt.Sprintf("%c of several words %06d", 'a'+i%8/4, i) // many keys, but not all, have a common prefix
			set = append(set, Op{Key: []byte(key)})
			before = append(before, key)
			if i%4 < 2 {
				change = append(change, Op{Key: []byte(key), Delete: i%4 == 0})
			}
			if i%4 != 0 {
				after = append(after, key)
			}
		}
		slices.Sort(before)
		slices.Sort(after)
		tab.Apply([]Commit{{Ops: set, Version: 1}})
		v := tab.View()
		tab.Apply([]Commit{{Ops: change, Version: 2}})
		now := tab.View()
		for range v.Scan(Bounds{}, Loop{}) {
			break // the index is built now
		}
		if got := tab.index.Load().tree.root.check(t, "", "", false); !slices.Equal(got, before) {
			t.Fatalf("the index has %d keys, want %d", len(got), len(before))
		}
		if got := keysOf(v.Scan(Bounds{}, Loop{})); !slices.Equal(got, before) {
			t.Fatalf("%d keys of %d", len(got), len(before))
		}
		if got := keysOf(now.Scan(Bounds{}, Loop{})); !slices.Equal(got, after) {
			t.Fatalf("%d keys of %d", len(got), len(after))
		}
		v.Close()
		if got := tab.index.Load().tree.root.check(t, "", "", false); !slices.Equal(got, after) {
			t.Fatalf("the index has %d keys, want %d", len(got), len(after))
		}
		now.Close()
		tab.Release()
	}
}

// Each of these keys is the next possible key after the one before. A scan that
// continues at a wrong key yields a key twice or leaves one out. The same loop
// can run again.
func TestScanOfNeighbours(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	var want []string
	for i := range 3 * maxScanKeys {
		want = append(want, strings.Repeat("\x00", i))
		tab.Apply([]Commit{{Ops: []Op{{Key: []byte(want[i])}}, Version: int64(i + 1)}})
	}
	v := tab.View()
	defer v.Close()
	for _, reverse := range []bool{false, true} {
		all := v.Scan(Bounds{}, Loop{Reverse: reverse})
		for range 2 {
			if got := keysOf(all); !slices.Equal(got, want) {
				t.Fatalf("reverse %v: %d keys of %d", reverse, len(got), len(want))
			}
		}
		slices.Reverse(want)
	}
}

// After most keys are removed, a tree is as small as one that never had more.
func TestTreeShrinks(t *testing.T) {
	tree := newTree(func(func([]byte) bool) {})
	const keys, each = 20_000, 100
	for i := range keys {
		tree.insert(fmt.Sprintf("%08d", i))
	}
	for _, i := range testseed.Rand(t).Perm(keys) {
		if i%each != 0 {
			tree.remove(fmt.Sprintf("%08d", i))
		}
	}
	if n := len(tree.root.check(t, "", "", false)); n != keys/each || tree.len != n {
		t.Fatalf("%d keys, counted %d", n, tree.len)
	}
	if n := tree.root.nodes(); n > 12 {
		t.Fatalf("%d nodes for %d keys", n, tree.len)
	}
}

// poison makes the nodes that are dead at a version panic when they are
// entered. It returns the number of keys below them.
func (n *node) poison(version int64) (keys int) {
	if !n.isDead(version) {
		for _, child := range n.children {
			keys += child.poison(version)
		}
		return keys
	}
	keys = n.countKeys()
	n.children, n.keys = nil, keyList{ends: []uint32{deadKey - 1}}
	return keys
}

func (n *node) countKeys() (keys int) {
	for _, child := range n.children {
		keys += child.countKeys()
	}
	if n.children == nil {
		keys = n.keys.len()
	}
	return keys
}

// What a scan, or the validation of one, costs does not depend on how many keys
// in front of its first one are kept for older views alone: whole nodes of them
// are passed by, in either direction, whether the keys were deleted before or
// after the index was built. The older view still has all of them.
func TestScansPassDeadKeysBy(t *testing.T) {
	const keys = 20_000
	for _, early := range []bool{false, true} {
		for _, reverse := range []bool{false, true} {
			tab := New(0)
			name := func(i int) []byte { return fmt.Appendf(nil, "%08d", i) }
			commit := func(ops ...Op) { tab.Apply([]Commit{{Ops: ops, Version: tab.Version() + 1}}) }
			var all []Op
			for i := range keys {
				all = append(all, Op{Key: name(i)})
			}
			commit(all...)
			old := tab.View()
			if early {
				tab.ordered()
			}
			left := keys / 2 // the only key that is left
			for _, i := range testseed.Rand(t).Perm(keys) {
				if i != left {
					commit(Op{Key: name(i), Delete: true})
				}
			}
			v := tab.View()
			before := keysOf(old.Scan(Bounds{}, Loop{Reverse: reverse}))
			now := keysOf(v.Scan(Bounds{}, Loop{Reverse: reverse}))
			if len(before) != keys || !slices.Equal(now, []string{string(name(left))}) {
				t.Fatalf("early %v, reverse %v: %d keys in the old view, %d now", early, reverse, len(before), len(now))
			}
			commit(Op{Key: []byte("later")}) // so that something is to be validated
			root := tab.index.Load().tree.root
			if n := root.poison(v.Version()); n < keys-2*maxNodeKeys {
				t.Errorf("early %v, reverse %v: a scan passes %d keys by", early, reverse, n)
			}
			for range v.Scan(Bounds{}, Loop{Reverse: reverse}) {
				break
			}
			if !v.Unchanged(nil, []Bounds{{High: "a", Bounded: true}}) {
				t.Error("a key that died before the view counts as changed")
			}
			tab.index.Store(nil) // it is poisoned
			v.Close()
			old.Close()
			tab.Release()
		}
	}
}

// A deleted key that is added again is shown again, though all keys around it
// are dead.
func TestDeadKeysThatComeBack(t *testing.T) {
	const keys = 2000
	tab := New(0)
	defer tab.Release()
	name := func(i int) []byte { return fmt.Appendf(nil, "%08d", i) }
	commit := func(ops ...Op) { tab.Apply([]Commit{{Ops: ops, Version: tab.Version() + 1}}) }
	for i := range keys {
		commit(Op{Key: name(i)})
	}
	old := tab.View()
	defer old.Close()
	tab.ordered()
	for i := range keys {
		commit(Op{Key: name(i), Delete: true})
	}
	for _, i := range []int{0, 777, keys - 1} {
		commit(Op{Key: name(i)})
		v := tab.View()
		if got := keysOf(v.Scan(Bounds{}, Loop{Reverse: i%2 == 0})); !slices.Equal(got, []string{string(name(i))}) {
			t.Fatalf("%q, want %q", got, name(i))
		}
		commit(Op{Key: name(i), Delete: true})
		if got := keysOf(v.Scan(Bounds{}, Loop{})); !slices.Equal(got, []string{string(name(i))}) {
			t.Fatalf("%q after it was deleted again, want %q", got, name(i))
		}
		v.Close()
	}
	if got := keysOf(old.Scan(Bounds{}, Loop{})); len(got) != keys {
		t.Fatalf("the old view has %d keys of %d", len(got), keys)
	}
}
