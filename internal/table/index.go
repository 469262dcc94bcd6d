package table

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// index is the set of keys in order. The first scan builds it. From then on the
// goroutine that applies changes keeps it up to date. The index has every key
// that the table or an open view has, and may have more. So a scan must look up
// each key in its view.
//
// A key is inserted before it can be seen, while changes are staged. A key is
// removed only when it is neither in the table nor in any shard's history,
// either after the publication of its deletion or when the last view that had
// it closes. Until then it is marked dead, so that scans of newer views leave
// it out. Between Stage and the end of Publish no key is removed or marked,
// because an absent key may be about to be added. Such keys are put off: later
// groups remove some of them each, and the next view to close all of them.
type index struct {
	built chan struct{} // closed when tree is set

	mu     sync.RWMutex // taken before a shard's lock
	tree   *tree        // guarded by mu; nil while it is being built
	staged bool         // guarded by mu: changes are staged and not all published
	added  []string     // guarded by mu: keys to insert once there is a tree
	gone   []string     // guarded by mu: keys that prune has put off; some may be needed again
	loaded int          // guarded by mu: operations that were loaded since there is a tree
}

// ordered returns the index after its tree is built.
func (t *Table) ordered() *index {
	x := &index{built: make(chan struct{})}
	// A commit that is being published now is in the table before the building
	// begins. Later commits insert their keys themselves.
	t.applying.RLock()
	first := t.index.CompareAndSwap(nil, x)
	if !first {
		x = t.index.Load()
	}
	t.applying.RUnlock()
	if first {
		x.build(t)
	}
	<-x.built
	return x
}

// build builds the tree while the table changes.
func (x *index) build(t *Table) {
	workers := runtime.GOMAXPROCS(0)
	if t.Size() < minRunKeys {
		workers = 1
	}
	runs := collectKeys(t, workers)
	tree := treeOf(runs)
	for i := range runs {
		for _, key := range runs[i].old {
			if !t.has(key) { // if it is added meanwhile, catchUp or install unmarks it
				tree.root.markDead(key, t.Version())
			}
		}
	}
	for !x.install(t, tree) {
		x.catchUp(tree)
	}
}

// maxCatchUp is how many keys may be inserted into the tree while the writer
// waits.
const maxCatchUp = 256

// catchUp inserts keys that were added meanwhile into the tree, which no other
// goroutine can reach yet.
func (x *index) catchUp(tree *tree) {
	x.mu.Lock()
	added := x.added
	x.added = nil
	x.mu.Unlock()
	for _, key := range added {
		tree.insert(key)
	}
}

// install makes tree the index's tree, unless too many keys must still be
// inserted.
func (x *index) install(t *Table, tree *tree) bool {
	x.mu.Lock()
	if len(x.added) > maxCatchUp {
		x.mu.Unlock()
		return false
	}
	for _, key := range x.added {
		tree.insert(key)
	}
	x.added, x.tree = nil, tree
	x.mu.Unlock()
	x.pruneGone(t, math.MaxInt)
	close(x.built)
	return true
}

// stage announces to the index that changes are staged. keys are those of their
// keys that are not in the table yet.
func (x *index) stage(keys [][]byte) {
	x.mu.Lock()
	x.staged = true
	x.mu.Unlock()
	for chunk := range slices.Chunk(keys, windowKeys) {
		x.add(chunk)
	}
}

// add inserts keys, or notes them until there is a tree.
func (x *index) add(keys [][]byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, key := range keys {
		if x.tree == nil {
			x.added = append(x.added, string(key))
		} else {
			x.tree.insert(unsafeString(key))
		}
	}
}

// published ends what stage began. deleted are the keys that may have to be
// removed.
func (x *index) published(t *Table, deleted [][]byte) {
	x.mu.Lock()
	x.staged = false
	x.mu.Unlock()
	x.pruneGone(t, maxGone)
	for chunk := range slices.Chunk(deleted, windowKeys) {
		gone := make([]string, len(chunk))
		for i, key := range chunk {
			gone[i] = unsafeString(key)
		}
		x.prune(t, gone)
	}
}

// maxGone bounds how many keys that were put off a group is burdened with. The
// writer works a few hundred microseconds on them.
const maxGone = 512

// prune removes the keys that neither the table nor a view needs, and marks
// those that only views need. If that is not possible now, it puts them off.
func (x *index) prune(t *Table, keys []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.staged || x.tree == nil {
		for _, key := range keys {
			x.gone = append(x.gone, strings.Clone(key))
		}
		return
	}
	for _, key := range keys {
		x.pruneKey(t, key)
	}
}

// pruneGone is prune for about n of the keys that were put off, some at a time.
func (x *index) pruneGone(t *Table, n int) {
	for ; n > 0; n -= windowKeys {
		if !x.pruneSomeGone(t) {
			return
		}
	}
}

// pruneSomeGone reports whether more keys can be pruned now.
func (x *index) pruneSomeGone(t *Table) (more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.staged || x.tree == nil {
		return false
	}
	rest := max(len(x.gone)-windowKeys, 0)
	for _, key := range x.gone[rest:] {
		x.pruneKey(t, key)
	}
	if x.gone = x.gone[:rest]; rest == 0 {
		x.gone = nil
	}
	return rest > 0
}

func (x *index) pruneKey(t *Table, key string) {
	hash := t.hash(key)
	s := t.shardOf(hash)
	s.mu.RLock()
	slot, _ := s.find(hash, key)
	_, newest := s.history.find(&t.history, hash, key)
	s.mu.RUnlock()
	switch {
	case slot >= 0:
	case newest != 0:
		x.tree.root.markDead(key, t.Version())
	default:
		x.tree.remove(key)
	}
}

// anyWithin reports whether the function is returns true for a key within
// bounds. The keys include those that only open views have, but not those that
// were dead at a version and still are.
func (x *index) anyWithin(b Bounds, version int64, is func(key string) bool) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := false
	x.tree.root.ascend(b.Low, version, func(key []byte) bool {
		if b.Bounded && unsafeString(key) >= b.High {
			return false
		}
		found = is(unsafeString(key))
		return !found
	})
	return found
}
