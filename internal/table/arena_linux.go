//go:build !race

package table

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"kvstore/internal/tuning"
)

// The arena's memory lies outside the Go heap. The garbage collector neither
// scans it nor counts it when it decides how far the heap may grow. So a store
// of many gigabytes does not make a program take twice as many.
const (
	// Small pieces of memory are cut from chunks. A new chunk is half as large
	// as all chunks before it, within these bounds, so that unused memory stays
	// in proportion.
	minChunkBytes = 256 << 10
	maxChunkBytes = 4 << 20

	// maxSpanBytes is the size up to which a piece is cut from a chunk. It is
	// the size of a shard's slots in a table of 12 million keys. A larger piece
	// has its own mapping, which ends when the piece is freed.
	maxSpanBytes = 1 << 20

	// prefaultBytes is the size from which on a table has a goroutine prefault
	// the next chunk ahead of time. A smaller table prefaults a chunk when it
	// needs it. Those are some hundred pages, which take less time than such a
	// goroutine may have to wait for a processor.
	prefaultBytes = 1 << 20

	// hugeBytes is the size from which on a table asks for huge pages. The page
	// table of a smaller table stays in a processor's cache. For such a table
	// huge pages make a Get a tenth faster. But in a virtual machine their
	// first touch may cost six times that of small pages, which is a quarter of
	// the time of a batch. A table that is being loaded asks for huge pages at
	// once, because each page is touched for the first time only once, and a
	// store is opened to be read.
	hugeBytes = 512 << 20

	// Freed spans keep their pages, because they will soon be used again, as
	// long as they add up to at most 1/warmShare of all chunks or to
	// minWarmBytes. The pages of other freed spans go back to the system and
	// only their addresses are kept. That takes the system 100 µs a span and
	// interrupts all processors. minWarmBytes is about the size of the slots
	// that the shards of a growing table leave behind while these are too small
	// for a slab.
	warmShare    = 64
	minWarmBytes = 8 << 20

	// A goroutine gives pages back, so that the writer need not wait for it.
	// The writer does it itself when maxSurplusBytes are waiting.
	maxSurplusBytes = 4 << 20
)

// arena allocates a table's memory.
type arena struct {
	mu        sync.Mutex
	chunks    [][]byte                             // guarded by mu
	total     int                                  // guarded by mu: bytes of all chunks
	rest      []byte                               // guarded by mu: the unused part of the last chunk
	next      []byte                               // guarded by mu: the next chunk, nil if there is none yet
	own       map[*byte][]byte                     // guarded by mu: pieces with their own mapping, by address
	warm      [maxSpanBytes/pageBytes + 1][][]byte // guarded by mu: freed spans that keep their pages, by size in pages
	cold      [maxSpanBytes/pageBytes + 1][][]byte // guarded by mu: all other free spans, by size in pages
	warmBytes int                                  // guarded by mu: bytes of all spans in warm
	surplus   surplus                              // guarded by mu: freed spans whose pages go back to the system
	loads     int                                  // guarded by mu: calls of Table.Load under way

	background sync.WaitGroup // the goroutines that prefault next, and give back surplus

	usage
}

// freesParts says that a part of a piece can be freed alone.
const freesParts = true

func newArena() *arena { return &arena{own: map[*byte][]byte{}} }

// load counts the calls of Table.Load under way. call is 1 when one begins and
// -1 when it ends.
func (a *arena) load(call int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loads += call
}

// alloc returns at least n bytes, in whole pages, not zeroed. The pages are
// prefaulted: having the system map many pages at once costs a tenth, or less,
// of a page fault for each of them.
func (a *arena) alloc(n int) []byte {
	b, prefaulted := a.take(roundPages(n))
	a.used.Add(int64(len(b)))
	if !prefaulted {
		prefault(b, false)
	}
	return b
}

