package table

import (
	"math"
	"slices"
	"sync/atomic"
)

// This file changes the table. Readers wait only while slots are switched.
// Everything that takes longer, such as copying records, growing and
// compacting, is done before that, in memory that no slot leads to yet.

const (
	// sliceOps bounds the operations that are published before readers of all
	// shards get a turn. A commit is never split.
	sliceOps = 256

	// maxInPlaceBytes is the largest record that is overwritten in place, under
	// its shard's lock. That takes a fraction of a microsecond.
	maxInPlaceBytes = 1 << 10

	// maxKeptOps keeps the memory of one huge batch from staying for ever.
	maxKeptOps = 64 << 10

	// pauseOps is the number of operations between two calls of pause. Staging
	// them takes some hundred microseconds.
	pauseOps = 256

	// A group of at least sharedOps operations is staged in sharedParts parts,
	// so that several goroutines can share the work. All parts cover the same
	// number of shards.
	sharedOps   = 512
	sharedParts = 16
)

// work is what the goroutine that applies changes reuses between calls, to
// avoid allocations. From Begin to Publish it describes one group. Goroutines
// that call Stage only read it, except for next, for the parts that they have
// taken, and for the elements of staged that belong to those parts.
type work struct {
	commits  []Commit
	ops      []*Op // of all commits
	hashes   []uint64
	order    []int32  // indices into ops, part by part
	ranks    []int32  // the place of each operation in order
	staged   []staged // the result for each operation, in that order
	parts    []part
	next     atomic.Int32 // the first part that no goroutine has taken
	garbage  [][]byte     // memory to free when no lock is held
	volatile bool         // some operations set a deadline
	moved    bool         // the slice that is being published changes deadlines
	index    *index       // the index that Stage announces the commits to; nil if there was none in Begin
}

// part is the operations of a group on some of the shards, and the result of
// staging them. One goroutine at a time works on a part.
type part struct {
	from, to int                 // range in order
	doomed   map[uint64]struct{} // records that a staged operation replaces or deletes, by place and shard
	fresh    [][]byte            // keys that are not in the table, for the index
}

// staged is what Stage has found and done for one operation.
type staged struct {
	place uint64 // of the new record, 0 if none is needed
	index int    // of the slot of the key's current record, -1 if there is none
	slot  uint64 // the content of that slot
}

// Apply makes commits visible, one after the other.
func (t *Table) Apply(commits []Commit) {
	t.Begin(commits)
	t.Stage(func() {})
	t.Publish()
}

// Begin takes a group of commits to stage. The last group must have been
// published: what was staged of a group that fails stays in memory, so the
// table takes no other one.
func (t *Table) Begin(commits []Commit) {
	w, touches, writes := t.work, false, false
	w.volatile = false
	w.commits, w.ops, w.hashes = commits, w.ops[:0], w.hashes[:0]
	for _, c := range commits {
		for i := range c.Ops {
			w.ops = append(w.ops, &c.Ops[i])
			w.hashes = append(w.hashes, t.hash(unsafeString(c.Ops[i].Key)))
			touches, writes = touches || c.Ops[i].Touch, writes || !c.Ops[i].Touch
			w.volatile = w.volatile || c.Ops[i].Deadline != 0
		}
	}
	if touches && writes {
		w.resolveTouches()
	}
	w.index = t.index.Load()
	w.split()
	w.next.Store(0)
}

// resolveTouches replaces each operation that touches a key which the group has
// written before. It sets what the group has set, with the new deadline, or
// deletes what the group has deleted. The others touch keys of the table.
func (w *work) resolveTouches() {
	touched := map[string]*Op{} // the last write of each key that is touched
	for _, op := range w.ops {
		if op.Touch {
			touched[unsafeString(op.Key)] = nil
		}
	}
	for i, op := range w.ops {
		last, ok := touched[unsafeString(op.Key)]
		switch {
		case !ok || op.Touch && last == nil:
			continue
		case op.Touch && last.Delete:
			op = last
		case op.Touch:
			op = &Op{Key: op.Key, Value: last.Value, Deadline: op.Deadline}
		}
		w.ops[i], touched[unsafeString(op.Key)] = op, op
	}
}

