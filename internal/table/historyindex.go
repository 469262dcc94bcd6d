package table

import (
	"slices"
	"sort"
)

// historyIndex leads from a key to its newest old version. It is a list of
// slots in the order of their tags, in leaves of up to leafSlots. Inserting
// moves some of the slots of one leaf, so it never takes long, and a leaf has
// little room to spare. The zero index is empty. Its shard's lock guards it.
//
// A slot consists of the upper bits of the key's hash, as those of the table
// do, and of the place of the version.
type historyIndex struct {
	leaves [][]uint64 // none is empty
	firsts []uint32   // the lowest tag that a leaf may have, for each leaf
	bytes  int        // of both
}

const (
	oldTagShift = oldPlaceBits
	oldTagBits  = 64 - oldTagShift
	leafSlots   = 512
)

func (x *historyIndex) isEmpty() bool { return len(x.leaves) == 0 }

// slotAt is where a slot is, or would be inserted: before slot at of a leaf.
type slotAt struct{ leaf, at int }

// seek returns where the slots with this tag begin.
func (x *historyIndex) seek(tag uint64) slotAt {
	leaf := sort.Search(len(x.firsts), func(i int) bool { return uint64(x.firsts[i]) >= tag }) - 1
	if leaf < 0 {
		return slotAt{} // in front of everything
	}
	slots := x.leaves[leaf]
	// Tags are spread evenly.
	from, to := slots[0]>>oldTagShift, slots[len(slots)-1]>>oldTagShift
	at := 0
	switch {
	case tag > to:
		return slotAt{leaf, len(slots)}
	case tag > from:
		at = int((tag - from) * uint64(len(slots)) / (to - from + 1))
	}
	for at > 0 && slots[at-1]>>oldTagShift >= tag {
		at--
	}
	for slots[at]>>oldTagShift < tag {
		at++
	}
	return slotAt{leaf, at}
}

// from iterates over the slots from a place on.
func (x *historyIndex) from(p slotAt) func(func(slotAt, uint64) bool) {
	return func(yield func(slotAt, uint64) bool) {
		for ; p.leaf < len(x.leaves); p = (slotAt{p.leaf + 1, 0}) {
			for ; p.at < len(x.leaves[p.leaf]); p.at++ {
				if !yield(p, x.leaves[p.leaf][p.at]) {
					return
				}
			}
		}
	}
}

// find returns where the slot of a key is, and the place of its newest old
// version; 0 if it has none, and where the slot would be.
func (x *historyIndex) find(l *historyLog, hash uint64, key string) (at slotAt, place uint64) {
	if x.isEmpty() {
		return at, 0
	}
	tag := hash >> oldTagShift
	at = x.seek(tag)
	for p, slot := range x.from(at) {
		if slot>>oldTagShift != tag {
			break
		}
		place := slot & oldPlaceMask
		if string(l.record(l.at(place)).key()) == key {
			return p, place
		}
	}
	return at, 0
}

// insert inserts a slot where find said.
func (x *historyIndex) insert(p slotAt, slot uint64) {
	if len(x.leaves) == 0 {
		x.add(0, nil, 0)
	}
	leaf := x.leaves[p.leaf]
	if len(leaf) == cap(leaf) {
		leaf = withCap(leaf, min(len(leaf)+len(leaf)/4+1, leafSlots))
	}
	x.set(p.leaf, slices.Insert(leaf, p.at, slot))
	if len(leaf)+1 == leafSlots {
		x.split(p.leaf)
	}
}

// replace changes a slot to another one with the same tag.
func (x *historyIndex) replace(p slotAt, slot uint64) { x.leaves[p.leaf][p.at] = slot }

// remove removes a slot.
func (x *historyIndex) remove(p slotAt) {
	leaf := slices.Delete(x.leaves[p.leaf], p.at, p.at+1)
	if len(leaf) < cap(leaf)/2 {
		leaf = withCap(leaf, len(leaf)+len(leaf)/4)
	}
	x.set(p.leaf, leaf)
	if left := min(p.leaf, len(x.leaves)-2); len(leaf) == 0 {
		x.drop(p.leaf)
	} else if left >= 0 && len(x.leaves[left])+len(x.leaves[left+1]) <= leafSlots/2 {
		x.set(left, slices.Concat(x.leaves[left], x.leaves[left+1]))
		x.drop(left + 1)
	}
}

// split splits a leaf in two.
func (x *historyIndex) split(i int) {
	const half, room = leafSlots / 2, leafSlots/2 + leafSlots/8
	leaf := x.leaves[i]
	right := withCap(leaf[half:], room)
	x.set(i, withCap(leaf[:half], room))
	x.add(i+1, right, uint32(right[0]>>oldTagShift))
}

// withCap returns a copy of slots with another capacity.
func withCap(slots []uint64, n int) []uint64 { return append(make([]uint64, 0, n), slots...) }

// leafOverhead is what a leaf takes beside its slots.
const leafOverhead = 24 + 4

// add adds a leaf.
func (x *historyIndex) add(i int, slots []uint64, first uint32) {
	x.leaves, x.firsts = slices.Insert(x.leaves, i, slots), slices.Insert(x.firsts, i, first)
	x.bytes += leafOverhead + 8*cap(slots)
}

// set changes a leaf.
func (x *historyIndex) set(i int, slots []uint64) {
	x.bytes += 8 * (cap(slots) - cap(x.leaves[i]))
	x.leaves[i] = slots
}

// drop drops a leaf. The range of the one before it grows, or of the one after
// the first.
func (x *historyIndex) drop(i int) {
	x.bytes -= leafOverhead + 8*cap(x.leaves[i])
	x.leaves, x.firsts = slices.Delete(x.leaves, i, i+1), slices.Delete(x.firsts, i, i+1)
	if len(x.leaves) == 0 {
		*x = historyIndex{}
	} else {
		x.firsts[0] = 0
	}
}