// take is alloc for whole pages. It reports whether they are prefaulted.
func (a *arena) take(n int) (b []byte, prefaulted bool) {
	if n > maxSpanBytes {
		b := a.mapMemory(n)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.own[&b[0]] = b
		return b, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	class := n / pageBytes
	if n == maxSlabBytes && len(a.warm[class]) == 0 {
		a.splitWarm()
	}
	if b, ok := pop(&a.warm[class]); ok {
		a.warmBytes -= n
		return b, true
	}
	if b, ok := a.surplus.take(n); ok {
		return b, true
	}
	if b, ok := pop(&a.cold[class]); ok {
		return b, false
	}
	if len(a.rest) < n {
		a.grow(n)
	}
	b = a.rest[:n:n]
	a.rest = a.rest[n:]
	return b, true
}

// splitWarm cuts a warm span that is as large as several slabs into slabs. Such
// a span held the slots of a shard that has outgrown them.
func (a *arena) splitWarm() {
	const slab = maxSlabBytes / pageBytes
	for class := 2 * slab; class < len(a.warm); class += slab {
		b, ok := pop(&a.warm[class])
		if !ok {
			continue
		}
		for ; len(b) > 0; b = b[maxSlabBytes:] {
			a.warm[slab] = append(a.warm[slab], b[:maxSlabBytes:maxSlabBytes])
		}
		return
	}
}

// grow gets another chunk of at least n bytes. It cuts the rest of the last
// chunk into slabs, and the remainder into one smaller span.
func (a *arena) grow(n int) {
	if len(a.rest) > maxSlabBytes {
		giveBack(a.rest) // no smaller piece may ever need it
	}
	for len(a.rest) > 0 {
		n := min(len(a.rest), maxSlabBytes)
		a.cold[n/pageBytes] = append(a.cold[n/pageBytes], a.rest[:n:n])
		a.rest = a.rest[n:]
	}
	if len(a.next) >= n {
		a.rest, a.next = a.next, nil
	} else {
		a.rest = a.mapMemory(max(n, a.nextChunkBytes()))
		prefault(a.rest, false)
	}
	a.chunks = append(a.chunks, a.rest)
	a.total += len(a.rest)
	if a.total >= prefaultBytes && a.next == nil {
		a.next = a.mapMemory(a.nextChunkBytes())
		chunk, huge := a.next, a.loads > 0 || a.total >= hugeBytes
		a.background.Go(func() { prefault(chunk, huge) })
	}
}

// mapMemory maps n bytes and counts them.
func (a *arena) mapMemory(n int) []byte {
	a.mapped.Add(int64(n))
	return mapMemory(n)
}

// nextChunkBytes returns the size of the next chunk.
func (a *arena) nextChunkBytes() int {
	return min(max(a.total/2/minChunkBytes*minChunkBytes, minChunkBytes), maxChunkBytes)
}

// prefault asks the system to map all pages of b at once, and to use huge pages
// if huge is set. In a virtual machine whose host must find the memory first,
// the first touch of a huge page takes milliseconds, which no caller should
// have to wait for. Both requests are advice and affect speed alone.
func prefault(b []byte, huge bool) {
	if huge && tuning.HugePages {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
	if tuning.Prefault {
		_ = unix.Madvise(b, unix.MADV_POPULATE_WRITE)
	}
}

// free takes back memory from alloc.
func (a *arena) free(b []byte) {
	a.used.Add(-int64(len(b)))
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(b) > maxSpanBytes {
		delete(a.own, &b[0])
		a.mapped.Add(-int64(len(b)))
		unmapMemory(b)
		return
	}
	class := len(b) / pageBytes
	if a.warmBytes+len(b) <= max(minWarmBytes, a.total/warmShare) {
		a.warm[class] = append(a.warm[class], b)
		a.warmBytes += len(b)
		return
	}
	if !tuning.GiveBack || a.surplus.bytes+len(b) > maxSurplusBytes {
		giveBack(b)
		a.cold[class] = append(a.cold[class], b)
		return
	}
	a.surplus.add(b)
	if !a.surplus.served {
		a.surplus.served = true
		a.background.Go(a.giveBackSurplus)
	}
}

// surplus is freed spans whose pages a goroutine gives back.
type surplus struct {
	spans  [][]byte
	bytes  int
	served bool // a goroutine is at it
}

func (s *surplus) add(b []byte) {
	s.spans = append(s.spans, b)
	s.bytes += len(b)
}

// take returns a span of n bytes that still has its pages, if there is one.
func (s *surplus) take(n int) (b []byte, ok bool) {
	i := slices.IndexFunc(s.spans, func(b []byte) bool { return len(b) == n })
	if i < 0 {
		return nil, false
	}
	b = s.spans[i]
	s.spans = slices.Delete(s.spans, i, i+1)
	s.bytes -= n
	return b, true
}

// giveBackSurplus gives back the pages of surplus until there is none.
func (a *arena) giveBackSurplus() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.surplus.spans) > 0 {
		b, _ := a.surplus.take(len(a.surplus.spans[0]))
		a.mu.Unlock()
		giveBack(b)
		a.mu.Lock()
		a.cold[len(b)/pageBytes] = append(a.cold[len(b)/pageBytes], b)
	}
	a.surplus.served = false
}

// giveBack gives the pages of b back to the system. If that fails, b keeps
// them.
func giveBack(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }

// release gives all memory back to the system. The caller must not use any of
// it afterwards.
func (a *arena) release() {
	a.mu.Lock()
	a.surplus.spans = nil // the goroutine ends with the span that it is at
	a.mu.Unlock()
	a.background.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range append(a.chunks, a.next) {
		unmapMemory(b)
	}
	for _, b := range a.own {
		unmapMemory(b)
	}
	a.chunks, a.rest, a.next, a.own = nil, nil, nil, nil
}

// mapMemory gets memory from the system. If the system has no memory or no
// mappings left, it allocates on Go's heap, which may have some memory left and
// otherwise ends the program in the usual way.
func mapMemory(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	return b
}

func unmapMemory(b []byte) {
	_ = unix.Munmap(b) // fails for memory of Go's heap, which needs no unmapping
}

func pop(list *[][]byte) (b []byte, ok bool) {
	last := len(*list) - 1
	if last < 0 {
		return nil, false
	}
	b = (*list)[last]
	(*list)[last] = nil
	*list = (*list)[:last]
	return b, true
}
