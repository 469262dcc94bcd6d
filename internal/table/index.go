package table

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// minRunKeys is how many keys a table must have to make it worthwhile to sort
// parts of them in parallel.
const minRunKeys = 1 << 14

// build builds the tree while the table changes.
func (x *index) build(t *Table) {
	workers := runtime.GOMAXPROCS(0)
	if t.Size() < minRunKeys {
		workers = 1
	}
	runs := make([]keyRun, workers)
	var next atomic.Int64
	var group sync.WaitGroup
	for i := range runs {
		group.Go(func() {
			for n := next.Add(1) - 1; n < shardCount; n = next.Add(1) - 1 {
				runs[i].collect(t, &t.shards[n])
				runs[i].reserve(t.Size() / workers)
			}
			runs[i].sort()
		})
	}
	group.Wait()
	tree := newTree(merged(runs))
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

// keyRun is keys that are collected to be sorted. They lie in one piece of
// memory, because a slice for each would cost more than most keys.
type keyRun struct {
	bytes []byte
	keys  []runKey
	old   []string // those of the keys that only views have
}

// runKey is the place of a key and the first of its bytes after the prefix that
// all keys of the run share. These bytes distinguish most keys without a look
// at the rest, which lies elsewhere in memory.
type runKey struct {
	prefix uint64
	place  uint64 // where the key begins, and in the lower 16 bits its length
}

// collect adds the keys of a shard, including those that only open views have.
func (r *keyRun) collect(t *Table, s *shard) {
	for from := uint64(0); from < 1<<tagBits; {
		s.mu.RLock()
		to := t.windowEnd(s, from)
		s.walk(from, to, func(rec record) { r.add(rec.key()) })
		t.walkDeleted(s, from, to, func(_ uint64, key []byte) {
			r.add(key)
			r.old = append(r.old, string(key))
		})
		s.mu.RUnlock()
		from = to
	}
}

// reserve makes room for a number of keys in all, as long as those that are
// there, and for some more. Without it, most of the time would go into copying
// keys to larger memory. A few keys do not tell how long the others are.
func (r *keyRun) reserve(keys int) {
	keys += keys / 16
	if n := len(r.keys); n >= windowKeys && n < keys && cap(r.keys) < keys {
		r.keys = slices.Grow(r.keys, keys-n)
		r.bytes = slices.Grow(r.bytes, len(r.bytes)/n*(keys-n))
	}
}

func (r *keyRun) add(key []byte) {
	r.keys = append(r.keys, runKey{place: uint64(len(r.bytes))<<16 | uint64(len(key))})
	r.bytes = append(r.bytes, key...)
}

func (r *keyRun) key(k runKey) []byte { return r.bytes[k.place>>16:][:k.place&0xffff] }

func (r *keyRun) sort() {
	skip := r.shared()
	for i := range r.keys {
		var first [8]byte
		copy(first[:], r.key(r.keys[i])[skip:])
		r.keys[i].prefix = binary.BigEndian.Uint64(first[:])
	}
	slices.SortFunc(r.keys, func(a, b runKey) int {
		if c := cmp.Compare(a.prefix, b.prefix); c != 0 {
			return c
		}
		return bytes.Compare(r.key(a)[skip:], r.key(b)[skip:])
	})
}

// shared returns the length of the prefix that all keys of the run share.
func (r *keyRun) shared() int {
	if len(r.keys) == 0 {
		return 0
	}
	first := r.key(r.keys[0])
	for _, k := range r.keys {
		key := r.key(k)
		n := 0
		for n < min(len(first), len(key)) && first[n] == key[n] {
			n++
		}
		first = first[:n]
	}
	return len(first)
}

// merged iterates over the keys of sorted runs, in order. There must be only a
// few runs.
func merged(runs []keyRun) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		next := make([]int, len(runs))
		for {
			var least []byte
			from := -1
			for i := range runs {
				if next[i] == len(runs[i].keys) {
					continue
				}
				if key := runs[i].key(runs[i].keys[next[i]]); from < 0 || bytes.Compare(key, least) < 0 {
					least, from = key, i
				}
			}
			if from < 0 || !yield(least) {
				return
			}
			next[from]++
		}
	}
}
