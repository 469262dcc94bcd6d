package table

import "runtime"

// parallelOps is how many operations make it worthwhile to use several
// goroutines.
const parallelOps = 8 << 10

// Load applies ops in order to a table that nobody reads or writes yet. If
// there are many ops, all processors help. Several goroutines may call Load at
// the same time if no two of them have a key in common. version is that of the
// last commit in ops. An index that the table has from [Table.UseSorted] stays
// up to date.
func (t *Table) Load(ops []Op, version int64) {
	t.arena.load(1)
	defer t.arena.load(-1)
	hashes := make([]uint64, len(ops))
	for i := range ops {
		hashes[i] = t.hash(unsafeString(ops[i].Key))
	}
	order := make([]int32, len(ops))
	ends := byShard(order, hashes)
	workers := 1
	if len(ops) >= parallelOps {
		workers = runtime.GOMAXPROCS(0)
	}
	share(workers, shardCount, func(_, i int) {
		t.loadShard(&t.shards[i], ops, hashes, order[ends[i]:ends[i+1]])
	})
	t.version.Store(version)
	if x := t.index.Load(); x != nil {
		x.load(t, ops)
	}
}

// byShard sets order to the indices of hashes, sorted by shard and stable
// within each shard (a counting sort). The indices of a shard begin at the
// shard's element of ends and end at the next one.
func byShard(order []int32, hashes []uint64) (ends [shardCount + 1]int32) {
	for _, hash := range hashes {
		ends[hash%shardCount+1]++
	}
	for i := range shardCount {
		ends[i+1] += ends[i]
	}
	next := ends
	for i, hash := range hashes {
		order[next[hash%shardCount]] = int32(i)
		next[hash%shardCount]++
	}
	return ends
}

// loadShard applies the ops that order lists. All of them must belong to this
// shard.
func (t *Table) loadShard(s *shard, ops []Op, hashes []uint64, order []int32) {
	if len(order) == 0 {
		return
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	grown, expiring, deletes := 0, s.expiring, false
	var window [windowKeys]uint64
	for len(order) > 0 {
		n := min(len(order), windowKeys)
		for i, op := range order[:n] {
			window[i] = hashes[op]
		}
		first := &ops[order[0]]
		t.usual.Store(int64(recordBytes(len(first.Key), len(first.Value), first.Deadline)))
		t.touch(window[:n])
		for i, op := range order[:n] {
			staged := t.place(s, &ops[op], window[i])
			deletes = deletes || ops[op].Delete
			c := s.change(&ops[op], window[i], &staged)
			if grown += c.grown; c.freed != nil {
				t.arena.free(c.freed)
			}
			if c.before != c.after {
				s.expiring += c.expiring()
				s.deadlines.stale = true
			}
		}
		order = order[n:]
	}
	if deletes { // the others leave the room that New has made for the keys to come
		t.shrink(s)
	}
	t.collect(s, false)
	t.length.Add(int64(grown))
	t.expiring.Add(int64(s.expiring - expiring))
	if s.deadlines.stale {
		t.stale.Store(true)
	}
}

// place writes the record for op, if op needs one.
func (t *Table) place(s *shard, op *Op, hash uint64) staged {
	slot, r := s.find(hash, unsafeString(op.Key))
	found := staged{index: slot}
	if slot >= 0 {
		found.slot = s.slots[slot]
	}
	if op.Delete || slot < 0 && op.Touch || slot >= 0 && overwritable(r, op) {
		return found
	}
	if slot < 0 && s.count >= s.maxLoad(len(s.slots)) {
		t.resize(s, 2*len(s.slots))
	}
	found.place = t.store(s, op.pair(r))
	return found
}
