package table

import (
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// View is the state of a table after one commit. Any number of goroutines may
// call its methods, also while changes are applied. A closed view is empty.
type View struct {
	table   *Table // immutable
	version int64  // immutable
	length  int    // immutable

	mu     sync.RWMutex // held for reading during a lookup, so that the versions it uses are not pruned
	closed atomic.Bool  // written while mu is held
}

// View opens a view of the state after the last commit. It returns nil if the
// table was released. It waits for at most a few commits that are being
// published.
func (t *Table) View() *View {
	v := &View{table: t}
	if !t.openView(v, time.Now()) {
		return nil
	}
	return v
}

// Views returns how many views are open, including those that the table has
// opened itself for a large read, when the oldest of them was opened, and how
// many bytes of old versions are retained for them. A view counts until nothing
// is retained for it any more. So if there is no view, nothing is retained.
func (t *Table) Views() (open int, oldest time.Time, bytes int64) {
	v := &t.views
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, opened := range v.since {
		if oldest.IsZero() || opened.Before(oldest) {
			oldest = opened
		}
	}
	return len(v.since), oldest, t.history.bytes.Load()
}

// Version returns the version of the last commit that the view shows.
func (v *View) Version() int64 { return v.version }

// Len returns the number of keys.
func (v *View) Len() int {
	if v.closed.Load() {
		return 0
	}
	return v.length
}

// Closed reports whether the view was closed.
func (v *View) Closed() bool { return v.closed.Load() }

// Close closes the view and frees what no other view needs. It returns false if
// the view was closed already.
//
// Close waits for lookups that are under way in other goroutines: for one
// window of keys or one value. Loops over the view show no further pair. A loop
// in another goroutine looks whether the view is closed right before it shows a
// pair. So it may show one pair that it had reached when Close was called.
func (v *View) Close() bool {
	v.mu.Lock()
	closed := v.closed.Swap(true)
	v.mu.Unlock()
	if closed {
		return false
	}
	v.table.closeView(v) // no lookup is under way any more
	return true
}

// Get appends key's value to dst and returns the result, which is not nil, and
// true. If key is absent it returns dst and false.
func (v *View) Get(dst []byte, key string) ([]byte, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed.Load() {
		return dst, false
	}
	hash := v.table.hash(key)
	s := v.table.shardOf(hash)
	s.mu.RLock()
	_, r := s.find(hash, key)
	state := v.table.versionAt(s, v.version, hash, key, r)
	if state.present && !state.alone {
		dst = appendValue(dst, state.value)
	}
	s.mu.RUnlock()
	if state.alone {
		dst = appendValue(dst, state.value)
	}
	return dst, state.present
}

// Has reports whether key is present; false if the view is closed.
func (v *View) Has(key string) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed.Load() {
		return false
	}
	hash := v.table.hash(key)
	s := v.table.shardOf(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, r := s.find(hash, key)
	return v.table.versionAt(s, v.version, hash, key, r).present
}

// MultiGet sets values, which is as long as keys and has nil elements only, to
// their values. Those of absent keys stay nil. If the view is closed, before
// the call or during it, all are nil. Like [Table.MultiGet] it overlaps the
// cache misses of many keys.
func (v *View) MultiGet(values [][]byte, keys []string) {
	var c copier
	for at := 0; at < len(keys); {
		n := v.getWindow(values[at:], keys[at:min(at+windowKeys, len(keys))], &c)
		if n == 0 {
			clear(values)
			return
		}
		at += n
	}
}

// getWindow is MultiGet of some of at most windowKeys keys: of as many as have
// about maxLockedBytes. It returns their number, 0 if the view is closed.
func (v *View) getWindow(values [][]byte, keys []string, c *copier) (n int) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed.Load() {
		return 0
	}
	var hashes, slots [windowKeys]uint64
	var states [windowKeys]oldVersion
	t := v.table
	for i, key := range keys {
		hashes[i] = t.hash(key)
	}
	t.applying.RLock()
	t.locate(&slots, hashes[:len(keys)])
	unchanged, sum := t.Version() == v.version, byte(0)
	for bytes := 0; n < len(keys) && bytes < maxLockedBytes; n++ {
		states[n] = v.versionAt(unchanged, slots[n], hashes[n], keys[n])
		c.expect(states[n].value)
		bytes += len(states[n].value)
	}
	for i := range states[:n] { // a loop of its own, as in lookup.fill
		sum += touchLines(states[i].value)
	}
	runtime.KeepAlive(sum) // or the loads would be left out
	for i := range states[:n] {
		if states[i].present && !states[i].alone {
			values[i] = c.copy(states[i].value)
		}
	}
	t.applying.RUnlock()
	for i := range states[:n] {
		if states[i].alone {
			values[i] = c.copy(states[i].value)
		}
	}
	return n
}

// copier makes copies that belong to a caller. Small ones share memory.
type copier struct {
	shared []byte // memory for small copies that is not used yet
	need   int    // bytes of small copies that are expected
}

// expect announces a copy, so that memory for many is allocated at once.
func (c *copier) expect(b []byte) {
	if len(b) <= maxSharedBytes {
		c.need += len(b)
	}
}

// copy returns a copy of b, which was announced. It is never nil.
func (c *copier) copy(b []byte) (clone []byte) {
	if len(b) > maxSharedBytes {
		return append([]byte(nil), b...)
	}
	clone, c.shared = copyShared(b, c.shared, c.need)
	c.need -= len(b)
	return clone
}

