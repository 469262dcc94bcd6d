package table

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// This file is how old states are kept for those who still look at them. While a view is open, a change moves the state that it
// ends to the side, the absence of a key too; who keeps nothing pays one atomic load a change.

// View is the table as it was after one commit. Its methods may be called from any number of goroutines, also while changes are
// applied. Once it is closed, it is empty.
type View struct {
	table   *Table // immutable
	version int64  // immutable
	length  int    // immutable

	mu     sync.RWMutex // held for reading while looking: what is looked at must not be forgotten meanwhile
	closed bool         // guarded by mu
}

// past is a state that a key was in.
type past struct {
	until   int64 // the version of the commit that ended it
	present bool
	value   []byte // a copy, or a large record's slab; nil for an absent key
	slab    []byte // what value lies in, to be given back with it; nil if value is a copy
}

// views is what a table knows of those who look at old states.
type views struct {
	newest atomic.Int64 // version of the newest open view, -1 if there is none
	bytes  atomic.Int64 // held for them

	mu       sync.Mutex
	open     []int64 // guarded by mu: versions, rising, one for each view
	released bool    // guarded by mu: the table is to give back its memory when the last view closes
}

// View opens a view of the state after the last commit; nil if the table was released. It waits for no more than a few commits
// that are being published.
func (t *Table) View() *View {
	t.applying.RLock()
	defer t.applying.RUnlock()
	v := &View{table: t, version: t.Version(), length: t.Len()}
	t.views.mu.Lock()
	defer t.views.mu.Unlock()
	if t.views.released {
		return nil
	}
	at, _ := slices.BinarySearch(t.views.open, v.version)
	t.views.open = slices.Insert(t.views.open, at, v.version)
	t.views.newest.Store(t.views.open[len(t.views.open)-1])
	return v
}

// Views returns how many views are open, and how many bytes of old states are held for them.
func (t *Table) Views() (open int, bytes int64) {
	t.views.mu.Lock()
	defer t.views.mu.Unlock()
	return len(t.views.open), t.views.bytes.Load()
}

// Version returns the version of the commit that the view shows the state after.
func (v *View) Version() int64 { return v.version }

// Len returns the number of keys.
func (v *View) Len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return 0
	}
	return v.length
}

// Closed reports whether the view was closed.
func (v *View) Closed() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.closed
}

// Close gives up the view and frees what no other view needs; it reports false if the view was closed already. Loops over it end.
func (v *View) Close() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.closed = true
	if v.table.forgetView(v.version) {
		v.table.release() // outside of views.mu: a View that is being opened holds the lock that release wants
	}
	return true
}

// forgetView drops what is kept for one view with this version, and reports whether it was the last one of a released table.
func (t *Table) forgetView(version int64) (last bool) {
	t.views.mu.Lock()
	defer t.views.mu.Unlock()
	at, _ := slices.BinarySearch(t.views.open, version)
	t.views.open = slices.Delete(t.views.open, at, at+1)
	newest := int64(-1)
	if n := len(t.views.open); n > 0 {
		newest = t.views.open[n-1]
	}
	// Before the shards are visited: who keeps a state under a shard's lock either sees this, or is visited after it.
	t.views.newest.Store(newest)
	for i := range t.shards {
		t.forget(&t.shards[i])
	}
	return newest < 0 && t.views.released
}

// forget drops a shard's old states that no open view shows.
func (t *Table) forget(s *shard) {
	var garbage [][]byte
	s.mu.Lock()
	for key, states := range s.history {
		kept := states[:0]
		since := int64(0) // when the state began
		for _, p := range states {
			if at, _ := slices.BinarySearch(t.views.open, since); at < len(t.views.open) && t.views.open[at] < p.until {
				kept = append(kept, p)
			} else {
				t.views.bytes.Add(-p.bytes(key))
				if p.slab != nil {
					garbage = append(garbage, p.slab)
				}
			}
			since = p.until
		}
		clear(states[len(kept):])
		if len(kept) == 0 {
			delete(s.history, key)
		} else {
			s.history[key] = kept
		}
	}
	if len(s.history) == 0 {
		s.history = nil
	}
	s.mu.Unlock()
	for _, mem := range garbage {
		t.arena.free(mem)
	}
}

func (p *past) bytes(key string) int64 { return int64(len(key) + len(p.value)) }

