package table

// Load applies ops in order to a table that nobody reads yet. Several goroutines may share the work, if they do not share keys.
// Version is that of the last commit in them.
func (t *Table) Load(ops []Op, version int64) {
	hashes := make([]uint64, len(ops))
	for i := range ops {
		hashes[i] = t.hash(text(ops[i].Key))
	}
	grown := 0
	order := byShard(hashes)
	for len(order) > 0 {
		shard := hashes[order[0]] % shardCount
		n := 1
		for n < len(order) && hashes[order[n]]%shardCount == shard {
			n++
		}
		grown += t.loadShard(&t.shards[shard], ops, hashes, order[:n])
		order = order[n:]
	}
	t.length.Add(int64(grown))
	t.version.Store(version)
}

// byShard returns the hashes' indices, shard by shard, and in order within each: a counting sort.
func byShard(hashes []uint64) []int32 {
	var next [shardCount + 1]int32
	for _, hash := range hashes {
		next[hash%shardCount+1]++
	}
	for i := range shardCount {
		next[i+1] += next[i]
	}
	order := make([]int32, len(hashes))
	for i, hash := range hashes {
		order[next[hash%shardCount]] = int32(i)
		next[hash%shardCount]++
	}
	return order
}

// loadShard applies those ops that order lists, all of this shard.
func (t *Table) loadShard(s *shard, ops []Op, hashes []uint64, order []int32) (grown int) {
	s.loading.Lock()
	defer s.loading.Unlock()
	for _, i := range order {
		place := t.place(s, &ops[i], hashes[i])
		more, freed := s.change(&ops[i], hashes[i], place)
		if grown += more; freed != nil {
			t.arena.free(freed)
		}
	}
	t.collect(s)
	return grown
}

// place writes the record that a change needs; 0 if it needs none.
func (t *Table) place(s *shard, op *Op, hash uint64) (place uint64) {
	if op.Delete {
		return 0
	}
	slot, r := s.find(hash, text(op.Key))
	if slot >= 0 && overwritable(r, op) {
		return 0
	}
	if slot < 0 && s.count >= maxLoad(len(s.slots)) {
		t.resize(s, 2*len(s.slots))
	}
	return t.store(s, op.Key, op.Value)
}
