package table

// DueSweep takes keys that are due together in the order of their records. When
// a large part of a shard falls due in one millisecond, the order of the index
// would lead from one end of the shard's memory to the other, and leave each
// slab half empty, to be compacted again and again. A sweep goes through slab
// after slab, and each one is free when its keys are deleted.
//
// The goroutine that applies changes owns it. The zero value is ready.
//
// A sweep is no list: it may miss keys, such as those whose records were moved
// meanwhile. The index has them, so they are found in its order afterwards.
type DueSweep struct {
	shard  int                // that is being swept
	milli  uint64             // of the keys to take
	slab   int                // number of the slab under way, 0 before the first sweep
	serial uint32             // of that slab: another one may have its number by now
	at     int                // where it goes on in that slab
	swept  [shardCount]uint64 // by shard: the millisecond after the last one that it was swept for
}

const (
	// A shard is swept if at least minSwept of its keys are due in one
	// millisecond, and 1/sweptShare of all its keys.
	minSwept   = 512
	sweptShare = 4
)

// DueKeys is [Table.DueKeys] in another order within a millisecond. It returns
// no key if none is due or too few fall due together. No key may be held, see
// [Table.Hold].
func (d *DueSweep) DueKeys(t *Table, now int64, most, bytes int) (keys []string) {
	t.sortLoaded()
	if t.soonest.Load() > now {
		return nil
	}
	t.applying.RLock()
	defer t.applying.RUnlock()
	for full := false; !full && d.begin(t, now); {
		if keys, full = d.take(t, keys, most, &bytes); !full {
			d.swept[d.shard], d.slab = d.milli+1, 0
		}
	}
	return keys
}

// begin goes on with the sweep under way, or begins one of a shard that has the
// earliest deadline. It reports whether there is one.
func (d *DueSweep) begin(t *Table, now int64) bool {
	milli := t.soonestMilli()
	if latest(firstWord(milli)) > now {
		return false // not all of the millisecond are due
	}
	if d.slab > 0 && d.milli == milli {
		return true
	}
	for i := range t.shards {
		if d.swept[i] != milli+1 && t.shards[i].isWorthSweeping(milli) {
			d.shard, d.milli, d.slab, d.serial, d.at = i, milli, 1, 0, 0
			return true
		}
	}
	return false
}

// soonestMilli returns the earliest millisecond of a deadline. The caller must
// hold applying.
func (t *Table) soonestMilli() uint64 {
	first := uint64(endOfDue)
	for i := range t.shards {
		if leaves := t.shards[i].deadlines.leaves; len(leaves) > 0 {
			first = min(first, leaves[0].first)
		}
	}
	return wordMilli(first)
}

// isWorthSweeping reports whether many deadlines are in a millisecond. None may
// be in an earlier one.
func (s *shard) isWorthSweeping(milli uint64) bool {
	x := &s.deadlines
	n := x.sum(max(x.leavesBefore(firstWord(milli+1))-1, 0)) // all but those of the last leaf
	return n >= max(minSwept, s.count/sweptShare)
}

// take appends the keys of the slabs that come next, until there are most of
// them, with about so many bytes; full says that there are.
func (d *DueSweep) take(t *Table, keys []string, most int, bytes *int) (all []string, full bool) {
	s := &t.shards[d.shard]
	for ; d.slab < len(s.slabs.mem); d.slab, d.at = d.slab+1, 0 {
		use := &s.slabs.use[d.slab]
		if use.serial != d.serial {
			d.serial, d.at = use.serial, 0
		}
		for d.at < int(use.used) {
			place := uint64(d.slab)<<offsetBits | uint64(d.at/recordAlign)
			r := s.slabs.at(place)
			if d.wants(r) && (use.dead == 0 || t.isLive(s, r, place)) {
				key := r.key()
				if len(keys) == most || len(keys) > 0 && *bytes < len(key) {
					return keys, true
				}
				keys, *bytes = append(keys, string(key)), *bytes-len(key)
			}
			d.at += r.size()
		}
	}
	return keys, false
}

// wants reports whether a record is that of a key to take, unless it is dead.
func (d *DueSweep) wants(r record) bool {
	deadline := r.deadline()
	return deadline != 0 && milliOf(deadline) == d.milli
}

// isLive reports whether a slot leads to a record at a place.
func (t *Table) isLive(s *shard, r record, place uint64) bool {
	return s.slotOf(t.hash(unsafeString(r.key()))>>tagShift<<tagShift|place) >= 0
}