// split orders the operations and divides them into parts.
func (w *work) split() {
	n := len(w.ops)
	w.order = slices.Grow(w.order[:0], n)[:n]
	w.ranks = slices.Grow(w.ranks[:0], n)[:n]
	w.staged = slices.Grow(w.staged[:0], n)[:n]
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

// setParts makes one part of each range between two neighbouring bounds.
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

// Stage does the part of applying the group that takes time and that no reader
// sees: it writes records to slabs and makes room for their slots. Several
// goroutines may call Stage at the same time to share the work. After all of
// them have returned, the caller must call Publish, or change the table no
// more. Stage calls pause every pauseOps operations.
func (t *Table) Stage(pause func()) {
	w := t.work
	for n := int(w.next.Add(1)) - 1; n < len(w.parts); n = int(w.next.Add(1)) - 1 {
		t.stagePart(&w.parts[n], pause)
	}
}

// stagePart stages the operations of one part. It works on one window of
// operations at a time, so that their cache misses overlap.
func (t *Table) stagePart(p *part, pause func()) {
	w := t.work
	var window [windowKeys]uint64
	for at := p.from; at < p.to; at += windowKeys {
		order := w.order[at:min(at+windowKeys, p.to)]
		for i, n := range order {
			window[i] = w.hashes[n]
		}
		op := w.ops[order[0]]
		t.usual.Store(int64(recordBytes(len(op.Key), len(op.Value), op.Deadline)))
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

// stageOp writes the record for op, unless op needs none or can overwrite the
// current record.
func (t *Table) stageOp(p *part, op *Op, hash uint64) staged {
	s := t.shardOf(hash)
	slot, r := s.find(hash, unsafeString(op.Key))
	if slot < 0 && (op.Delete || op.Touch) { // an earlier operation of the group may still add a deleted key
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
	s.staged++ // also for a replaced key: one operation may delete it and the next one add it again
	found.place = t.store(s, op.pair(r))
	return found
}

// overwritable reports whether op can be carried out in r. A large record is
// copied even if only its deadline changes: it becomes a view's.
func overwritable(r record, op *Op) bool {
	size := r.size()
	if op.Touch {
		return size <= maxPackedBytes && (r.isVolatile() || op.Deadline == 0)
	}
	return size <= maxInPlaceBytes && size == recordBytes(len(op.Key), len(op.Value), op.Deadline)
}

// pair returns the pair that is there after op. r is the record before, nil if
// the key is absent.
func (op *Op) pair(r record) Pair {
	p := Pair{Key: op.Key, Value: op.Value, Deadline: op.Deadline}
	if op.Touch {
		p.Value = r.value()
	}
	return p
}

// Publish makes the staged commits visible, one after the other.
func (t *Table) Publish() {
	t.sortLoaded()
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

// dropGroup drops the references to the group's bytes.
func (w *work) dropGroup() {
	w.commits = nil
	clear(w.ops)
	for i := range w.parts {
		clear(w.parts[i].fresh)
	}
}

// publishSlice publishes a few commits with the operations from first to last.
// Meanwhile MultiGet, scans and View wait.
func (t *Table) publishSlice(commits []Commit, first, last int) {
	for at := first; at < last; at += windowKeys {
		t.touchSlots(t.work.hashes[at:min(at+windowKeys, last)]) // they may have left the cache since Stage
	}
	t.reserveHistory(first, last)
	t.reserveDeadlines(first, last)
	t.applying.Lock()
	t.catchUpIndex(commits)
	for _, c := range commits {
		t.publishCommit(c, first)
		first += len(c.Ops)
	}
	if t.work.moved {
		t.raiseSoonest()
	}
	t.applying.Unlock()
	if t.work.moved {
		t.leaves.tidy()
		t.work.moved = false
	}
	for _, mem := range append(t.work.garbage, t.history.unreserve()...) {
		t.arena.free(mem)
	}
	t.work.garbage = t.work.garbage[:0]
}

// catchUpIndex announces commits to an index that did not exist when they were
// staged. The caller must hold applying.
func (t *Table) catchUpIndex(commits []Commit) {
	x := t.index.Load()
	if x == t.work.index || x == nil {
		return
	}
	var keys [][]byte
	for _, c := range commits {
		for i := range c.Ops {
			if !c.Ops[i].Delete && !c.Ops[i].Touch {
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

// tidyTouched tidies the shards that the group has changed.
func (t *Table) tidyTouched() {
	var touched touchedShards
	for _, hash := range t.work.hashes {
		touched.add(hash)
	}
	now := int64(math.MinInt64)
	if t.soonest.Load() != noDeadline {
		now = t.Now()
	}
	for i := range touched.all {
		t.shards[i].staged = 0
		t.tidy(&t.shards[i], t.soonests[i] <= now)
	}
}

// publishCommit publishes one commit. first is the index of its first operation
// in the group. All of its shards are locked before the first change and
// unlocked after the last one, always in the same order.
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

// publishOp publishes operation n and returns by how many keys the table grew.
// The caller must hold the shard's lock.
func (t *Table) publishOp(s *shard, n int, version int64) (grown int) {
	op, hash, staged := t.work.ops[n], t.work.hashes[n], &t.work.staged[t.work.ranks[n]]
	slab := false // a view still needs the slab of a large record
	if t.views.newest.Load() >= 0 {
		if slot, r := s.find(hash, unsafeString(op.Key)); slot >= 0 || !op.Delete && !op.Touch {
			slab = t.retain(s, hash, op.Key, r, version)
		}
	}
	c := s.change(op, hash, staged)
	if c.freed != nil && !slab {
		t.work.garbage = append(t.work.garbage, c.freed)
	}
	if c.before != c.after {
		t.moveDeadline(int(hash%shardCount), hash, c)
		t.work.moved = true
	}
	return c.grown
}

// store writes a record that no slot leads to yet.
func (t *Table) store(s *shard, p Pair) (place uint64) {
	l := &s.slabs
	size := recordBytes(len(p.Key), len(p.Value), p.Deadline)
	if size > maxPackedBytes {
		return l.write(t.addSlab(s, roundPages(size), false), p)
	}
	if !l.fits(size) {
		t.addSlab(s, l.slabFor(size), true)
	}
	return l.write(l.open, p)
}

// addSlab gives a shard a new slab. If open is set, following records are
// appended to it.
func (t *Table) addSlab(s *shard, size int, open bool) (number uint32) {
	mem, rest := t.arena.alloc(size), []byte(nil)
	t.applying.Lock()
	s.mu.Lock()
	if open && s.slabs.open != 0 {
		rest = s.slabs.trim()
	}
	number = s.slabs.add(mem)
	if open {
		s.slabs.open = number
	}
	s.mu.Unlock()
	t.applying.Unlock()
	if len(rest) > 0 {
		t.arena.free(rest)
	}
	return number
}

// resize gives a shard a table of size slots.
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

// tidy keeps a shard's memory in proportion to its live records.
// hasDue says that many of its keys may be about to be deleted.
func (t *Table) tidy(s *shard, hasDue bool) {
	t.shrink(s)
	t.collect(s, hasDue)
}

// shrink gives a shard fewer slots if it has far more than it needs.
func (t *Table) shrink(s *shard) {
	if len(s.slots) > minSlots && s.count < len(s.slots)/8 {
		t.resize(s, s.slotsFor(2*s.count))
	}
}

// collect compacts slabs until the shard has no more dead bytes than allowed.
func (t *Table) collect(s *shard, hasDue bool) {
	for s.slabs.dead > s.slabs.allowedDead(hasDue) {
		t.compact(s, s.slabs.worst())
	}
}

// move is the move of a record to another slab.
type move struct {
	slot int    // index of the record's slot
	to   uint64 // new content of that slot
}

// compact moves the live records of slab n to the open slab and frees slab n.
// If n is the open slab itself, the records move to a new one.
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
			moves = append(moves, move{slot: slot, to: tag | t.store(s, r.pair())})
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
