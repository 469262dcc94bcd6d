package table

import (
	"math/bits"
	"sync"
)

// A slot is a word of an open-addressed hash table with linear probing (Knuth,
// The Art of Computer Programming 3, 6.4). It consists of the upper bits of the
// key's hash, which also say where the search for the key begins, and the place
// of the record. Zero is an empty slot, and no other slot is zero, because
// there is no slab 0. Growing the table does not touch the records, because the
// slots contain the hash bits.
const (
	tagBits   = 28
	placeBits = 64 - tagBits // in units of recordAlign: 2^36 * 8 B = 512 GiB a shard
	placeMask = 1<<placeBits - 1
	tagShift  = placeBits

	minSlots = 8
	maxSlots = 1 << tagBits

	// leanSteps is how many different loads there are at which shards grow.
	leanSteps = 8
)

// shard is one part of the table. mu guards its fields in this sense: only the
// goroutine that applies changes writes them, and it may read them without mu.
// It holds mu to write what readers read.
type shard struct {
	mu      sync.RWMutex
	slots   []uint64 // a power of two of them
	shift   uint     // tag >> shift is where the search for a key begins
	slabs   slabs
	history historyIndex // of the versions that open views need
	_       [64]byte     // keeps the locks of neighbours out of a reader's cache line

	deadlines deadlines // guarded by the table's applying, and not by mu

	// Owned by the goroutine that applies changes.
	lean     int        // immutable: how many 64ths of the slots stay empty beyond a quarter; below leanSteps
	count    int        // slots in use
	expiring int        // of these, those of keys that have a deadline
	staged   int        // records without a slot yet
	loading  sync.Mutex // held while a goroutine loads the shard, because several may call Load at the same time
}

func (s *shard) setSlots(slots []uint64) {
	s.slots = slots
	s.shift = uint(tagBits - bits.TrailingZeros(uint(len(slots))))
}

// maxLoad returns how many of slots slots may be in use. That is 3/4 at most: a
// search then looks at 2.5 slots on average if the key is present and at 8.5 if
// it is absent, mostly in one cache line. Other shards use less. All shards
// have about as many keys, so with one load all would double their slots at
// about the same time, and ask for memory faster than the system can provide
// it.
func (s *shard) maxLoad(slots int) int { return slots / 8 * (6*leanSteps - s.lean) / leanSteps }

// home returns the slot where the search for a key with this slot's tag begins.
func (s *shard) home(slot uint64) int { return int(slot >> tagShift >> s.shift) }

// next returns the slot that a search looks at after i.
func (s *shard) next(i int) int { return (i + 1) & (len(s.slots) - 1) }

// find returns the slot and the record of a key, -1 and nil if it is absent.
func (s *shard) find(hash uint64, key string) (slot int, r record) {
	slots := s.slots
	mask := len(slots) - 1
	for i := int(hash >> tagShift >> s.shift); ; i++ {
		slot := slots[i&mask]
		if slot == 0 {
			return -1, nil
		}
		if slot>>tagShift == hash>>tagShift {
			if r := s.slabs.at(slot & placeMask); string(r.key()) == key {
				return i & mask, r
			}
		}
	}
}

// likely returns the content of the first slot with this hash's tag, 0 if there
// is none.
func (s *shard) likely(hash uint64) uint64 {
	for i := s.home(hash); ; i = s.next(i) {
		if slot := s.slots[i]; slot == 0 || slot>>tagShift == hash>>tagShift {
			return slot
		}
	}
}

// findAt returns the record of a key, nil if it is absent. slot must be the
// result of likely for its hash.
func (s *shard) findAt(slot, hash uint64, key string) record {
	if slot == 0 {
		return nil
	}
	if r := s.slabs.at(slot & placeMask); string(r.key()) == key {
		return r
	}
	_, r := s.find(hash, key)
	return r
}

// insert adds the slot of a key that is absent.
func (s *shard) insert(slot uint64) {
	i := s.home(slot)
	for s.slots[i] != 0 {
		i = s.next(i)
	}
	s.slots[i] = slot
	s.count++
}