// keep moves a key's state to the side before a commit with this version ends it. Under the shard's lock; r is nil if the key is
// absent. A large record keeps the slab that it has for itself, and slab is not nil: it is not to be freed with the record.
func (t *Table) keep(s *shard, key string, r record, version int64) (slab []byte) {
	states := s.history[key]
	if n := len(states); n > 0 && states[n-1].until > t.views.newest.Load() {
		return nil // it began after the newest view was opened
	}
	p := past{until: version, present: r != nil}
	switch {
	case r == nil:
	case r.size() > maxPackedBytes:
		p.value, p.slab = r.value(), r[:cap(r)]
	default:
		p.value = slices.Clone(r.value())
	}
	if s.history == nil {
		s.history = map[string][]past{}
	}
	s.history[strings.Clone(key)] = append(states, p) // key's bytes are the caller's
	t.views.bytes.Add(p.bytes(key))
	return p.slab
}

// at returns the state of key at a version; r is its present record, nil if it has none.
func (s *shard) at(version int64, key string, r record) past {
	for _, p := range s.history[key] {
		if p.until > version {
			return p
		}
	}
	if r == nil {
		return past{}
	}
	return past{present: true, value: r.value()}
}

// Get appends key's value to dst. If key is absent it returns dst and false.
func (v *View) Get(dst []byte, key string) ([]byte, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return dst, false
	}
	hash := v.table.hash(key)
	s := v.table.shardOf(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, r := s.find(hash, key)
	state := s.at(v.version, key, r)
	if !state.present {
		return dst, false
	}
	return append(dst, state.value...), true
}

// A window is a part of a shard that is looked at under one lock, for some tens of microseconds: so many slots, and so many
// bytes of records if these are not just one.
const (
	windowSlots = 512
	windowBytes = 256 << 10
)

// window is a copy of a part of a shard as it was at one version.
type window struct {
	pairs []pair
	bytes []byte // what pairs point into
}

// pair is a key and its value.
type pair struct{ key, value []byte }

// All iterates over all keys and values, in no order, until the view is closed. They lie in memory that is used again: they must
// not be changed, nor kept beyond the loop's body. No lock is held while that runs.
func (v *View) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		var w window
		for i := range v.table.shards {
			for from := uint64(0); from < 1<<tagBits; {
				from = w.fill(v, &v.table.shards[i], from)
				for _, p := range w.pairs {
					if !yield(text(p.key), p.value) {
						return
					}
				}
			}
		}
	}
}

// fill takes in the keys whose tags are from this one to the one that it returns. Tags are in the order of the slots where
// searches begin, in a table of any size: so it does not matter if the shard grows or shrinks between two calls.
func (w *window) fill(v *View, s *shard, from uint64) (to uint64) {
	w.pairs, w.bytes = w.pairs[:0], w.bytes[:0]
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return 1 << tagBits
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	first := int(from >> s.shift)
	last := s.windowEnd(first)
	to = uint64(last) << s.shift
	// Keys whose search begins before last are there, or behind it up to the first empty slot, going round.
	for i := first; i < last || s.slots[i%len(s.slots)] != 0 && i < first+len(s.slots); i++ {
		slot := s.slots[i%len(s.slots)]
		if tag := slot >> tagShift; slot != 0 && tag >= from && tag < to {
			r := s.slabs.at(slot & placeMask)
			w.add(r.key(), s.at(v.version, text(r.key()), r))
		}
	}
	for key := range s.history { // those that have been deleted since
		hash := v.table.hash(key)
		if tag := hash >> tagShift; tag < from || tag >= to {
			continue
		}
		if slot, _ := s.find(hash, key); slot < 0 {
			w.add([]byte(key), s.at(v.version, key, nil))
		}
	}
	return to
}

// windowEnd returns the slot before which a window that begins at slot first is to end.
func (s *shard) windowEnd(first int) int {
	bytes := 0
	for i := first; i < min(first+windowSlots, len(s.slots)); i++ {
		if slot := s.slots[i]; slot != 0 {
			bytes += s.slabs.at(slot & placeMask).size()
		}
		if bytes >= windowBytes {
			return i + 1
		}
	}
	return min(first+windowSlots, len(s.slots))
}

// add copies a pair, unless the key was absent.
func (w *window) add(key []byte, state past) {
	if !state.present {
		return
	}
	start := len(w.bytes)
	w.bytes = append(append(w.bytes, key...), state.value...)
	end := start + len(key)
	w.pairs = append(w.pairs, pair{key: w.bytes[start:end], value: w.bytes[end:]})
}
