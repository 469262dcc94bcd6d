package table

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"runtime"
	"slices"
	"unsafe"
)

// This file sorts the keys of a table for its index: several goroutines collect
// and sort runs of keys, then merge ranges of the sorted runs into leaves.

const (
	// minRunKeys is how many keys a table must have to make it worthwhile to
	// sort parts of them in parallel.
	minRunKeys = 1 << 14

	// mergeParts is how many ranges of keys a goroutine merges on average. They
	// differ in size, so with several of them all goroutines have as much to
	// do.
	mergeParts = 4
)

// keyRun is keys that are collected to be sorted. They lie in one piece of
// memory, because a slice for each would cost more than most keys.
type keyRun struct {
	bytes []byte
	keys  []runKey
	old   []string // those of the keys that only views have
	skip  int      // how many bytes in front of the prefixes all keys of all runs share
}

// runKey is the place of a key and the first of its bytes after those that all
// keys share. These bytes distinguish most keys without a look at the rest,
// which lies elsewhere in memory.
type runKey struct {
	prefix uint64
	place  uint64 // where the key begins, and in the lower 16 bits its length
}

// collectKeys returns the keys of a table in sorted runs, one for each worker.
func collectKeys(t *Table, workers int) []keyRun {
	runs := make([]keyRun, workers)
	share(workers, shardCount, func(worker, i int) {
		runs[worker].collect(t, &t.shards[i])
		runs[worker].reserve(t.Size() / workers)
	})
	skip := commonPrefix(runs)
	share(workers, workers, func(_, i int) { runs[i].sort(skip) })
	return runs
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

// sort sorts the keys, which all begin with the same skip bytes.
func (r *keyRun) sort(skip int) {
	r.skip = skip
	for i := range r.keys {
		r.keys[i].prefix = prefixOf(r.key(r.keys[i])[skip:])
	}
	slices.SortFunc(r.keys, func(a, b runKey) int {
		if a.prefix == b.prefix {
			return r.compare(a, r, b)
		}
		if a.prefix < b.prefix { // in place: a call would take longer
			return -1
		}
		return 1
	})
}

// prefixOf returns the first bytes of a key as a number. Keys with different
// numbers are in the order of these.
func prefixOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var first [8]byte
	copy(first[:], key)
	return binary.BigEndian.Uint64(first[:])
}

// compare compares a key of this run with one of another run.
func (r *keyRun) compare(a runKey, other *keyRun, b runKey) int {
	if a.prefix != b.prefix {
		return cmp.Compare(a.prefix, b.prefix)
	}
	return bytes.Compare(r.key(a)[r.skip:], other.key(b)[r.skip:])
}

// commonPrefix returns the length of the prefix that all keys of all runs
// share.
func commonPrefix(runs []keyRun) int {
	var first []byte
	known := false
	for i := range runs {
		r := &runs[i]
		if !known && len(r.keys) > 0 {
			first, known = r.key(r.keys[0]), true
		}
		for _, k := range r.keys {
			key, n := r.key(k), 0
			for n < min(len(first), len(key)) && first[n] == key[n] {
				n++
			}
			first = first[:n]
		}
	}
	return len(first)
}

// treeOf returns a tree of the keys of sorted runs. As many goroutines as there
// are runs merge them, each some ranges of keys.
func treeOf(runs []keyRun) *tree {
	parts := splitRuns(runs)
	builders := make([]treeBuilder, len(parts))
	share(len(runs), len(parts), func(_, i int) { mergeInto(&builders[i], parts[i]) })
	var all treeBuilder
	for i := range builders {
		all.join(&builders[i])
	}
	return all.tree()
}

// splitRuns splits sorted runs into parts that have all keys of a range each,
// in order. The bounds are keys of the first run.
func splitRuns(runs []keyRun) (parts [][]keyRun) {
	first := &runs[0]
	n := 1
	if len(runs) > 1 && len(first.keys) >= minRunKeys/len(runs)/2 {
		n = mergeParts * len(runs)
	}
	from := make([]int, len(runs))
	for i := range n {
		part := make([]keyRun, len(runs))
		for j := range runs {
			r := &runs[j]
			to := len(r.keys)
			if i+1 < n {
				bound := first.keys[len(first.keys)*(i+1)/n]
				to, _ = slices.BinarySearchFunc(r.keys, bound, func(k, bound runKey) int {
					return r.compare(k, first, bound)
				})
			}
			part[j] = keyRun{bytes: r.bytes, keys: r.keys[from[j]:to], skip: r.skip}
			from[j] = to
		}
		parts = append(parts, part)
	}
	return parts
}

// mergeInto adds the keys of sorted runs to a tree, in order. There must be
// only a few runs.
func mergeInto(b *treeBuilder, runs []keyRun) {
	next := make([]int, len(runs))
	for i := range runs {
		runs[i].touch(0)
	}
	for {
		least := -1
		for i := range runs {
			r := &runs[i]
			if next[i] < len(r.keys) &&
				(least < 0 || r.compare(r.keys[next[i]], &runs[least], runs[least].keys[next[least]]) < 0) {
				least = i
			}
		}
		if least < 0 {
			return
		}
		r := &runs[least]
		b.add(r.key(r.keys[next[least]]))
		if next[least]++; next[least]%windowKeys == 0 {
			r.touch(next[least])
		}
	}
}

// touch loads into the cache the beginnings of the next window of keys.
func (r *keyRun) touch(from int) {
	keys := r.keys[min(from, len(r.keys)):min(from+windowKeys, len(r.keys))]
	if !canPrefetch {
		sum := byte(0)
		for _, k := range keys {
			if k.place&0xffff > 0 {
				sum += r.bytes[k.place>>16]
			}
		}
		runtime.KeepAlive(sum)
		return
	}
	var lines [windowKeys]uintptr
	start := uintptr(unsafe.Pointer(unsafe.SliceData(r.bytes)))
	for i, k := range keys {
		lines[i] = start + uintptr(k.place>>16)
	}
	prefetch(&lines[0], len(keys), 1)
}