// remove empties slot i and moves back the slots after it that a search would
// no longer find (Knuth's algorithm R), so that no tombstones accumulate.
func (s *shard) remove(i int) {
	s.count--
	for j := s.next(i); s.slots[j] != 0; j = s.next(j) {
		home := s.home(s.slots[j])
		// The search for j's key, from its home to j and around the end, does
		// not pass i, so j stays.
		if distance := (j - home) & (len(s.slots) - 1); distance < (j-i)&(len(s.slots)-1) {
			continue
		}
		s.slots[i] = s.slots[j]
		i = j
	}
	s.slots[i] = 0
}

// findStaged is find for an operation that was staged. Usually the slot found
// then is unchanged. An unchanged slot leads to the same record, because no
// place is used again before the group is published.
func (s *shard) findStaged(o *staged, hash uint64, key string) (slot int, r record) {
	if o.index >= 0 && o.index < len(s.slots) && s.slots[o.index] == o.slot {
		return o.index, s.slabs.at(o.slot & placeMask)
	}
	return s.find(hash, key)
}

// changed is what an operation has changed beside a key's slot and record.
type changed struct {
	grown         int    // by how many keys the shard grew
	freed         []byte // memory that no slot leads to any more
	before, after int64  // the key's deadline
}

// expiring returns by how many the keys that have a deadline have grown.
func (c *changed) expiring() (n int) {
	if c.before != 0 {
		n--
	}
	if c.after != 0 {
		n++
	}
	return n
}

// change carries out one operation that was staged.
func (s *shard) change(op *Op, hash uint64, o *staged) (c changed) {
	slot, r := s.findStaged(o, hash, unsafeString(op.Key))
	place, entry := o.place, hash>>tagShift<<tagShift|o.place
	if slot >= 0 && s.expiring > 0 { // a look at the record would take longer than all the rest
		c.before = r.deadline()
	}
	switch {
	case place == 0 && slot < 0: // a key that is absent is deleted or touched
		return c
	case op.Delete:
		c.freed = s.slabs.discard(s.slots[slot] & placeMask)
		s.remove(slot)
		c.grown = -1
		return c
	case place == 0 && op.Touch:
		r.setDeadline(op.Deadline)
	case place == 0:
		r.setValue(op.Value)
		if op.Deadline != 0 {
			r.addDeadline(op.Deadline)
		}
	case slot < 0:
		s.insert(entry)
		c.grown = 1
	default:
		c.freed = s.slabs.discard(s.slots[slot] & placeMask)
		s.slots[slot] = entry
	}
	c.after = op.Deadline
	return c
}

// slotOf returns the index of the slot with exactly this content, -1 if there
// is none.
func (s *shard) slotOf(slot uint64) int {
	for i := s.home(slot); s.slots[i] != 0; i = s.next(i) {
		if s.slots[i] == slot {
			return i
		}
	}
	return -1
}

// rehash returns the shard's slots in a table of another size. The slots are
// inserted in the order of their homes, so each finds an empty slot nearby.
func (s *shard) rehash(a *arena, size int) []uint64 {
	grown := shard{}
	grown.setSlots(allocSlots(a, size))
	for _, slot := range s.slots {
		if slot != 0 {
			grown.insert(slot)
		}
	}
	return grown.slots
}

// slotsFor returns how many slots are needed for this many keys.
func (s *shard) slotsFor(keys int) int {
	n := minSlots
	for s.maxLoad(n) < keys && n < maxSlots {
		n *= 2
	}
	return n
}

// allocSlots returns n empty slots. Fewer than a page of them come from Go's
// heap.
func allocSlots(a *arena, n int) []uint64 {
	if n*8 < pageBytes {
		return make([]uint64, n)
	}
	slots := words(a.alloc(n * 8))
	clear(slots)
	return slots
}

// freeSlots frees slots from allocSlots.
func freeSlots(a *arena, slots []uint64) {
	if len(slots)*8 >= pageBytes {
		a.free(wordBytes(slots))
	}
}
