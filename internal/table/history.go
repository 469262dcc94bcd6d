package table

import (
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// This file is how old states are kept for those who still look at them. While a view is open, a change moves the state that it
// ends to the side, the absence of a key too; who keeps nothing pays one atomic load a change.

// past is a state that a key was in.
type oldVersion struct {
	until   int64 // the version of the commit that ended it
	present bool
	value   []byte // a copy, or a large record's slab; nil for an absent key
	slab    []byte // what value lies in, to be given back with it; nil if value is a copy
}

func (p *oldVersion) bytes(key string) int64 { return int64(len(key) + len(p.value)) }

// views is what a table knows of those who look at old states.
type views struct {
	newest atomic.Int64 // version of the newest open view, -1 if there is none
	bytes  atomic.Int64 // held for them

	mu       sync.Mutex // held while t.applying is, for a moment
	open     []int64    // guarded by mu: versions, rising, one for each view
	closing  int        // guarded by mu: views that are off that list and not done with forgetting
	released bool       // guarded by mu: the table is to give back its memory when the last view closes

	retained retainedList
}

// keptStates lists the states in shard.history, in the order in which they ended; so closing a view costs as much as has changed since
// it was opened, however much is kept for older ones.
type retainedList struct {
	mu    sync.Mutex     // taken under a shard's lock by who keeps, alone by who forgets
	pages []retainedPage // guarded by mu: none of them empty
	next  uint64         // guarded by mu: the number of the next page
}

// keptPage is a part of the list. Its number is above those of the pages before it.
type retainedPage struct {
	number uint64
	states []retained
}

// keptState is a state that some view needs.
type retained struct {
	since int64 // the version of the commit that began it; 0 if that is not known
	until int64
	key   string
}

// keep moves a key's state to the side before a commit with this version ends it. Under the shard's lock; r is nil if the key is
// absent. A large record keeps the slab that it has for itself, and slab is not nil: it is not to be freed with the record.
func (t *Table) retain(s *shard, key string, r record, version int64) (slab []byte) {
	states := s.history[key]
	since := int64(0)
	if n := len(states); n > 0 {
		since = states[n-1].until
	}
	if since > t.views.newest.Load() {
		return nil // it began after the newest view was opened
	}
	p := oldVersion{until: version, present: r != nil}
	switch {
	case r == nil:
	case r.size() > maxPackedBytes:
		p.value, p.slab = r.value(), r[:cap(r)]
	default:
		p.value = slices.Clone(r.value())
	}
	if s.history == nil {
		s.history = map[string][]oldVersion{}
	}
	key = strings.Clone(key) // its bytes are the caller's
	s.history[key] = append(states, p)
	t.views.bytes.Add(p.bytes(key))
	t.views.retained.add(retained{since: since, until: version, key: key})
	return p.slab
}

// at returns the state of key at a version; r is its present record, nil if it has none.
func (s *shard) versionAt(version int64, key string, r record) oldVersion {
	for _, p := range s.history[key] {
		if p.until > version {
			return p
		}
	}
	return current(r)
}

// present returns the state of a key with this record, nil if it has none.
func current(r record) oldVersion {
	if r == nil {
		return oldVersion{}
	}
	return oldVersion{present: true, value: r.value()}
}

// changedSince reports whether key was changed after a version for which a view is open.
func (s *shard) changedSince(version int64, key string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	states := s.history[key]
	return len(states) > 0 && states[len(states)-1].until > version
}

// openView counts a view in. It returns the version that the view is to show and how many keys there are; ok is false if the table
// was released. It waits for no more than a few commits that are being published.
func (t *Table) openView() (version int64, length int, ok bool) {
	t.applying.RLock()
	defer t.applying.RUnlock()
	v := &t.views
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.released {
		return 0, 0, false
	}
	version = t.Version()
	at, _ := slices.BinarySearch(v.open, version)
	v.open = slices.Insert(v.open, at, version)
	v.newest.Store(v.open[len(v.open)-1])
	return version, t.Len(), true
}

// closeView counts a view of this version out, and frees what was kept for it alone.
func (t *Table) closeView(version int64) {
	r := t.removeView(version)
	for states := range t.views.retained.take(r) {
		t.prune(states)
	}
	v := &t.views
	v.mu.Lock()
	v.closing--
	last := v.released && v.idle()
	v.mu.Unlock()
	if last {
		t.release()
	}
}

// idle reports whether nobody has a view, or is giving one up.
func (v *views) idle() bool { return len(v.open) == 0 && v.closing == 0 }

// forgettable says which states nobody needs any more, now that one view is closed: those that ended while no view but that one
// and ones before it were open, and began after the last of these was opened.
type pruneRange struct {
	above, upTo int64 // versions between which the state ended
	after       int64 // the version after which it began
}

// countOut takes a view of this version off the list, and returns what may be forgotten.
func (t *Table) removeView(version int64) (r pruneRange) {
	// While nothing is being published: all that was kept while the view was open ended at a version up to the present one, and
	// what is kept from now on is not kept for this view.
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
	v.closing++
	return r
}

// forget drops states that were taken off the list.
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
	}
}

// forget drops one state of a key, which is there.
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

// pageStates is how many states are looked at under the lock that the writer may wait for.
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

// take takes states off the list and returns them, some at a time.
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

// takePage is take for the first page from this number on; ok is false if there is none.
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

// clear forgets everything, once nobody looks any more.
func (l *retainedList) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pages = nil
}
