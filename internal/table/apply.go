package table

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
)

// work is what the goroutine that applies changes keeps between calls, to spare allocations.
type work struct {
	hashes  []uint64
	places  []uint64            // of records written for the operations; 0 for none
	doomed  map[uint64]struct{} // records that a staged operation replaces or deletes: place and shard
	garbage [][]byte            // memory that is free, to be given back when no lock is held
	index   *index              // the one that Stage has told of the commits; nil if there was none then
	fresh   [][]byte            // keys of commits that are staged, and are not in the table; for index
}

func newWork() work { return work{doomed: map[uint64]struct{}{}} }

// Apply makes commits visible, one after the other.
func (t *Table) Apply(commits []Commit) {
	t.Stage(commits)
	t.Publish(commits)
}

// Stage does what takes time of applying commits, and what no reader sees: it writes their records to slabs and makes room
// for their slots. The next call must be Publish with the same commits, or none at all.
func (t *Table) Stage(commits []Commit) {
	w := &t.work
	w.hashes, w.places = w.hashes[:0], w.places[:0]
	clear(w.doomed)
	for _, c := range commits {
		for i := range c.Ops {
			w.hashes = append(w.hashes, t.hash(text(c.Ops[i].Key)))
		}
	}
	w.index, w.fresh = t.index.Load(), w.fresh[:0]
	at := 0 // the number of hashes that were brought into the cache
	for _, c := range commits {
		for i := range c.Ops {
			if n := len(w.places); n == at {
				at = min(n+windowKeys, len(w.hashes))
				t.usual.Store(int64(recordBytes(len(c.Ops[i].Key), len(c.Ops[i].Value))))
				t.touch(w.hashes[n:at])
			}
			w.places = append(w.places, t.stageOp(&c.Ops[i], w.hashes[len(w.places)]))
		}
	}
	if w.index != nil {
		w.index.stage(w.fresh)
	}
}

// stageOp writes the record for op, unless none is needed or the one that is there can be overwritten.
func (t *Table) stageOp(op *Op, hash uint64) (place uint64) {
	s := t.shardOf(hash)
	slot, r := s.find(hash, text(op.Key))
	if slot < 0 && op.Delete { // an earlier operation may add the key all the same
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
	if slot < 0 && t.work.index != nil {
		t.work.fresh = append(t.work.fresh, op.Key)
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

// Publish makes commits visible that were staged, one after the other.
func (t *Table) Publish(commits []Commit) {
	all, hashes, places := commits, t.work.hashes, t.work.places
	for len(commits) > 0 {
		n, ops := 0, 0
		for n < len(commits) && (n == 0 || ops+len(commits[n].Ops) <= sliceOps) {
			ops += len(commits[n].Ops)
			n++
		}
		t.publishSlice(commits[:n], hashes[:ops], places[:ops])
		commits, hashes, places = commits[n:], hashes[ops:], places[ops:]
	}
	t.tidyTouched()
	if x := t.index.Load(); x != nil {
		x.published(t, deletedKeys(all))
		clear(t.work.fresh)
	}
	if cap(t.work.hashes) > maxKeptOps {
		t.work = newWork()
	}
}

// publishSlice shows a few commits, during which MultiGet, scans and those who open views wait.
func (t *Table) publishSlice(commits []Commit, hashes, places []uint64) {
	for at := 0; at < len(hashes); at += windowKeys {
		t.touchSlots(hashes[at:min(at+windowKeys, len(hashes))]) // they were in the cache in Stage, and much has been since
	}
	t.applying.Lock()
	t.catchIndex(commits)
	for _, c := range commits {
		n := len(c.Ops)
		t.publishCommit(c, hashes[:n], places[:n])
		hashes, places = hashes[n:], places[n:]
	}
	t.applying.Unlock()
	for _, mem := range t.work.garbage {
		t.arena.free(mem)
	}
	t.work.garbage = t.work.garbage[:0]
}

// catchIndex tells an index of commits that were staged before it was there, while applying is held.
func (t *Table) catchIndex(commits []Commit) {
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

// publishCommit shows one commit: all its shards are locked before the first change and unlocked after the last, always in
// the same order.
func (t *Table) publishCommit(c Commit, hashes, places []uint64) {
	grown := 0
	if len(c.Ops) == 1 {
		s := t.shardOf(hashes[0])
		s.mu.Lock()
		grown = t.publishOp(s, &c.Ops[0], hashes[0], places[0], c.Version)
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
		grown += t.publishOp(t.shardOf(hashes[i]), &c.Ops[i], hashes[i], places[i], c.Version)
	}
	t.length.Add(int64(grown))
	t.version.Store(c.Version)
	for i := range touched.all {
		t.shards[i].mu.Unlock()
	}
}

// publishOp shows one operation, under its shard's lock, and returns by how many keys the table grew.
func (t *Table) publishOp(s *shard, op *Op, hash, place uint64, version int64) (grown int) {
	var kept []byte
	if t.views.newest.Load() >= 0 {
		if slot, r := s.find(hash, text(op.Key)); slot >= 0 || !op.Delete {
			kept = t.keep(s, text(op.Key), r, version)
		}
	}
	grown, freed := s.change(op, hash, place)
	if freed != nil && kept == nil {
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
		t.applying.Lock()
		s.slabs.open = 0
		t.applying.Unlock()
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
