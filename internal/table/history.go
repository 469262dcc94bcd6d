package table

import (
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// This file is multi-version concurrency control (MVCC) for views. While a view
// is open, a change retains the version that it replaces, and the absence of a
// key too. While no view is open, this costs one atomic load a change.

// oldVersion is a version of a key's value that a commit has replaced or
// removed, or the absence of the key.
type oldVersion struct {
	until   int64 // the version of the commit that ended it
	present bool
	alone   bool   // value has a slab of its own, where it stays as long as a view needs it
	value   []byte // a copy, or a part of a large record's slab; nil if the key was absent
	slab    []byte // the slab that value lies in, to be freed with it; nil if value is a copy
}

func (p *oldVersion) bytes(key string) int64 { return int64(len(key) + len(p.value)) }

// views is the state of a table's open views.
type views struct {
	newest atomic.Int64 // version of the newest open view, -1 if there is none
	bytes  atomic.Int64 // of retained versions

	mu       sync.Mutex // held briefly, while t.applying is held
	open     []int64    // guarded by mu: the versions of open views, rising, one for each view
	released bool       // guarded by mu: the last view to close must release the table's memory

	// When each view was opened. A view that was closed stays here until
	// nothing is retained for it any more. Guarded by mu.
	since map[*View]time.Time

	retained retainedList
}

// retainedList lists the versions in shard.history in the order in which they
// ended. So the cost of closing a view depends on what changed since the view
// was opened, and not on what older views retain.
type retainedList struct {
	mu    sync.Mutex     // taken under a shard's lock to add, and alone to take
	pages []retainedPage // guarded by mu: none is empty
	next  uint64         // guarded by mu: number of the next page
}

// retainedPage is a part of the list. Its number is above those of the pages
// before it.
type retainedPage struct {
	number uint64
	states []retained
}

// retained identifies a version that some view needs.
type retained struct {
	since int64 // the version of the commit that began it, 0 if unknown
	until int64
	key   string
}

// retain retains the current version of a key before the commit with this
// version ends it. r is the key's record, nil if the key is absent. The caller
// must hold the shard's lock. The slab of a large record is retained with it:
// retain then returns the slab, and the caller must not free it.
func (t *Table) retain(s *shard, key string, r record, version int64) (slab []byte) {
	states := s.history[key]
	since := int64(0)
	if n := len(states); n > 0 {
		since = states[n-1].until
	}
	if since > t.views.newest.Load() {
		return nil // the current version began after the newest view was opened
	}
	p := oldVersion{until: version, present: r != nil}
	switch {
	case r == nil:
	case r.size() > maxPackedBytes:
		p.alone, p.value, p.slab = true, r.value(), r[:cap(r)]
	default:
		p.value = slices.Clone(r.value())
	}
	if s.history == nil {
		s.history = map[string][]oldVersion{}
	}
	key = strings.Clone(key) // the caller owns its bytes
	s.history[key] = append(states, p)
	t.views.bytes.Add(p.bytes(key))
	t.views.retained.add(retained{since: since, until: version, key: key})
	return p.slab
}

// versionAt returns what key was at a version. r is its current record, nil if
// it has none.
func (s *shard) versionAt(version int64, key string, r record) oldVersion {
	for _, p := range s.history[key] {
		if p.until > version {
			return p
		}
	}
	return current(r)
}

// current returns the current version of a key with this record, nil if it has
// none.
func current(r record) oldVersion {
	if r == nil {
		return oldVersion{}
	}
	return oldVersion{present: true, alone: r.size() > maxPackedBytes, value: r.value()}
}

// changedSince reports whether key was changed after a version that an open
// view shows.
func (s *shard) changedSince(version int64, key string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	states := s.history[key]
	return len(states) > 0 && states[len(states)-1].until > version
}

// openView adds a view of the last commit. It returns false if the table was
// released. openView waits for at most a few commits that are being published.
func (t *Table) openView(view *View, now time.Time) bool {
	t.applying.RLock()
	defer t.applying.RUnlock()
	v := &t.views
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.released {
		return false
	}
	view.version, view.length = t.Version(), t.Len()
	at, _ := slices.BinarySearch(v.open, view.version)
	v.open = slices.Insert(v.open, at, view.version)
	v.newest.Store(v.open[len(v.open)-1])
	if v.since == nil {
		v.since = map[*View]time.Time{}
	}
	v.since[view] = now
	return true
}

// closeView removes a view and frees what was retained for it alone.
func (t *Table) closeView(view *View) {
	r := t.removeView(view.version)
	for states := range t.views.retained.take(r) {
		t.prune(states)
	}
	v := &t.views
	v.mu.Lock()
	delete(v.since, view)
	last := v.released && v.idle()
	v.mu.Unlock()
	if last {
		t.release()
	}
}

// idle reports whether no view is open or being closed.
func (v *views) idle() bool { return len(v.since) == 0 }

// pruneRange selects the versions that no view needs after one view is closed.
// Those are the versions that the closed view shows and that no open view does:
// they ended before the next newer view was opened, and began after the next
// older view was opened.
type pruneRange struct {
	above, upTo int64 // the version ended after above, at upTo at the latest
	after       int64 // the version began after it
}

// removeView removes a view of this version from the list of open views, and
// returns what may be pruned.
func (t *Table) removeView(version int64) (r pruneRange) {
	// No commit is being published while applying is held for reading. So
	// everything that was retained while the view was open has ended by the
	// current version, and nothing that is retained from now on is retained for
	// this view.
	t.applying.RLock()
	defer t.applying.RUnlock()
	v := &t.views
	v.mu.Lock()
	defer v.mu.Unlock()
	at, _ := slices.BinarySearch(v.open, version)
	v.open = slices.Delete(v.open, at, at+1)
	r = pruneRange{above: version, upTo: t.Version(), after: -1}
	if at > 0 {
		r.after = v.open[at-1]
	}
	if at < len(v.open) {
		r.upTo = v.open[at]
	}
	newest := int64(-1)
	if n := len(v.open); n > 0 {
		newest = v.open[n-1]
	}
	v.newest.Store(newest)
	return r
}

// prune drops versions that were taken from the list.
func (t *Table) prune(states []retained) {
	var garbage [][]byte
	var gone []string
	for _, state := range states {
		hash := t.hash(state.key)
		s := t.shardOf(hash)
		s.mu.Lock()
		p := s.prune(state)
		if slot, _ := s.find(hash, state.key); slot < 0 && s.history[state.key] == nil {
			gone = append(gone, state.key)
		}
		s.mu.Unlock()
		t.views.bytes.Add(-p.bytes(state.key))
		if p.slab != nil {
			garbage = append(garbage, p.slab)
		}
	}
	for _, mem := range garbage {
		t.arena.free(mem)
	}
	if x := t.index.Load(); x != nil {
		for chunk := range slices.Chunk(gone, windowKeys) {
			x.prune(t, chunk)
		}
		x.pruneGone(t, len(gone)) // what was put off while the writer was at work
	}
}

// prune drops one version of a key. The version must exist.
func (s *shard) prune(state retained) (p oldVersion) {
	states := s.history[state.key]
	i := slices.IndexFunc(states, func(p oldVersion) bool { return p.until == state.until })
	p = states[i]
	if states = slices.Delete(states, i, i+1); len(states) > 0 {
		s.history[state.key] = states
		return p
	}
	delete(s.history, state.key)
	if len(s.history) == 0 {
		s.history = nil
	}
	return p
}

// pageStates is how many versions are examined under a lock that the writer may
// wait for.
const pageStates = 1 << 10

func (l *retainedList) add(state retained) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.pages); n == 0 || len(l.pages[n-1].states) >= pageStates {
		l.pages = append(l.pages, retainedPage{number: l.next})
		l.next++
	}
	last := &l.pages[len(l.pages)-1]
	last.states = append(last.states, state)
}

