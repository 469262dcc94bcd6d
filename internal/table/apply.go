package table

import (
	"slices"
	"sync/atomic"
)

// This file is how the table changes. Readers wait only while slots are switched: everything that takes time, copying records,
// growing, compacting, is done on the side before, in memory that no slot leads to yet.

const (
	// sliceOps is how many operations are published before readers of all shards get a turn. A commit is never split.
	sliceOps = 256

	// maxInPlaceBytes is the largest record that is overwritten where it lies, under its shard's lock, which takes a
	// fraction of a microsecond.
	maxInPlaceBytes = 1 << 10

	// maxKeptOps keeps the room for one huge batch from staying for ever.
	maxKeptOps = 64 << 10

	// pauseOps operations take some hundred microseconds to stage.
	pauseOps = 256

	// A group of at least sharedOps operations is staged in sharedParts parts, of as many shards each.
	sharedOps   = 512
	sharedParts = 16
)

// work is what the goroutine that applies changes keeps between calls, to spare allocations. From Begin to Publish it is about one group.
// Those who stage it only read, but for next, the part that each has taken, and what is in staged for that.
type work struct {
	commits []Commit
	ops     []*Op // of all commits
	hashes  []uint64
	order   []int32  // the operations' numbers, part by part
	ranks   []int32  // where in order each operation is
	staged  []staged // what was done for them, in that order
	parts   []part
	next    atomic.Int32 // the first part that nobody has taken
	garbage [][]byte     // memory that is free, to be given back when no lock is held
	index   *index       // the one that Stage has told of the commits; nil if there was none then
}

// part is operations on some of the shards, all of those in the group, and what staging them finds. One goroutine at a time works on it.
type part struct {
	from, to int                 // in order
	doomed   map[uint64]struct{} // records that a staged operation replaces or deletes: place and shard
	fresh    [][]byte            // keys that are not in the table; for index
}

// staged is what Stage has found and done for an operation.
type staged struct {
	place uint64 // of the record written for it, 0 if none is needed
	index int    // of the slot that leads to the key's present record, -1 if there is none
	slot  uint64 // that slot
}

// Apply makes commits visible, one after the other.
func (t *Table) Apply(commits []Commit) {
	t.Begin(commits)
	t.Stage(func() {})
	t.Publish()
}

// Begin takes a group of commits that are to be staged. Whatever of the last group is not published is forgotten.
func (t *Table) Begin(commits []Commit) {
	w := t.work
	w.commits, w.ops, w.hashes = commits, w.ops[:0], w.hashes[:0]
	for _, c := range commits {
		for i := range c.Ops {
			w.ops = append(w.ops, &c.Ops[i])
			w.hashes = append(w.hashes, t.hash(unsafeString(c.Ops[i].Key)))
		}
	}
	w.index = t.index.Load()
	w.split()
	w.next.Store(0)
}

// split puts the operations in order and into parts.
func (w *work) split() {
	n := len(w.ops)
	w.order, w.ranks, w.staged = slices.Grow(w.order[:0], n)[:n], slices.Grow(w.ranks[:0], n)[:n], slices.Grow(w.staged[:0], n)[:n]
	if n < sharedOps {
		for i := range w.order {
			w.order[i], w.ranks[i] = int32(i), int32(i)
		}
		w.setParts(0, n)
		return
	}
	ends := byShard(w.order, w.hashes)
	for at, i := range w.order {
		w.ranks[i] = int32(at)
	}
	var bounds [sharedParts + 1]int
	for i := range bounds {
		bounds[i] = int(ends[i*shardCount/sharedParts])
	}
	w.setParts(bounds[:]...)
}

// setParts makes a part of what lies between each two bounds.
func (w *work) setParts(bounds ...int) {
	for len(w.parts) < len(bounds)-1 {
		w.parts = append(w.parts, part{doomed: map[uint64]struct{}{}})
	}
	w.parts = w.parts[:len(bounds)-1]
	for i := range w.parts {
		p := &w.parts[i]
		p.from, p.to, p.fresh = bounds[i], bounds[i+1], p.fresh[:0]
		clear(p.doomed)
	}
}

// Stage does what takes time of applying the group, and what no reader sees: it writes records to slabs and makes room for
// their slots. Any number of goroutines may call it at once, and share the work. When all of them have returned, the next call is
// Publish, or none at all. It calls pause every pauseOps operations.
func (t *Table) Stage(pause func()) {
	w := t.work
	for n := int(w.next.Add(1)) - 1; n < len(w.parts); n = int(w.next.Add(1)) - 1 {
		t.stagePart(&w.parts[n], pause)
	}
}

