package table

import (
	"bytes"
	"iter"
)

// This file hands the index of keys on to the next session: a snapshot has its
// pairs in the order of keys if there is an index, and who loads pairs in this
// order builds the index on the way.

// minSortedKeys is how many keys a table must have to get an index from the
// order in which they were loaded. Fewer may be in order by chance, and would
// be sorted in no time.
const minSortedKeys = 1 << 10

// SortedKeys is the keys of a part of what is loaded, as long as they come in
// order. The zero value has none. It is for one goroutine at a time.
type SortedKeys struct {
	builder  treeBuilder
	unsorted bool // the keys are not in order
}

// Add adds a key, which it copies.
func (s *SortedKeys) Add(key []byte) {
	switch {
	case s.unsorted:
	case s.builder.len > 0 && bytes.Compare(key, s.builder.last) <= 0:
		*s = SortedKeys{unsorted: true}
	default:
		s.builder.add(key)
	}
}

// UseSorted gives the table its index if parts have all of its keys in order.
// Nobody else may use the table yet.
func (t *Table) UseSorted(parts []SortedKeys) {
	if t.Size() < minSortedKeys {
		return
	}
	var all treeBuilder
	for i := range parts {
		p := &parts[i]
		if p.unsorted || all.len > 0 && p.builder.len > 0 && bytes.Compare(p.builder.first(), all.last) <= 0 {
			return
		}
		all.join(&p.builder)
	}
	if all.len != t.Size() {
		return
	}
	x := &index{built: make(chan struct{}), tree: all.tree()}
	close(x.built)
	t.index.Store(x)
}

// Order builds the index of keys, if there is none. The first scan does so
// otherwise.
func (t *Table) Order() { t.ordered() }

// HasIndex reports whether the table has its index.
func (t *Table) HasIndex() bool { return t.builtIndex() != nil }

// builtIndex returns the index, nil if there is none or it is being built.
func (t *Table) builtIndex() *index {
	x := t.index.Load()
	if x == nil {
		return nil
	}
	select {
	case <-x.built:
		return x
	default:
		return nil
	}
}

// load brings the index up to date after Load has applied ops. If ops are many
// in proportion to the table, the table loses its index: sorting all keys is
// faster then, if a scan needs them at all.
func (x *index) load(t *Table, ops []Op) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.loaded += len(ops); x.loaded > t.Size()/4 {
		t.index.Store(nil)
		return
	}
	for i := range ops {
		switch key := unsafeString(ops[i].Key); {
		case ops[i].Delete:
			x.pruneKey(t, key)
		case !ops[i].Touch:
			x.tree.insert(key)
		}
	}
}

// pairs is [Table.All] in the order of keys. It takes some keys at a time from
// the index, because views that close change that meanwhile.
func (x *index) pairs(t *Table) iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		var b Bounds
		var keys keyList
		for more := true; more; {
			more = x.next(&b, t.Version(), false, maxScanKeys, &keys)
			for first := 0; first < keys.len(); first += windowKeys {
				if !t.showWindow(&keys, first, yield) {
					return
				}
			}
		}
	}
}

// showWindow shows the pairs of a window of keys, whose cache misses overlap.
// It returns false if the loop is left.
func (t *Table) showWindow(keys *keyList, first int, yield func(Pair) bool) bool {
	var hashes, slots [windowKeys]uint64
	n := min(keys.len()-first, windowKeys)
	for i := range n {
		hashes[i] = t.hash(unsafeString(keys.at(first + i)))
	}
	t.locate(&slots, hashes[:n])
	for i := range n {
		r := t.shardOf(hashes[i]).findAt(slots[i], hashes[i], unsafeString(keys.at(first+i)))
		if r != nil && !yield(r.pair()) {
			return false
		}
	}
	return true
}

// Saved iterates over all pairs as a snapshot should have them, those that are
// due too: as All does or, if the table has its index, as Scan does.
func (v *View) Saved() iter.Seq[Pair] {
	if v.table.builtIndex() == nil {
		return v.All()
	}
	return func(yield func(Pair) bool) {
		v.scan(Bounds{}, Loop{}, true, func(key string, value []byte, deadline int64) bool {
			return yield(Pair{Key: unsafeBytes(key), Value: value, Deadline: deadline})
		})
	}
}