// take removes the versions in r from the list and returns them, some at a
// time.
func (l *retainedList) take(r pruneRange) iter.Seq[[]retained] {
	return func(yield func([]retained) bool) {
		next := uint64(0)
		for {
			taken, page, ok := l.takePage(r, next)
			if !ok || len(taken) > 0 && !yield(taken) {
				return
			}
			next = page + 1
		}
	}
}

// takePage is take for the first page with versions in r, from this number on.
// ok is false if there is none.
func (l *retainedList) takePage(r pruneRange, from uint64) (taken []retained, number uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := sort.Search(len(l.pages), func(i int) bool {
		p := &l.pages[i]
		return p.number >= from && p.states[len(p.states)-1].until > r.above
	})
	if at == len(l.pages) || l.pages[at].states[0].until > r.upTo {
		return nil, 0, false
	}
	p := &l.pages[at]
	number = p.number
	stay := p.states[:0]
	for _, s := range p.states {
		if s.until > r.above && s.until <= r.upTo && s.since > r.after {
			taken = append(taken, s)
		} else {
			stay = append(stay, s)
		}
	}
	clear(p.states[len(stay):])
	switch p.states = stay; {
	case len(stay) == 0:
		l.pages = slices.Delete(l.pages, at, at+1)
	case len(stay) < cap(stay)/4:
		p.states = slices.Clone(stay)
	}
	return taken, number, true
}

// clear empties the list. The caller must have made sure that no view is open.
func (l *retainedList) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pages = nil
}
