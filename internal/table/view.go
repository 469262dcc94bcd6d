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
	now     int64  // see SetNow; what is due then is hidden
	held    *held  // immutable: see Table.Hold
	length  int    // immutable: keys that were not due when the view was opened
	size    int    // immutable: all keys

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

// Now returns the time of the table's clock when the view was opened. A key
// that was due then is absent from the view.
func (v *View) Now() int64 { return v.now }

// SetNow sets another moment at which the view judges what is due. Len stays
// what it was. Only one goroutine may use the view.
func (v *View) SetNow(now int64) { v.now = now }

// Len returns the number of keys that were not due when the view was opened.
func (v *View) Len() int {
	if v.closed.Load() {
		return 0
	}
	return v.length
}

// Size returns the number of keys that All shows: those that are due too.
func (v *View) Size() int {
	if v.closed.Load() {
		return 0
	}
	return v.size
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
	value, _, ok := v.Find(dst, key)
	return value, ok
}

// Find is Get with the key's deadline, 0 for none.
func (v *View) Find(dst []byte, key string) (value []byte, deadline int64, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed.Load() {
		return dst, 0, false
	}
	hash := v.table.hash(key)
	s := v.table.shardOf(hash)
	s.mu.RLock()
	_, r := s.find(hash, key)
	state := v.shown(key, v.table.versionAt(s, v.version, hash, key, r))
	if state.present && !state.alone {
		dst = appendValue(dst, state.value)
	}
	s.mu.RUnlock()
	if state.alone {
		dst = appendValue(dst, state.value)
	}
	return dst, state.deadline, state.present
}

// shown returns what the view shows of a version of key: nothing if it is due.
func (v *View) shown(key string, state oldVersion) oldVersion {
	if isDue(state.deadline, v.now) && !v.held.has(key, v.now) {
		return oldVersion{}
	}
	return state
}

// Has reports whether key is present; false if the view is closed.
func (v *View) Has(key string) bool {
	_, ok := v.Deadline(key)
	return ok
}

// Deadline returns when key is gone, 0 for never. ok says whether it is
// present; false if the view is closed.
func (v *View) Deadline(key string) (deadline int64, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed.Load() {
		return 0, false
	}
	hash := v.table.hash(key)
	s := v.table.shardOf(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, r := s.find(hash, key)
	state := v.shown(key, v.table.versionAt(s, v.version, hash, key, r))
	return state.deadline, state.present
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
		states[n] = v.shown(keys[n], v.versionAt(unchanged, slots[n], hashes[n], keys[n]))
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
	withDue  bool // keys that are due are there too
	pairs    []Pair
	bytes    []byte // that pairs point into
	alone    []int  // the pairs whose values have a slab of their own
}

// All iterates over all pairs, those that are due too, in no order, until the
// view is closed. Their
// memory is reused: the caller must not modify the pairs or keep them beyond
// the loop's body. All holds no lock while the loop's body runs.
func (v *View) All() iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		for w := range v.windows(false, true) {
			for _, p := range w.pairs {
				if v.Closed() || !yield(p) {
					return
				}
			}
		}
	}
}

// Pairs is [View.All] without keys that are due, and with keys and values that
// belong to the caller; small ones may share memory. It copies each pair once
// more than All. If soonest is not nil, it is lowered to the earliest deadline
// of the pairs shown so far.
func (v *View) Pairs(soonest *int64) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		var c copier
		for w := range v.windows(false, false) {
			for _, p := range w.pairs {
				c.expect(p.Key)
				c.expect(p.Value)
			}
			for _, p := range w.pairs {
				key, value := c.copy(p.Key), c.copy(p.Value)
				if v.Closed() {
					return
				}
				lower(soonest, p.Deadline)
				if !yield(unsafeString(key), value) {
					return
				}
			}
		}
	}
}

// lower lowers soonest, unless it is nil, to a deadline, unless that is 0.
func lower(soonest *int64, deadline int64) {
	if soonest != nil && deadline != 0 {
		*soonest = min(*soonest, deadline)
	}
}

// windows iterates over all keys, one window at a time. With keysOnly it leaves
// out the values, and without withDue the keys that are due.
func (v *View) windows(keysOnly, withDue bool) iter.Seq[*window] {
	return func(yield func(*window) bool) {
		w := window{keysOnly: keysOnly, withDue: withDue}
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
		w.add(v, r.key(), state)
	})
	t.walkDeleted(s, from, to, func(hash uint64, key []byte) {
		w.add(v, key, t.versionAt(s, v.version, hash, unsafeString(key), nil))
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
func (w *window) add(v *View, key []byte, state oldVersion) {
	if !w.withDue {
		state = v.shown(unsafeString(key), state)
	}
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
		w.pairs = append(w.pairs, Pair{Key: w.bytes[start:end], Value: state.value, Deadline: state.deadline})
		return
	default:
		w.bytes = append(w.bytes, state.value...)
	}
	w.pairs = append(w.pairs, Pair{Key: w.bytes[start:end], Value: w.bytes[end:], Deadline: state.deadline})
}
