package table

import (
	"math/bits"
	"sync"
)

// A slot is a word of an open-addressed hash table with linear probing (Knuth, The Art of Computer Programming 3, 6.4): the
// upper bits of the key's hash, which also say where the search for it begins, and the record's place. Zero is an empty
// slot, since there is no slab 0. Growing needs no look at the records, since the hash bits are here.
const (
	tagBits   = 28
	placeBits = 64 - tagBits // in units of recordAlign: 2^36 * 8 B = 512 GiB a shard
	placeMask = 1<<placeBits - 1
	tagShift  = placeBits

	minSlots = 8
	maxSlots = 1 << tagBits

	// leanSteps is how many shards, one after the other, grow at different loads.
	leanSteps = 8
)

// shard is one part of the table. Its fields are guarded by mu, in this sense: the goroutine that applies changes
// is the only one to write and may read without mu; it holds mu to write what readers look at.
type shard struct {
	mu    sync.RWMutex
	slots []uint64 // a power of two of them
	shift uint     // tag >> shift is where the search for a key begins
	slabs slabs
	// Old states by key, oldest first; nil if no view is open that may need one.
	history map[string][]oldVersion
	_       [64]byte // keeps neighbours' locks out of a reader's cache line

	// The writer's alone.
	lean    int        // immutable: how many parts in 64 of the slots stay empty, beyond a quarter; below leanSteps
	count   int        // slots taken
	staged  int        // records written for which there is no slot yet
	loading sync.Mutex // held by the goroutine that loads the shard, while nobody reads and several load
}

func (s *shard) setSlots(slots []uint64) {
	s.slots = slots
	s.shift = uint(tagBits - bits.TrailingZeros(uint(len(slots))))
}

// maxLoad is how many of so many slots may be taken: 3/4, where a search looks at 2.5 slots on average if the key is there and
// at 8.5 if it is not, mostly in one cache line; and in other shards less. All have about as many keys, and would all ask for twice their slots
// at about the same time, faster than memory is to be had.
func (s *shard) maxLoad(slots int) int { return slots / 8 * (6*leanSteps - s.lean) / leanSteps }

// home returns the slot where the search for a key with this slot's tag begins.
func (s *shard) home(slot uint64) int { return int(slot >> tagShift >> s.shift) }

// next returns the slot looked at after i.
func (s *shard) next(i int) int { return (i + 1) & (len(s.slots) - 1) }

// find returns the slot of a key, -1 if it is absent, and its record.
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

// likely returns the first slot with the upper bits of this hash, 0 if there is none.
func (s *shard) likely(hash uint64) uint64 {
	for i := s.home(hash); ; i = s.next(i) {
		if slot := s.slots[i]; slot == 0 || slot>>tagShift == hash>>tagShift {
			return slot
		}
	}
}

// findAt returns the record of a key, nil if it is absent; slot is what likely returns for its hash.
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

// insert puts a slot for a key that is absent.
func (s *shard) insert(slot uint64) {
	i := s.home(slot)
	for s.slots[i] != 0 {
		i = s.next(i)
	}
	s.slots[i] = slot
	s.count++
}

// remove empties slot i and moves those behind it that would no longer be found (Knuth's algorithm R), so that no tombstones
// pile up.
func (s *shard) remove(i int) {
	s.count--
	for j := s.next(i); s.slots[j] != 0; j = s.next(j) {
		home := s.home(s.slots[j])
		// Between its home and where it is, going round, j's search does not pass i: it stays.
		if distance := (j - home) & (len(s.slots) - 1); distance < (j-i)&(len(s.slots)-1) {
			continue
		}
		s.slots[i] = s.slots[j]
		i = j
	}
	s.slots[i] = 0
}

// findStaged is find for an operation that was staged: what was found then is still there, mostly. A slot that is the same as then leads to
// the same record, since no place is used again before the group is published.
func (s *shard) findStaged(o *staged, hash uint64, key string) (slot int, r record) {
	if o.index >= 0 && o.index < len(s.slots) && s.slots[o.index] == o.slot {
		return o.index, s.slabs.at(o.slot & placeMask)
	}
	return s.find(hash, key)
}

// change carries out one operation that was staged. It returns by how many keys the shard grew, and memory that nothing leads to any
// more.
func (s *shard) change(op *Op, hash uint64, o *staged) (grown int, freed []byte) {
	slot, r := s.findStaged(o, hash, unsafeString(op.Key))
	place, entry := o.place, hash>>tagShift<<tagShift|o.place
	switch {
	case place == 0 && slot < 0: // deleted, and was not there
		return 0, nil
	case op.Delete:
		freed = s.slabs.discard(s.slots[slot] & placeMask)
		s.remove(slot)
		return -1, freed
	case place == 0:
		r.setValue(op.Value)
		return 0, nil
	case slot < 0:
		s.insert(entry)
		return 1, nil
	}
	freed = s.slabs.discard(s.slots[slot] & placeMask)
	s.slots[slot] = entry
	return 0, freed
}

// slotOf returns the slot that holds exactly this one, -1 if none does.
func (s *shard) slotOf(slot uint64) int {
	for i := s.home(slot); s.slots[i] != 0; i = s.next(i) {
		if s.slots[i] == slot {
			return i
		}
	}
	return -1
}

// rehash returns the shard's slots in a table of another size. In order of their home, one may follow the other without any
// searching far.
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

// slotsFor returns how many slots so many keys need.
func (s *shard) slotsFor(keys int) int {
	n := minSlots
	for s.maxLoad(n) < keys && n < maxSlots {
		n *= 2
	}
	return n
}

// Slots of less than a page come from Go's heap.

func allocSlots(a *arena, n int) []uint64 {
	if n*8 < pageBytes {
		return make([]uint64, n)
	}
	slots := words(a.alloc(n * 8))
	clear(slots)
	return slots
}

func freeSlots(a *arena, slots []uint64) {
	if len(slots)*8 >= pageBytes {
		a.free(wordBytes(slots))
	}
}
