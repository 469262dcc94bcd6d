package table

import "slices"

// This file is how the table changes. Readers wait only while slots are switched: everything that takes time, copying records,
// growing, compacting, is done on the side before, in memory that no slot leads to yet.

const (
	// sliceOps is how many operations are applied before readers of all shards get a turn. A commit is never split.
	sliceOps = 256

	// maxInPlaceBytes is the largest record that is overwritten where it lies, under its shard's lock, which takes a
	// fraction of a microsecond.
	maxInPlaceBytes = 1 << 10

	// maxKeptOps keeps the room for one huge batch from staying for ever.
	maxKeptOps = 64 << 10
)

// work is what the goroutine that applies changes keeps between calls, to spare allocations.
type work struct {
	hashes  []uint64
	places  []uint64            // of records written for the operations; 0 for none
	doomed  map[uint64]struct{} // records that an operation of the slice replaces or deletes: place and shard
	garbage [][]byte            // memory that is free, to be given back when no lock is held
}

// Apply makes commits visible, one after the other.
func (t *Table) Apply(commits []Commit) {
	for len(commits) > 0 {
		n, ops := 0, 0
		for n < len(commits) && (n == 0 || ops+len(commits[n].Ops) <= sliceOps) {
			ops += len(commits[n].Ops)
			n++
		}
		t.applySlice(commits[:n])
		commits = commits[n:]
	}
	if cap(t.work.hashes) > maxKeptOps {
		t.work = work{doomed: map[uint64]struct{}{}}
	}
}

// applySlice applies a few commits in three steps, of which readers notice the second.
func (t *Table) applySlice(commits []Commit) {
	touched := t.stage(commits)
	t.publish(commits)
	for _, mem := range t.work.garbage {
		t.arena.free(mem)
	}
	t.work.garbage = t.work.garbage[:0]
	for i := range touched.all {
		t.shards[i].staged = 0
		t.tidy(&t.shards[i])
	}
}

// stage writes the records of commits to slabs and makes room for their slots.
func (t *Table) stage(commits []Commit) (touched touchedShards) {
	w := &t.work
	w.hashes, w.places = w.hashes[:0], w.places[:0]
	clear(w.doomed)
	for _, c := range commits {
		for i := range c.Ops {
			hash := t.hash(text(c.Ops[i].Key))
			w.hashes = append(w.hashes, hash)
			touched.add(hash)
		}
	}
	for window := range slices.Chunk(w.hashes, windowKeys) {
		t.touch(window)
	}
	i := 0
	for _, c := range commits {
		for j := range c.Ops {
			w.places = append(w.places, t.stageOp(&c.Ops[j], w.hashes[i]))
			i++
		}
	}
	return touched
}

// stageOp writes the record for op, unless none is needed or the one that is there can be overwritten.
func (t *Table) stageOp(op *Op, hash uint64) (place uint64) {
	s := t.shardOf(hash)
	slot, r := s.find(hash, text(op.Key))
	if slot < 0 && op.Delete { // an earlier operation of the slice may add the key all the same
		return 0
	}
	if slot >= 0 {
		id := s.slots[slot]&placeMask | hash%shardCount<<placeBits
		_, doomed := t.work.doomed[id]
		if !op.Delete && !doomed && overwritable(r, op) {
			return 0
		}
		t.work.doomed[id] = struct{}{}
		if op.Delete {
			return 0
		}
	}
	if s.count+s.staged >= maxLoad(len(s.slots)) {
		t.resize(s, 2*len(s.slots))
	}
	s.staged++ // for replaced keys too: one operation may delete and the next one add again
	return t.store(s, op.Key, op.Value)
}

// overwritable reports whether op's value can take the place of the one in r.
func overwritable(r record, op *Op) bool {
	size := r.size()
	return size <= maxInPlaceBytes && size == recordBytes(len(op.Key), len(op.Value))
}

// publish shows what was staged. Small commits lock their shards one by one.
func (t *Table) publish(commits []Commit) {
	t.applying.Lock()
	defer t.applying.Unlock()
	hashes, places := t.work.hashes, t.work.places
	for _, c := range commits {
		n := len(c.Ops)
		t.publishCommit(c, hashes[:n], places[:n])
		hashes, places = hashes[n:], places[n:]
	}
}

// publishCommit shows one commit: all its shards are locked before the first change and unlocked after the last, always in
// the same order.
func (t *Table) publishCommit(c Commit, hashes, places []uint64) {
	grown := 0
	if len(c.Ops) == 1 {
		s := t.shardOf(hashes[0])
		s.mu.Lock()
		grown = t.publishOp(s, &c.Ops[0], hashes[0], places[0])
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
		grown += t.publishOp(t.shardOf(hashes[i]), &c.Ops[i], hashes[i], places[i])
	}
	t.length.Add(int64(grown))
	t.version.Store(c.Version)
	for i := range touched.all {
		t.shards[i].mu.Unlock()
	}
}

// publishOp shows one operation, under its shard's lock, and returns by how many keys the table grew.
func (t *Table) publishOp(s *shard, op *Op, hash, place uint64) (grown int) {
	grown, freed := s.change(op, hash, place)
	if freed != nil {
		t.work.garbage = append(t.work.garbage, freed)
	}
	return grown
}

// store writes a record that no slot leads to yet.
func (t *Table) store(s *shard, key, value []byte) (place uint64) {
	l := &s.slabs
	size := recordBytes(len(key), len(value))
	if size > maxPackedBytes {
		return l.write(t.addSlab(s, roundPages(size)), key, value)
	}
	if !l.fits(size) {
		l.open = t.addSlab(s, l.slabFor(size))
	}
	return l.write(l.open, key, value)
}

// addSlab gives a shard memory.
func (t *Table) addSlab(s *shard, size int) (number uint32) {
	mem := t.arena.alloc(size)
	t.applying.Lock()
	s.mu.Lock()
	number = s.slabs.add(mem)
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
		t.resize(s, slotsFor(2*s.count))
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
		s.slabs.open = 0
	}
	var moves []move
	mem, used := s.slabs.mem[n], int(s.slabs.use[n].used)
	for at := 0; at < used; {
		r := record(mem[at:])
		tag := t.hash(text(r.key())) >> tagShift << tagShift
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
