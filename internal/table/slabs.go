package table

const (
	// maxSlabBytes bounds what one compaction moves, which is some tens of
	// microseconds of work.
	maxSlabBytes = 64 << 10

	// minSlabBytes is the memory of a shard with few keys.
	minSlabBytes = pageBytes

	// maxPackedBytes is the largest record that shares a slab. A larger record
	// has a slab of its own, which is freed as soon as the record is
	// overwritten. It consists of whole pages, so that less than an eighth of
	// it is unused.
	maxPackedBytes = maxSlabBytes / 2

	// slackShare bounds the memory that a slab cannot use: 1/slackShare of it.
	slackShare = 8

	// offsetBits is how many bits of a place are the record's offset in its
	// slab. The other bits are the slab's number.
	offsetBits = 13 // maxSlabBytes / recordAlign
	offsetMask = 1<<offsetBits - 1
)

// slabs is the memory of a shard's records: a log in memory. New records are
// appended to the open slab. The room of replaced records is not used again
// until their slab is compacted, which moves its live records to the open slab
// and frees the slab.
type slabs struct {
	mem [][]byte // by number; nil for 0 and for unused numbers

	// open is the number of the slab that records are appended to, 0 if there
	// is none. It changes while applying is held. So while a reader holds
	// applying, no other slab that a slot leads to is written to.
	open uint32

	// Owned by the goroutine that applies changes.
	use    []slabUse // by number, like mem
	free   []uint32  // unused numbers
	used   int       // bytes of records in all slabs, dead ones included
	dead   int       // bytes of records that were replaced
	mapped int       // bytes of all slabs
	added  uint32    // slabs so far, modulo 2^32
}

// slabUse says how much of a slab is in use.
type slabUse struct {
	used   uint32 // bytes of records, dead ones included
	dead   uint32 // bytes of records that were replaced
	serial uint32 // distinguishes the slab from those that had its number before
}

// at returns the record at a place.
func (l *slabs) at(place uint64) record {
	return l.mem[place>>offsetBits][place&offsetMask*recordAlign:]
}

// fits reports whether size more bytes fit into the open slab.
func (l *slabs) fits(size int) bool {
	return l.open != 0 && int(l.use[l.open].used)+size <= len(l.mem[l.open])
}

// slabFor returns the size of a new slab that will hold a record of size bytes,
// and probably more of that size. It is about an eighth of the shard's records,
// so that room that is not used yet stays in proportion. At most 1/slackShare
// of the slab is left when no further record of that size fits, so trim seldom
// has to give memory back.
func (l *slabs) slabFor(size int) int {
	n := minSlabBytes
	for n < maxSlabBytes && n < l.used/8 {
		n *= 2
	}
	if size <= n/slackShare {
		return n
	}
	for records := max(1, n/size); ; records++ {
		n := roundPages(records * size)
		if n-records*size <= n/slackShare || n+size > maxSlabBytes {
			return n
		}
	}
}

// trim cuts off the pages of the open slab that hold no record, and returns
// them, if they are more than 1/slackShare of the slab. It is for a slab that
// is too small for the next record, because records differ in size.
func (l *slabs) trim() (rest []byte) {
	mem, used := l.mem[l.open], int(l.use[l.open].used)
	if !freesParts || len(mem)-used <= len(mem)/slackShare {
		return nil
	}
	end := roundPages(used)
	l.mem[l.open] = mem[:end:end]
	l.mapped -= len(mem) - end
	return mem[end:]
}

// add adds a slab and returns its number.
func (l *slabs) add(mem []byte) (n uint32) {
	l.mapped += len(mem)
	l.added++
	if last := len(l.free) - 1; last >= 0 {
		n, l.free = l.free[last], l.free[:last]
		l.mem[n], l.use[n].serial = mem, l.added
		return n
	}
	if len(l.mem) == 0 {
		l.mem, l.use = append(l.mem, nil), append(l.use, slabUse{}) // there is no slab 0
	}
	l.mem, l.use = append(l.mem, mem), append(l.use, slabUse{serial: l.added})
	return uint32(len(l.mem) - 1)
}

// write appends a record to slab n, which must have room for it, and returns
// the record's place.
func (l *slabs) write(n uint32, p Pair) (place uint64) {
	use := &l.use[n]
	size := recordBytes(len(p.Key), len(p.Value), p.Deadline)
	writeRecord(l.mem[n][use.used:], p)
	place = uint64(n)<<offsetBits | uint64(use.used/recordAlign)
	use.used += uint32(size)
	l.used += size
	return place
}

// discard counts a record as dead. No slot may lead to it any more. If its slab
// has only dead records, discard drops the slab and returns its memory, unless
// it is the open one.
func (l *slabs) discard(place uint64) (freed []byte) {
	n, size := uint32(place>>offsetBits), l.at(place).size()
	l.use[n].dead += uint32(size)
	l.dead += size
	if n == l.open || l.use[n].dead < l.use[n].used {
		return nil
	}
	return l.drop(n)
}

// drop removes slab n and returns its memory. No slot may lead to it any more.
func (l *slabs) drop(n uint32) []byte {
	mem := l.mem[n]
	l.used -= int(l.use[n].used)
	l.dead -= int(l.use[n].dead)
	l.mapped -= len(mem)
	l.mem[n], l.use[n] = nil, slabUse{}
	l.free = append(l.free, n)
	return mem
}

// allowedDead returns how many dead bytes a shard may have: a fifth of the
// bytes of all its records, which is a quarter of the live ones, and one slab.
// While keys are due, it may have half of the bytes: most live records of a
// slab that is compacted then would be deleted soon, and need not be moved.
func (l *slabs) allowedDead(hasDue bool) int {
	if hasDue {
		return l.used/2 + l.slabFor(0)
	}
	return l.used/5 + l.slabFor(0)
}

// worst returns the slab with the most dead bytes.
func (l *slabs) worst() uint32 {
	worst := 0
	for n, use := range l.use {
		if use.dead > l.use[worst].dead {
			worst = n
		}
	}
	return uint32(worst)
}
