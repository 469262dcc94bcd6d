package table

import (
	"math"
	"slices"
)

// This file is multi-version concurrency control (MVCC) for views. While a view
// is open, a change retains the version that it replaces, and the absence of a
// key too. While no view is open, this costs one atomic load a change.

// oldVersion is what a key was at a version.
type oldVersion struct {
	present  bool
	alone    bool   // value has a slab of its own, where it stays as long as a view needs it
	value    []byte // in the table's memory
	deadline int64  // 0 for none
}

// retain retains the current version of a key before the commit with this
// version ends it. r is the key's record, nil if the key is absent. The caller
// must hold the shard's lock. The slab of a large record is retained with it:
// retain then returns true, and the caller must not free it.
func (t *Table) retain(s *shard, hash uint64, key []byte, r record, version int64) (slab bool) {
	l := &t.history
	at, newest := s.history.find(l, hash, unsafeString(key))
	if newest != 0 && l.at(newest).until() > t.views.newest.Load() {
		return false // the current version began after the newest view was opened
	}
	place, rest := l.add(version, newest, key, r)
	slot := hash>>oldTagShift<<oldTagShift | place
	if newest != 0 {
		s.history.replace(at, slot)
	} else {
		before := s.history.bytes
		s.history.insert(at, slot)
		l.bytes.Add(int64(s.history.bytes - before))
	}
	if len(rest) > 0 {
		t.work.garbage = append(t.work.garbage, rest)
	}
	return r != nil && r.size() > maxPackedBytes
}

// reserveHistory reserves memory for the old versions that the operations of
// the group from first to last may have to retain, while no lock is held.
func (t *Table) reserveHistory(first, last int) {
	if t.views.newest.Load() < 0 {
		return
	}
	w, bytes := t.work, 0
	for i := first; i < last; i++ {
		hash, key := w.hashes[i], unsafeString(w.ops[i].Key)
		bytes += oldHeader + recordHeader + len(key)
		_, r := t.shardOf(hash).findStaged(&w.staged[w.ranks[i]], hash, key)
		switch {
		case r == nil || r.size() > maxPackedBytes: // nothing is copied
		case r.valueLen() > maxSharedBytes && t.changedSince(t.views.newest.Load(), key): // it is retained already
		default:
			bytes += r.valueLen() + deadlineBytes
		}
	}
	t.history.reserve(bytes)
}

// versionAt returns what key was at a version. r is its current record, nil if
// it has none.
func (t *Table) versionAt(s *shard, version int64, hash uint64, key string, r record) oldVersion {
	l, found := &t.history, oldRecord(nil)
	_, place := s.history.find(l, hash, key)
	for ; place != 0; place = l.at(place).older() {
		o := l.at(place)
		if o.until() <= version {
			break
		}
		found = o
	}
	if found == nil {
		return current(r)
	}
	return l.version(found)
}

// current returns the current version of a key with this record, nil if it has
// none.
func current(r record) oldVersion {
	if r == nil {
		return oldVersion{}
	}
	return oldVersion{present: true, alone: r.size() > maxPackedBytes, value: r.value(), deadline: r.deadline()}
}

