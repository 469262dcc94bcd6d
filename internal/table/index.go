package table

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// index is the keys in order. The first scan builds it, and from then on the goroutine that applies changes keeps it in step. It has every
// key that the table or an open view has, and may have some more: whoever scans looks up each key in its view.
//
// So a key goes in before it can be seen, while changes are staged; and it is taken out only when it is neither in the table nor in
// any shard's history, by whoever makes it so: a deletion that was published, or the last view that had it. Between Stage and the end of
// Publish nothing is taken out, since a key that is absent may be about to come.
type index struct {
	built chan struct{} // closed when tree is there

	mu     sync.RWMutex // taken before a shard's lock
	tree   *tree        // guarded by mu; nil while it is being built
	staged bool         // guarded by mu: changes are staged and not all published
	added  []string     // guarded by mu: keys to go in once there is a tree
	gone   []string     // guarded by mu: keys that may have to be taken out, later
}

// ordered returns the index, with a tree in it.
func (t *Table) ordered() *index {
	x := &index{built: make(chan struct{})}
	// What is being published now is in the table when the building begins, and what is published later goes in by itself.
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

// minRunKeys is how many keys in a table make it worth to sort parts of it in parallel.
const minRunKeys = 1 << 14

// build makes the tree, while the table changes.
func (x *index) build(t *Table) {
	workers := runtime.GOMAXPROCS(0)
	if t.Len() < minRunKeys {
		workers = 1
	}
	runs := make([]keyRun, workers)
	var next atomic.Int64
	var group sync.WaitGroup
	for i := range runs {
		group.Go(func() {
			for n := next.Add(1) - 1; n < shardCount; n = next.Add(1) - 1 {
				runs[i].collect(&t.shards[n])
			}
			runs[i].sort()
		})
	}
	group.Wait()
	tree := newTree(merged(runs))
	for !x.install(t, tree) {
		x.catchUp(tree)
	}
}

// maxCatchUp is how many keys may be put into the tree while the writer waits for it.
const maxCatchUp = 256

// catchUp puts keys that came meanwhile into the tree, which nobody else has yet.
func (x *index) catchUp(tree *tree) {
	x.mu.Lock()
	added := x.added
	x.added = nil
	x.mu.Unlock()
	for _, key := range added {
		tree.insert(key)
	}
}

// finish makes the tree the index's, unless too many keys are still to go in.
func (x *index) install(t *Table, tree *tree) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.added) > maxCatchUp {
		return false
	}
	for _, key := range x.added {
		tree.insert(key)
	}
	x.added, x.tree = nil, tree
	x.pruneGone(t)
	close(x.built)
	return true
}

// stage has Stage and Publish tell the index of what they do. Keys are those that are not in the table yet.
func (x *index) stage(keys [][]byte) {
	x.mu.Lock()
	x.staged = true
	x.mu.Unlock()
	for chunk := range slices.Chunk(keys, windowKeys) {
		x.add(chunk)
	}
}

// add puts keys in, or aside for later.
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

// published ends what stage began; deleted are keys that may have to be taken out.
func (x *index) published(t *Table, deleted [][]byte) {
	x.mu.Lock()
	x.staged = false
	x.pruneGone(t)
	x.mu.Unlock()
	for chunk := range slices.Chunk(deleted, windowKeys) {
		gone := make([]string, len(chunk))
		for i, key := range chunk {
			gone[i] = unsafeString(key)
		}
		x.prune(t, gone)
	}
}

// forget takes those of keys out that nobody needs.
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

// takeOut is what forget had to put off.
func (x *index) pruneGone(t *Table) {
	if x.staged || x.tree == nil {
		return
	}
	for _, key := range x.gone {
		x.pruneKey(t, key)
	}
	x.gone = nil
}

func (x *index) pruneKey(t *Table, key string) {
	hash := t.hash(key)
	s := t.shardOf(hash)
	s.mu.RLock()
	slot, _ := s.find(hash, key)
	needed := slot >= 0 || s.history[key] != nil
	s.mu.RUnlock()
	if !needed {
		x.tree.remove(key)
	}
}

// anyWithin reports whether one of the keys within bounds, those that only open views have among them, is of some kind.
func (x *index) anyWithin(b Bounds, is func(key string) bool) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := false
	x.tree.root.ascend(b.Low, func(key []byte) bool {
		if b.Bounded && unsafeString(key) >= b.High {
			return false
		}
		found = is(unsafeString(key))
		return !found
	})
	return found
}

// keyRun is keys that are collected to be sorted. They are pointers into one piece of memory, since as many slices would cost more than
// most keys.
type keyRun struct {
	bytes []byte
	keys  []runKey
}

// runKey is where a key lies, and the first of its bytes in which keys of the run differ: most are told apart by these, without a look at the rest,
// which is somewhere else in memory.
type runKey struct {
	prefix uint64
	at     int
	len    int
}

// collect takes in the keys of a shard, and those that only open views have.
func (r *keyRun) collect(s *shard) {
	for from := uint64(0); from < 1<<tagBits; {
		s.mu.RLock()
		from = s.walk(from, func(rec record) { r.add(rec.key()) })
		s.mu.RUnlock()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key := range s.history {
		r.add([]byte(key))
	}
}

func (r *keyRun) add(key []byte) {
	r.keys = append(r.keys, runKey{at: len(r.bytes), len: len(key)})
	r.bytes = append(r.bytes, key...)
}

func (r *keyRun) key(k runKey) []byte { return r.bytes[k.at:][:k.len] }

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

// shared returns how many bytes all keys of the run begin with.
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

// merged iterates over the keys of sorted runs, of which there are few, in order.
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
