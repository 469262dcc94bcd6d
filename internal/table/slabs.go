package table

const (
	// maxSlabBytes is what one compaction moves at most: some tens of microseconds of work.
	maxSlabBytes = 64 << 10

	// minSlabBytes is what a shard of few keys takes.
	minSlabBytes = pageBytes

	// A larger record has a slab of its own, which is given back as soon as it is overwritten.
	maxPackedBytes = maxSlabBytes / 4

	// offsetBits are the bits of a place that say where in its slab a record begins; the others are the slab's number.
	offsetBits = 13 // maxSlabBytes / recordAlign
	offsetMask = 1<<offsetBits - 1
)

// slabs are a shard's records: a log in memory. New records go behind the last one of the open slab; room of replaced ones is not used
// again before the slab that they lie in is compacted: what is alive in it goes to the open slab, and the slab is free.
type slabs struct {
	mem [][]byte // by number; nil for 0 and for free numbers

	// open is where records are appended, 0 if there is none. It changes while applying is held: for who holds that for reading, nothing
	// is written to another slab.
	open uint32

	// The writer's alone.
	use    []slabUse // of the same numbers
	free   []uint32  // numbers not in use
	used   int       // bytes of records in all slabs, dead ones too
	dead   int       // of these, those of records that were replaced
	mapped int       // bytes of all slabs
}

// slabUse is how much of a slab is taken.
type slabUse struct {
	used uint32 // bytes of records, dead ones too
	dead uint32 // of these, those of records that were replaced
}

// at returns the record at a place.
func (l *slabs) at(place uint64) record {
	return l.mem[place>>offsetBits][place&offsetMask*recordAlign:]
}

// fits reports whether size more bytes fit into the open slab.
func (l *slabs) fits(size int) bool {
	return l.open != 0 && int(l.use[l.open].used)+size <= len(l.mem[l.open])
}

// slabFor returns the size of the slab that is to be added for a record: about an eighth of what is there, so that what is
// not yet filled stays in proportion.
func (l *slabs) slabFor(size int) int {
	n := minSlabBytes
	for n < maxSlabBytes && n < l.used/8 {
		n *= 2
	}
	return max(n, roundPages(size))
}

// add takes a slab in and returns its number.
func (l *slabs) add(mem []byte) (n uint32) {
	l.mapped += len(mem)
	if last := len(l.free) - 1; last >= 0 {
		n, l.free = l.free[last], l.free[:last]
		l.mem[n] = mem
		return n
	}
	if len(l.mem) == 0 {
		l.mem, l.use = append(l.mem, nil), append(l.use, slabUse{}) // there is no slab 0
	}
	l.mem, l.use = append(l.mem, mem), append(l.use, slabUse{})
	return uint32(len(l.mem) - 1)
}

// write puts a record into slab n, which has room for it, and returns its place.
func (l *slabs) write(n uint32, key, value []byte) (place uint64) {
	use := &l.use[n]
	size := recordBytes(len(key), len(value))
	writeRecord(l.mem[n][use.used:], key, value)
	place = uint64(n)<<offsetBits | uint64(use.used/recordAlign)
	use.used += uint32(size)
	l.used += size
	return place
}

// discard counts the record at a place, to which no slot leads any more, as dead. If its slab holds nothing else, it is
// dropped, and its memory returned.
func (l *slabs) discard(place uint64) (freed []byte) {
	n, size := uint32(place>>offsetBits), l.at(place).size()
	l.use[n].dead += uint32(size)
	l.dead += size
	if n == l.open || l.use[n].dead < l.use[n].used {
		return nil
	}
	return l.drop(n)
}

// drop takes slab n out and returns its memory. No slot may lead to it any more.
func (l *slabs) drop(n uint32) []byte {
	mem := l.mem[n]
	l.used -= int(l.use[n].used)
	l.dead -= int(l.use[n].dead)
	l.mapped -= len(mem)
	l.mem[n], l.use[n] = nil, slabUse{}
	l.free = append(l.free, n)
	return mem
}

// allowedDead is how many dead bytes a shard may hold: a fifth of all its records' (a quarter of the live ones), and one slab.
func (l *slabs) allowedDead() int { return l.used/5 + l.slabFor(0) }

// worst returns the slab with most dead bytes.
func (l *slabs) worst() uint32 {
	worst := 0
	for n, use := range l.use {
		if use.dead > l.use[worst].dead {
			worst = n
		}
	}
	return uint32(worst)
}
