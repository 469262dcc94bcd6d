package table

import (
	"encoding/binary"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// An old version is the bytes of a record that a commit has replaced or
// deleted, behind a header:
//
//	0       8      16
//	| until | link | record |
//
// until is the version of the commit that ended it. link is the place of the
// next older version of the key, 0 if there is none, and flags. The record of a
// key that was absent has no value. A record that had a slab of its own stays
// there. Then the number of that slab follows the header, instead of a record.
type oldRecord []byte

const (
	oldHeader     = 8 + 8
	oldAsideBytes = oldHeader + 8

	oldPlaceBits = 40 // 2^40 B = 1 TiB of old versions
	oldPlaceMask = 1<<oldPlaceBits - 1
	oldPageBits  = 16 // the bits of a place that are the offset in a page
	oldPageBytes = maxSlabBytes

	oldAbsent  = 1 << 63 // the key was absent
	oldAside   = 1 << 62 // the record lies in a slab of its own
	oldDropped = 1 << 61 // no view needs it any more, and no index leads to it
)

func (o oldRecord) until() int64      { return int64(binary.LittleEndian.Uint64(o)) }
func (o oldRecord) link() uint64      { return binary.LittleEndian.Uint64(o[8:]) }
func (o oldRecord) older() uint64     { return o.link() & oldPlaceMask }
func (o oldRecord) aside() uint32     { return uint32(binary.LittleEndian.Uint64(o[oldHeader:])) }
func (o oldRecord) dropped() bool     { return o.link()&oldDropped != 0 }
func (o oldRecord) drop()             { o.setLink(o.link() | oldDropped) }
func (o oldRecord) setLink(to uint64) { binary.LittleEndian.PutUint64(o[8:], to) }

// setOlder changes the place of the next older version.
func (o oldRecord) setOlder(place uint64) { o.setLink(o.link()&^oldPlaceMask | place) }

// size returns how many bytes the version takes in its page.
func (o oldRecord) size() int {
	if o.link()&oldAside != 0 {
		return oldAsideBytes
	}
	return oldHeader + record(o[oldHeader:]).bytes()
}

// historyLog is the memory of old versions, in the order in which they ended.
// So the cost of closing a view depends on what changed since the view was
// opened, and not on what older views retain.
type historyLog struct {
	arena *arena       // immutable
	bytes atomic.Int64 // of pages, slabs aside, and the shards' indexes; of the open page, what is used

	// The memory of pages and slabs aside, by number. Elements are written
	// while mu is held. A reader that holds a shard's lock may read those that
	// the shard's history leads to.
	dir atomic.Pointer[[][]byte]

	// Held while the log is read, or old versions are dropped or moved, for one
	// page at a time, and taken before a shard's lock. No lookup and no change
	// takes it, but the check of a large transaction does.
	sweeping sync.Mutex

	mu    sync.Mutex     // taken under a shard's lock, briefly
	pages []*historyPage // guarded by mu: in order; the last one is open
	free  []uint32       // guarded by mu: unused numbers
	spare [][]byte       // guarded by mu: memory for the next pages
	worn  []*historyPage // guarded by mu: closed pages that are to be compacted
	next  uint64         // guarded by mu: the order of the next page
}

// historyPage is a part of the log. The open page's fields are guarded by the
// log's mu, those of the others by sweeping.
type historyPage struct {
	number uint32 // immutable
	order  uint64 // above that of the page before; written while mu is held
	mem    []byte
	used   int    // bytes of versions, dropped ones included
	dead   int    // bytes of versions that were dropped; written while mu is held
	last   int64  // when the last version ended
	marks  []mark // for finding a version
}

// mark says when the version at an offset ended.
type mark struct {
	until int64
	at    int
}

// markBytes is the distance of marks, at least.
const markBytes = 2 << 10

// at returns the version at a place.
func (l *historyLog) at(place uint64) oldRecord {
	return (*l.dir.Load())[place>>oldPageBits][place&(1<<oldPageBits-1):]
}

// record returns the record of a version.
func (l *historyLog) record(o oldRecord) record {
	if o.link()&oldAside != 0 {
		return (*l.dir.Load())[o.aside()]
	}
	return record(o[oldHeader:])
}

// version returns what readers need of an old version.
func (l *historyLog) version(o oldRecord) oldVersion {
	if o.link()&oldAbsent != 0 {
		return oldVersion{}
	}
	r := l.record(o)
	return oldVersion{present: true, alone: o.link()&oldAside != 0, value: r.value(), deadline: r.deadline()}
}

// add appends the version of a key that a commit ends: its record r, nil if the
// key was absent. The slab of a large record becomes part of the log. add
// returns the version's place, and memory to free. The caller must hold the
// lock of the key's shard.
func (l *historyLog) add(until int64, older uint64, key []byte, r record) (place uint64, rest []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	link, size := older, oldHeader+recordHeader+len(key)
	switch {
	case r == nil:
		link |= oldAbsent
	case r.size() > maxPackedBytes:
		link, size = link|oldAside, oldAsideBytes
	default:
		size = oldHeader + r.bytes()
	}
	if n := len(l.pages); n == 0 || len(l.pages[n-1].mem)-l.pages[n-1].used < size {
		rest = l.openPage()
	}
	p := l.pages[len(l.pages)-1]
	o := oldRecord(p.mem[p.used:])
	binary.LittleEndian.PutUint64(o, uint64(until))
	o.setLink(link)
	switch {
	case r == nil:
		writeRecord(record(o[oldHeader:]), Pair{Key: key})
	case link&oldAside != 0:
		slab := r[:cap(r)]
		binary.LittleEndian.PutUint64(o[oldHeader:], uint64(l.setNumber(slab)))
		l.bytes.Add(int64(len(slab)))
	default:
		copy(o[oldHeader:size], r)
	}
	place = uint64(p.number)<<oldPageBits | uint64(p.used)
	p.grow(until, size)
	l.bytes.Add(int64(size))
	return place, rest
}

// grow counts a version that was written behind the others.
func (p *historyPage) grow(until int64, size int) {
	if n := len(p.marks); n == 0 || p.used-p.marks[n-1].at >= markBytes {
		p.marks = append(p.marks, mark{until: until, at: p.used})
	}
	p.used, p.last = p.used+size, until
}

// openPage closes the open page and opens another one. It returns the part of
// the closed page that is not used, if that is worth while.
func (l *historyLog) openPage() (rest []byte) {
	if n := len(l.pages); n > 0 {
		rest = l.closePage(l.pages[n-1])
	}
	var mem []byte
	if last := len(l.spare) - 1; last >= 0 {
		mem, l.spare = l.spare[last], l.spare[:last]
	} else {
		mem = l.arena.alloc(oldPageBytes)
	}
	l.pages = append(l.pages, &historyPage{number: l.setNumber(mem), order: l.next, mem: mem})
	l.next++
	return rest
}

// closePage closes the open page.
func (l *historyLog) closePage(p *historyPage) (rest []byte) {
	if end := roundPages(p.used); freesParts && len(p.mem)-p.used > len(p.mem)/slackShare {
		p.mem, rest = p.mem[:end:end], p.mem[end:]
		(*l.dir.Load())[p.number] = p.mem
	}
	l.bytes.Add(int64(len(p.mem) - p.used))
	if p.isWorn() {
		l.worn = append(l.worn, p)
	}
	return rest
}

// isWorn reports whether a closed page has so many dropped versions that it is
// worth while to move the others.
func (p *historyPage) isWorn() bool { return p.dead > p.used/4 }

// setNumber gives memory a number.
func (l *historyLog) setNumber(mem []byte) (n uint32) {
	dir := l.dir.Load()
	if last := len(l.free) - 1; last >= 0 {
		n, l.free = l.free[last], l.free[:last]
		(*dir)[n] = mem
		return n
	}
	used := 1 // there is no number 0, so that no place is 0
	var old [][]byte
	if dir != nil {
		old, used = *dir, len(*dir)
	}
	grown := make([][]byte, 2*used)
	copy(grown, old)
	for i := len(grown) - 1; i > used; i-- {
		l.free = append(l.free, uint32(i))
	}
	grown[used] = mem
	l.dir.Store(&grown)
	return uint32(used)
}

// unsetNumber takes back a number.
func (l *historyLog) unsetNumber(n uint32) {
	(*l.dir.Load())[n] = nil
	l.free = append(l.free, n)
}

// reserve makes sure that versions of this many bytes can be added without
// waiting for memory.
func (l *historyLog) reserve(bytes int) {
	l.mu.Lock()
	room := len(l.spare) * oldPageBytes / 2 // at least half of a page is used
	if n := len(l.pages); n > 0 {
		room += len(l.pages[n-1].mem) - l.pages[n-1].used
	}
	l.mu.Unlock()
	for ; room < bytes; room += oldPageBytes / 2 {
		mem := l.arena.alloc(oldPageBytes)
		l.mu.Lock()
		l.spare = append(l.spare, mem)
		l.mu.Unlock()
	}
}

// unreserve returns the memory that was reserved and is not needed, but for one
// page.
func (l *historyLog) unreserve() (rest [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spare) > 1 {
		rest, l.spare = l.spare[1:], l.spare[:1:1]
	}
	return rest
}

// find returns the first page, of this order or above, with versions that ended
// after above and not after upTo, and which bytes of it to look at; nil if
// there is none. The caller must hold sweeping.
func (l *historyLog) find(above, upTo int64, order uint64) (p *historyPage, from, to int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := sort.Search(len(l.pages), func(i int) bool {
		return l.pages[i].order >= order && l.pages[i].last > above
	})
	if at == len(l.pages) || l.pages[at].used == 0 || l.pages[at].marks[0].until > upTo {
		return nil, 0, 0
	}
	p = l.pages[at]
	if i := sort.Search(len(p.marks), func(i int) bool { return p.marks[i].until > above }); i > 0 {
		from = p.marks[i-1].at
	}
	return p, from, p.used
}

// discard counts versions of a page as dropped. It returns memory to free: the
// page, if no version is left in it. The caller must hold sweeping.
func (l *historyLog) discard(p *historyPage, size int) (freed []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := p == l.pages[len(l.pages)-1]
	wasWorn := p.isWorn()
	p.dead += size
	switch {
	case p.dead == p.used && open:
		l.bytes.Add(int64(-p.used))
		p.used, p.dead, p.marks = 0, 0, p.marks[:0]
	case p.dead == p.used:
		return l.remove(p)
	case !open && !wasWorn && p.isWorn():
		l.worn = append(l.worn, p)
	}
	return nil
}

// remove removes a page and returns its memory.
func (l *historyLog) remove(p *historyPage) []byte {
	at := l.index(p)
	if at == 0 {
		l.pages[0] = nil
		l.pages = l.pages[1:] // the usual case, in no time
	} else {
		l.pages = slices.Delete(l.pages, at, at+1)
	}
	if at := slices.Index(l.worn, p); at >= 0 {
		l.worn = slices.Delete(l.worn, at, at+1)
	}
	l.unsetNumber(p.number)
	l.bytes.Add(int64(-len(p.mem)))
	return p.mem
}

// takeAside takes back the slab of a version that was dropped.
func (l *historyLog) takeAside(o oldRecord) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	slab := (*l.dir.Load())[o.aside()]
	l.unsetNumber(o.aside())
	l.bytes.Add(int64(-len(slab)))
	return slab
}