// changedSince reports whether key was changed after a version that an open
// view shows.
func (t *Table) changedSince(version int64, key string) bool {
	hash := t.hash(key)
	s := t.shardOf(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, newest := s.history.find(&t.history, hash, key)
	return newest != 0 && t.history.at(newest).until() > version
}

// sweep drops the versions that ended after above, at upTo at the latest, and
// that no open view needs.
func (t *Table) sweep(above, upTo int64) {
	for order, more := uint64(0), above < upTo; more; {
		order, more = t.sweepPage(above, upTo, order)
	}
	if x := t.index.Load(); x != nil {
		x.pruneGone(t, math.MaxInt) // what was put off while the writer was at work
	}
	for t.compactWorn() {
		continue
	}
}

// sweepPage is sweep for one page, of this order or above. It returns the order
// of the next one.
func (t *Table) sweepPage(above, upTo int64, order uint64) (next uint64, more bool) {
	l := &t.history
	l.sweeping.Lock()
	p, at, end := l.find(above, upTo, order)
	if p == nil {
		l.sweeping.Unlock()
		return 0, false
	}
	d := dropped{table: t, open: t.openVersions()}
	for at < end {
		place, o := uint64(p.number)<<oldPageBits|uint64(at), oldRecord(p.mem[at:])
		if at += o.size(); o.until() > upTo {
			break
		}
		if o.until() > above && !o.dropped() && !d.isNeeded(o) {
			d.drop(o, place)
		}
	}
	next = p.order + 1
	if mem := l.discard(p, d.bytes); mem != nil {
		d.garbage = append(d.garbage, mem)
	}
	l.sweeping.Unlock()
	d.finish()
	return next, true
}

// dropped is the versions of a page that a sweep drops. The sweep holds
// sweeping.
type dropped struct {
	table   *Table
	open    []int64  // the versions of open views
	bytes   int      // of versions dropped
	gone    []string // keys that neither the table nor a view has any more
	garbage [][]byte // memory to free
}

// isNeeded reports whether an open view shows the version: one that was opened
// after the version began and before it ended. The version began when the next
// older one ended. If that is not there any more, no open view is older.
func (d *dropped) isNeeded(o oldRecord) bool {
	since := int64(0)
	if older := o.older(); older != 0 {
		since = d.table.history.at(older).until()
	}
	i, _ := slices.BinarySearch(d.open, since)
	return i < len(d.open) && d.open[i] < o.until()
}

// drop takes the version at a place out of its key's history.
func (d *dropped) drop(o oldRecord, place uint64) {
	t, l := d.table, &d.table.history
	key := l.record(o).key()
	hash := t.hash(unsafeString(key))
	s := t.shardOf(hash)
	s.mu.Lock()
	before := s.history.bytes
	s.unlink(l, hash, unsafeString(key), place, o.older())
	o.drop()
	l.bytes.Add(int64(s.history.bytes - before))
	if slot, _ := s.find(hash, unsafeString(key)); slot < 0 {
		if _, newest := s.history.find(l, hash, unsafeString(key)); newest == 0 {
			d.gone = append(d.gone, string(key))
		}
	}
	s.mu.Unlock()
	d.bytes += o.size()
	if o.link()&oldAside != 0 {
		d.garbage = append(d.garbage, l.takeAside(o))
	}
}

// finish does what needs no lock.
func (d *dropped) finish() {
	for _, mem := range d.garbage {
		d.table.arena.free(mem)
	}
	if x := d.table.index.Load(); x != nil {
		for chunk := range slices.Chunk(d.gone, windowKeys) {
			x.prune(d.table, chunk)
		}
	}
}

// unlink makes what leads to a version of a key lead to another place: that of
// the next older version, or that to which the version has moved. 0 is none.
func (s *shard) unlink(l *historyLog, hash uint64, key string, place, to uint64) {
	at, newest := s.history.find(l, hash, key)
	switch {
	case newest != place:
		o := l.at(newest)
		for o.older() != place {
			o = l.at(o.older())
		}
		o.setOlder(to)
	case to == 0:
		s.history.remove(at)
	default:
		s.history.replace(at, hash>>oldTagShift<<oldTagShift|to)
	}
}

// compactWorn moves the versions of a worn page that are still needed, and
// frees the page. It reports whether there was one.
func (t *Table) compactWorn() bool {
	l := &t.history
	l.sweeping.Lock()
	p, to := l.takeWorn()
	if p == nil {
		l.sweeping.Unlock()
		return false
	}
	for at := 0; at < p.used; {
		o := oldRecord(p.mem[at:])
		size := o.size()
		if !o.dropped() {
			t.moveVersion(o[:size], uint64(p.number)<<oldPageBits|uint64(at), to)
		}
		at += size
	}
	mem := l.replaceWorn(p, to)
	l.sweeping.Unlock()
	t.arena.free(mem)
	return true
}

// moveVersion appends a version to a page and makes the key's history lead to
// it.
func (t *Table) moveVersion(o oldRecord, place uint64, to *historyPage) {
	l := &t.history
	key := unsafeString(l.record(o).key())
	hash := t.hash(key)
	s := t.shardOf(hash)
	moved := uint64(to.number)<<oldPageBits | uint64(to.used)
	s.mu.Lock()
	copy(to.mem[to.used:], o)
	s.unlink(l, hash, key, place, moved)
	s.mu.Unlock()
	to.grow(o.until(), len(o))
}

// oldTagsBits is how many tags of the table one tag of the history stands for,
// as a power of two.
const oldTagsBits = tagBits - oldTagBits

// historyEnd returns the end of a window that begins with the tag from and ends
// before to: to, or less if there are too many old versions.
func (t *Table) historyEnd(s *shard, from, to uint64) uint64 {
	count, bytes := 0, 0
	for _, slot := range s.history.from(s.history.seek(from >> oldTagsBits)) {
		tag := slot >> oldTagShift
		if tag<<oldTagsBits >= to {
			break
		}
		bytes += t.history.at(slot & oldPlaceMask).size()
		if count++; count >= windowSlots || bytes >= windowBytes {
			return min(to, (tag+1)<<oldTagsBits)
		}
	}
	return to
}

// walkDeleted calls visit with the keys of a window that have old versions and
// are not in the table.
func (t *Table) walkDeleted(s *shard, from, to uint64, visit func(hash uint64, key []byte)) {
	l := &t.history
	for _, slot := range s.history.from(s.history.seek(from >> oldTagsBits)) {
		if slot>>oldTagShift<<oldTagsBits >= to {
			break
		}
		key := l.record(l.at(slot & oldPlaceMask)).key()
		hash := t.hash(unsafeString(key))
		if tag := hash >> tagShift; tag < from || tag >= to {
			continue
		}
		if slot, _ := s.find(hash, unsafeString(key)); slot < 0 {
			visit(hash, key)
		}
	}
}
