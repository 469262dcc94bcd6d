package table

import (
	"runtime"
	"unsafe"
)

// This file loads into the cache what many lookups will need, so that their
// cache misses overlap. A prefetch is better than a load: a processor waits for
// the oldest of its loads before it is done with what comes behind, and so has
// fewer of them under way.

// maxPrefetchLines is how much of a record is loaded ahead of its use. The
// processor itself notices that longer ones are read from one end to the other.
const maxPrefetchLines = 4

// touch loads into the cache what a lookup of these hashes needs. There must be
// at most windowKeys hashes.
func (t *Table) touch(hashes []uint64) {
	var slots [windowKeys]uint64
	t.locate(&slots, hashes)
}

// locate sets slots to the likely slots of the keys with these hashes. It loads
// the beginnings of their records into the cache, as far as a record of the
// usual size reaches. Any caller but the goroutine that applies changes must
// hold applying.
func (t *Table) locate(slots *[windowKeys]uint64, hashes []uint64) {
	t.touchSlots(hashes)
	for i, hash := range hashes {
		slots[i] = t.shardOf(hash).likely(hash)
	}
	if canPrefetch {
		t.prefetchRecords(slots, hashes)
	} else {
		t.loadRecords(slots, hashes)
	}
}

// touchSlots loads into the cache the slots where the searches for these hashes
// begin.
func (t *Table) touchSlots(hashes []uint64) {
	if !canPrefetch {
		t.loadSlots(hashes)
		return
	}
	var lines [windowKeys]uintptr
	for i, hash := range hashes {
		s := t.shardOf(hash)
		lines[i] = uintptr(unsafe.Pointer(&s.slots[s.home(hash)]))
	}
	prefetch(&lines[0], len(hashes), 1)
}

func (t *Table) prefetchRecords(slots *[windowKeys]uint64, hashes []uint64) {
	var lines [windowKeys]uintptr
	n := 0
	for i, hash := range hashes {
		if slots[i] != 0 {
			r := t.shardOf(hash).slabs.at(slots[i] & placeMask)
			lines[n] = uintptr(unsafe.Pointer(unsafe.SliceData(r)))
			n++
		}
	}
	usual := (t.usual.Load() + lineBytes - 1) / lineBytes
	prefetch(&lines[0], n, int(min(usual, maxPrefetchLines)))
}

// loadSlots is touchSlots without prefetches. The loads of one loop do not
// depend on each other, so a processor has many of them under way, and the
// more, the shorter the loop's body.
func (t *Table) loadSlots(hashes []uint64) {
	sum := uint64(0)
	for _, hash := range hashes {
		s := t.shardOf(hash)
		sum += s.slots[s.home(hash)]
	}
	runtime.KeepAlive(sum) // keeps the compiler from dropping the loads
}

// loadRecords is prefetchRecords without prefetches. It loads the first cache
// line of each record, and of the next two those that a record of the usual
// size reaches.
func (t *Table) loadRecords(slots *[windowKeys]uint64, hashes []uint64) {
	usual := uint64(t.usual.Load())
	sum, second, third := uint64(0), min(usual, lineBytes), min(usual, 2*lineBytes)
	for i, hash := range hashes {
		if slots[i] != 0 {
			l, place := &t.shardOf(hash).slabs, slots[i]&placeMask
			r := l.at(place)
			sum += uint64(r[0])
			// After r, the writer may be appending to the open slab.
			if uint32(place>>offsetBits) != l.open && uint64(len(r)) > third {
				sum += uint64(r[second]) + uint64(r[third])
			}
		}
	}
	runtime.KeepAlive(sum)
}