// stagePart stages the operations of one part, a window of them at a time so that their cache misses overlap.
func (t *Table) stagePart(p *part, pause func()) {
	w := t.work
	var window [windowKeys]uint64
	for at := p.from; at < p.to; at += windowKeys {
		order := w.order[at:min(at+windowKeys, p.to)]
		for i, n := range order {
			window[i] = w.hashes[n]
		}
		op := w.ops[order[0]]
		t.usual.Store(int64(recordBytes(len(op.Key), len(op.Value))))
		t.touch(window[:len(order)])
		for i, n := range order {
			w.staged[at+i] = t.stageOp(p, w.ops[n], window[i])
		}
		if next := at + windowKeys; at/pauseOps != next/pauseOps {
			pause()
		}
	}
	if w.index != nil {
		w.index.stage(p.fresh)
	}
}

// stageOp writes the record for op, unless none is needed or the one that is there can be overwritten.
func (t *Table) stageOp(p *part, op *Op, hash uint64) staged {
	s := t.shardOf(hash)
	slot, r := s.find(hash, unsafeString(op.Key))
	if slot < 0 && op.Delete { // an earlier operation may add the key all the same
		return staged{index: -1}
	}
	found := staged{index: slot}
	if slot >= 0 {
		found.slot = s.slots[slot]
		id := found.slot&placeMask | hash%shardCount<<placeBits
		_, doomed := p.doomed[id]
		if !op.Delete && !doomed && overwritable(r, op) {
			return found
		}
		p.doomed[id] = struct{}{}
		if op.Delete {
			return found
		}
	}
	if slot < 0 && t.work.index != nil {
		p.fresh = append(p.fresh, op.Key)
	}
	if s.count+s.staged >= s.maxLoad(len(s.slots)) {
		t.resize(s, 2*len(s.slots))
	}
	s.staged++ // for replaced keys too: one operation may delete and the next one add again
	found.place = t.store(s, op.Key, op.Value)
	return found
}

// overwritable reports whether op's value can take the place of the one in r.
func overwritable(r record, op *Op) bool {
	size := r.size()
	return size <= maxInPlaceBytes && size == recordBytes(len(op.Key), len(op.Value))
}

// Publish makes the staged commits visible, one after the other.
func (t *Table) Publish() {
	w := t.work
	commits, ops := w.commits, 0
	for len(commits) > 0 {
		n, first := 0, ops
		for n < len(commits) && (n == 0 || ops-first+len(commits[n].Ops) <= sliceOps) {
			ops += len(commits[n].Ops)
			n++
		}
		t.publishSlice(commits[:n], first, ops)
		commits = commits[n:]
	}
	t.tidyTouched()
	if x := t.index.Load(); x != nil {
		x.published(t, deletedKeys(w.commits))
	}
	w.dropGroup()
	if cap(w.hashes) > maxKeptOps {
		t.work = new(work)
	}
}

// forget lets go of the group's bytes.
func (w *work) dropGroup() {
	w.commits = nil
	clear(w.ops)
	for i := range w.parts {
		clear(w.parts[i].fresh)
	}
}

// publishSlice shows a few commits, operations first to last, during which MultiGet, scans and those who open views wait.
func (t *Table) publishSlice(commits []Commit, first, last int) {
	for at := first; at < last; at += windowKeys {
		t.touchSlots(t.work.hashes[at:min(at+windowKeys, last)]) // they were in the cache in Stage, and much has been since
	}
	t.applying.Lock()
	t.catchUpIndex(commits)
	for _, c := range commits {
		t.publishCommit(c, first)
		first += len(c.Ops)
	}
	t.applying.Unlock()
	for _, mem := range t.work.garbage {
		t.arena.free(mem)
	}
	t.work.garbage = t.work.garbage[:0]
}

// catchIndex tells an index of commits that were staged before it was there, while applying is held.
func (t *Table) catchUpIndex(commits []Commit) {
	x := t.index.Load()
	if x == t.work.index || x == nil {
		return
	}
	var keys [][]byte
	for _, c := range commits {
		for i := range c.Ops {
			if !c.Ops[i].Delete {
				keys = append(keys, c.Ops[i].Key)
			}
		}
	}
	x.stage(keys)
}

// deletedKeys returns the keys that commits delete.
func deletedKeys(commits []Commit) (keys [][]byte) {
	for _, c := range commits {
		for i := range c.Ops {
			if c.Ops[i].Delete {
				keys = append(keys, c.Ops[i].Key)
			}
		}
	}
	return keys
}

// tidyTouched tidies the shards that the last commits have changed.
func (t *Table) tidyTouched() {
	var touched touchedShards
	for _, hash := range t.work.hashes {
		touched.add(hash)
	}
	for i := range touched.all {
		t.shards[i].staged = 0
		t.tidy(&t.shards[i])
	}
}