// takeWorn returns a page to compact, nil if there is none, and the page to
// move its versions to: the one before it if that has room, or else a new one.
// The caller must hold sweeping.
func (l *historyLog) takeWorn() (p, to *historyPage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.worn) - 1
	if last < 0 {
		return nil, nil
	}
	p, l.worn = l.worn[last], l.worn[:last]
	needed := p.used - p.dead
	if at := l.index(p); at > 0 {
		if to := l.pages[at-1]; len(to.mem)-to.used >= needed {
			return p, to
		}
	}
	size := roundPages(needed)
	if size < oldPageBytes/4 {
		size = oldPageBytes // with room for what is left of the next pages
	}
	mem := l.arena.alloc(size)
	l.bytes.Add(int64(size))
	return p, &historyPage{number: l.setNumber(mem), order: p.order, mem: mem}
}

// replaceWorn replaces a page by the one that its versions were moved to, and
// returns its memory. The caller must hold sweeping.
func (l *historyLog) replaceWorn(p, to *historyPage) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.index(p)
	if to.order == p.order {
		l.pages[at] = to
	} else {
		l.pages = slices.Delete(l.pages, at, at+1)
		to.order = p.order // a sweep that has passed it looks at it again
	}
	l.unsetNumber(p.number)
	l.bytes.Add(int64(-len(p.mem)))
	return p.mem
}

// index returns the index of a page.
func (l *historyLog) index(p *historyPage) int {
	return sort.Search(len(l.pages), func(i int) bool { return l.pages[i].order >= p.order })
}

// clear empties the log, whose memory is released otherwise.
func (l *historyLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pages, l.free, l.spare, l.worn = nil, nil, nil, nil
	l.dir.Store(nil)
	l.bytes.Store(0)
}