// Unchanged reports whether keys, and all keys within the bounds in within,
// have not been changed since the view was opened. It returns false if the view
// is closed. With bounds, only the goroutine that applies changes may call it,
// after a Scan of the table. Without, any goroutine may: a commit that is being
// published then counts or does not.
func (v *View) Unchanged(keys []string, within []Bounds) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	t := v.table
	if v.closed.Load() {
		return false
	}
	if t.Version() == v.version {
		return true
	}
	changed := func(key string) bool { return t.changedSince(v.version, key) }
	if slices.ContainsFunc(keys, changed) {
		return false
	}
	return !slices.ContainsFunc(within, func(b Bounds) bool { return t.index.Load().anyWithin(b, v.version, changed) })
}

// A window is a part of a shard that is read under one lock, for some tens of
// microseconds: up to windowSlots slots and about windowBytes of records, and
// as much of the shard's history.
const (
	windowSlots = 512
	windowBytes = 256 << 10
)

// window is a copy of a part of a shard, as it was at one version.
type window struct {
	keysOnly bool // values are empty
	pairs    []Pair
	bytes    []byte // that pairs point into
	alone    []int  // the pairs whose values have a slab of their own
}

// All iterates over all pairs, in no order, until the view is closed. Their
// memory is reused: the caller must not modify the pairs or keep them beyond
// the loop's body. All holds no lock while the loop's body runs.
func (v *View) All() iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		for w := range v.windows(false) {
			for _, p := range w.pairs {
				if v.Closed() || !yield(p) {
					return
				}
			}
		}
	}
}

// Pairs is [View.All] with keys and values that belong to the caller; small
// ones may share memory. It copies each pair once more than All.
func (v *View) Pairs() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		var c copier
		for w := range v.windows(false) {
			for _, p := range w.pairs {
				c.expect(p.Key)
				c.expect(p.Value)
			}
			for _, p := range w.pairs {
				key, value := c.copy(p.Key), c.copy(p.Value)
				if v.Closed() || !yield(unsafeString(key), value) {
					return
				}
			}
		}
	}
}

// windows iterates over all keys, one window at a time. With keysOnly it leaves
// out the values.
func (v *View) windows(keysOnly bool) iter.Seq[*window] {
	return func(yield func(*window) bool) {
		w := window{keysOnly: keysOnly}
		for i := range v.table.shards {
			for from := uint64(0); from < 1<<tagBits; {
				from = w.fill(v, &v.table.shards[i], from)
				if !yield(&w) {
					return
				}
			}
		}
	}
}

// fill copies the pairs of a shard whose tags are in the range from from to the
// tag that it returns. Tags have the order of the slots where searches begin,
// in a table of any size. So the shard may grow or shrink between two calls.
func (w *window) fill(v *View, s *shard, from uint64) (to uint64) {
	w.pairs, w.bytes, w.alone = w.pairs[:0], w.bytes[:0], w.alone[:0]
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed.Load() {
		return 1 << tagBits
	}
	to = w.collect(v, s, from)
	for _, i := range w.alone {
		start := len(w.bytes)
		w.bytes = append(w.bytes, w.pairs[i].Value...)
		w.pairs[i].Value = w.bytes[start:]
	}
	return to
}

// collect is fill under the shard's lock. Values that have a slab of their own
// are not copied yet: the view keeps them where they are.
func (w *window) collect(v *View, s *shard, from uint64) (to uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := v.table
	to = t.windowEnd(s, from)
	s.walk(from, to, func(r record) {
		state := current(r)
		if key := unsafeString(r.key()); !s.history.isEmpty() {
			state = t.versionAt(s, v.version, t.hash(key), key, r)
		}
		w.add(r.key(), state)
	})
	t.walkDeleted(s, from, to, func(hash uint64, key []byte) {
		w.add(key, t.versionAt(s, v.version, hash, unsafeString(key), nil))
	})
	return to
}

// walk calls visit with the records of a window: those with tags from from up
// to, but not including, to.
func (s *shard) walk(from, to uint64, visit func(record)) {
	first, last := int(from>>s.shift), int((to-1)>>s.shift)+1
	// A key whose search begins before last is there, or after it up to the
	// first empty slot, around the end of the slots.
	for i := first; i < last || s.slots[i%len(s.slots)] != 0 && i < first+len(s.slots); i++ {
		slot := s.slots[i%len(s.slots)]
		if tag := slot >> tagShift; slot != 0 && tag >= from && tag < to {
			visit(s.slabs.at(slot & placeMask))
		}
	}
}

// windowEnd returns the end of the window that begins with the tag from.
func (t *Table) windowEnd(s *shard, from uint64) (to uint64) {
	first := int(from >> s.shift)
	end, bytes := min(first+windowSlots, len(s.slots)), 0
	for i := first; i < end; i++ {
		if slot := s.slots[i]; slot != 0 {
			bytes += s.slabs.at(slot & placeMask).size()
		}
		if bytes >= windowBytes {
			end = i + 1
		}
	}
	return t.historyEnd(s, from, uint64(end)<<s.shift)
}

// add copies a pair, unless the key was absent.
func (w *window) add(key []byte, state oldVersion) {
	if !state.present {
		return
	}
	start := len(w.bytes)
	w.bytes = append(w.bytes, key...)
	end := start + len(key)
	switch {
	case w.keysOnly:
	case state.alone:
		w.alone = append(w.alone, len(w.pairs))
		w.pairs = append(w.pairs, Pair{Key: w.bytes[start:end], Value: state.value})
		return
	default:
		w.bytes = append(w.bytes, state.value...)
	}
	w.pairs = append(w.pairs, Pair{Key: w.bytes[start:end], Value: w.bytes[end:]})
}