// publishCommit shows one commit, whose operations in the group begin with number first: all its shards are locked before the first
// change and unlocked after the last, always in the same order.
func (t *Table) publishCommit(c Commit, first int) {
	grown, hashes := 0, t.work.hashes[first:first+len(c.Ops)]
	if len(c.Ops) == 1 {
		s := t.shardOf(hashes[0])
		s.mu.Lock()
		grown = t.publishOp(s, first, c.Version)
		t.length.Add(int64(grown))
		t.version.Store(c.Version)
		s.mu.Unlock()
		return
	}
	var touched touchedShards
	for _, hash := range hashes {
		touched.add(hash)
	}
	for i := range touched.all {
		t.shards[i].mu.Lock()
	}
	for i := range c.Ops {
		grown += t.publishOp(t.shardOf(hashes[i]), first+i, c.Version)
	}
	t.length.Add(int64(grown))
	t.version.Store(c.Version)
	for i := range touched.all {
		t.shards[i].mu.Unlock()
	}
}

// publishOp shows operation n, under its shard's lock, and returns by how many keys the table grew.
func (t *Table) publishOp(s *shard, n int, version int64) (grown int) {
	op, hash, staged := t.work.ops[n], t.work.hashes[n], &t.work.staged[t.work.ranks[n]]
	var slab []byte // of a large record that a view still needs
	if t.views.newest.Load() >= 0 {
		if slot, r := s.find(hash, unsafeString(op.Key)); slot >= 0 || !op.Delete {
			slab = t.retain(s, unsafeString(op.Key), r, version)
		}
	}
	grown, freed := s.change(op, hash, staged)
	if freed != nil && slab == nil {
		t.work.garbage = append(t.work.garbage, freed)
	}
	return grown
}

// store writes a record that no slot leads to yet.
func (t *Table) store(s *shard, key, value []byte) (place uint64) {
	l := &s.slabs
	size := recordBytes(len(key), len(value))
	if size > maxPackedBytes {
		return l.write(t.addSlab(s, roundPages(size), false), key, value)
	}
	if !l.fits(size) {
		t.addSlab(s, l.slabFor(size), true)
	}
	return l.write(l.open, key, value)
}

// addSlab gives a shard memory, where records are appended from then on if it is to be open.
func (t *Table) addSlab(s *shard, size int, open bool) (number uint32) {
	mem := t.arena.alloc(size)
	t.applying.Lock()
	s.mu.Lock()
	number = s.slabs.add(mem)
	if open {
		s.slabs.open = number
	}
	s.mu.Unlock()
	t.applying.Unlock()
	return number
}

// resize replaces a shard's slots by more or fewer.
func (t *Table) resize(s *shard, size int) {
	slots := s.rehash(t.arena, size)
	t.applying.Lock()
	s.mu.Lock()
	old := s.slots
	s.setSlots(slots)
	s.mu.Unlock()
	t.applying.Unlock()
	freeSlots(t.arena, old)
}

// tidy keeps a shard's memory in proportion to what is alive in it.
func (t *Table) tidy(s *shard) {
	if len(s.slots) > minSlots && s.count < len(s.slots)/8 {
		t.resize(s, s.slotsFor(2*s.count))
	}
	t.collect(s)
}

// collect compacts slabs until the shard holds no more dead records than it may.
func (t *Table) collect(s *shard) {
	for s.slabs.dead > s.slabs.allowedDead() {
		t.compact(s, s.slabs.worst())
	}
}

// move is a record's way to another slab.
type move struct {
	slot int
	to   uint64 // what the slot is to be
}

// compact moves what is alive in slab n to the open one, or to a new one if it is that itself, and frees it.
func (t *Table) compact(s *shard, n uint32) {
	if n == s.slabs.open {
		t.applying.Lock()
		s.slabs.open = 0
		t.applying.Unlock()
	}
	var moves []move
	mem, used := s.slabs.mem[n], int(s.slabs.use[n].used)
	for at := 0; at < used; {
		r := record(mem[at:])
		tag := t.hash(unsafeString(r.key())) >> tagShift << tagShift
		place := uint64(n)<<offsetBits | uint64(at/recordAlign)
		if slot := s.slotOf(tag | place); slot >= 0 {
			moves = append(moves, move{slot: slot, to: tag | t.store(s, r.key(), r.value())})
		}
		at += r.size()
	}
	t.applying.Lock()
	s.mu.Lock()
	for _, m := range moves {
		s.slots[m.slot] = m.to
	}
	s.slabs.drop(n)
	s.mu.Unlock()
	t.applying.Unlock()
	t.arena.free(mem)
}
