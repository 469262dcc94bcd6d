//go:build !race

package table

import (
	"sync"
	"syscall"

	"kvstore/internal/tuning"
)

// Memory outside the Go heap: the collector neither scans it nor counts it when it decides how far the heap may grow, so
// that a store of many gigabytes does not make a program take twice as many.
const (
	// What is small is cut from chunks. A chunk is half of what there is already, between these, so that what is not used yet stays in
	// proportion.
	minChunkBytes = 256 << 10
	maxChunkBytes = 4 << 20

	// maxSpanBytes is the size up to which memory is cut from chunks: that of a shard's slots in a table of 12 million
	// keys. More has a mapping of its own, which ends when it is freed.
	maxSpanBytes = 1 << 20

	// aheadBytes is what a table has before it gets the pages of the next chunk ahead of time, by a goroutine. A smaller one asks for
	// them when it needs them: some hundreds, which takes less than such a goroutine may have to wait for a processor.
	prefaultBytes = 1 << 20

	// hugeBytes is what a table has before it asks for huge pages. The page table of a smaller one
	// stays in a processor's cache, and huge pages are worth a tenth of a Get to it; but where the system is a guest, their
	// first touch may cost six times that of small ones, which is a quarter of a batch. A table that is being loaded asks for
	// them at once: the first touch is for once, and what is opened is there to be read.
	hugeBytes = 512 << 20

	// Freed spans up to this share of all chunks keep their pages, since they will soon be used again. The pages of others go
	// back to the system, and only addresses are kept. That takes it 100 µs a span, and all processors are interrupted. The least that is kept
	// is about the slots that the shards of a growing table leave which are too small for a slab.
	warmShare    = 64
	minWarmBytes = 8 << 20
)

// arena is where a table's memory comes from.
type arena struct {
	mu        sync.Mutex
	chunks    [][]byte                             // guarded by mu
	total     int                                  // guarded by mu: bytes of all chunks
	rest      []byte                               // guarded by mu: of the last chunk, not used yet
	next      []byte                               // guarded by mu: the next chunk, nil if there is none yet
	own       map[*byte][]byte                     // guarded by mu: mappings of their own, by where they begin
	warm      [maxSpanBytes/pageBytes + 1][][]byte // guarded by mu: freed spans with their pages, by size in pages
	cold      [maxSpanBytes/pageBytes + 1][][]byte // guarded by mu: those whose pages went back to the system
	warmBytes int                                  // guarded by mu: bytes in warm
	loads     int                                  // guarded by mu: calls of Table.Load under way

	prefaulting sync.WaitGroup // the goroutine that gets the pages of ahead
}

func newArena() *arena { return &arena{own: map[*byte][]byte{}} }

// load counts a call of Table.Load: 1 when it begins, -1 when it ends.
func (a *arena) load(call int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loads += call
}

// alloc returns at least n bytes, whole pages, not zeroed. It has the pages at hand: having the system get many at once costs a tenth, or
// less, of an interrupt for each of them at its first touch.
func (a *arena) alloc(n int) []byte {
	b, prefaulted := a.take(roundPages(n))
	if !prefaulted {
		prefault(b, false)
	}
	return b
}

// take is alloc for whole pages, and tells whether they are at hand.
func (a *arena) take(n int) (b []byte, prefaulted bool) {
	if n > maxSpanBytes {
		b := mapMemory(n)
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

// splitWarm makes slabs of a freed span that keeps its pages and is as large as several: what slots were in that have outgrown it.
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

// grow gets another chunk, of n bytes at least. What is left of the last one is for slabs, and their last piece for something smaller.
func (a *arena) grow(n int) {
	for len(a.rest) > 0 {
		n := min(len(a.rest), maxSlabBytes)
		a.cold[n/pageBytes] = append(a.cold[n/pageBytes], a.rest[:n:n])
		a.rest = a.rest[n:]
	}
	if len(a.next) >= n {
		a.rest, a.next = a.next, nil
	} else {
		a.rest = mapMemory(max(n, a.nextChunkBytes()))
		prefault(a.rest, false)
	}
	a.chunks = append(a.chunks, a.rest)
	a.total += len(a.rest)
	if a.total >= prefaultBytes && a.next == nil {
		a.next = mapMemory(a.nextChunkBytes())
		chunk, huge := a.next, a.loads > 0 || a.total >= hugeBytes
		a.prefaulting.Go(func() { prefault(chunk, huge) })
	}
}

// nextChunk returns how large the next chunk is to be.
func (a *arena) nextChunkBytes() int {
	return min(max(a.total/2/minChunkBytes*minChunkBytes, minChunkBytes), maxChunkBytes)
}

// populate asks for all pages of b at once, and for huge ones. Where the system is a guest whose memory its host has yet to find,
// the first touch of a huge page takes milliseconds, for which nobody should have to wait. Both are advice: whether it is taken
// changes nothing but speed.
func prefault(b []byte, huge bool) {
	const populateWrite = 23 // MADV_POPULATE_WRITE, Linux 5.14
	if huge && tuning.HugePages {
		_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE)
	}
	if tuning.Prefault {
		_ = syscall.Madvise(b, populateWrite)
	}
}

// free takes back what alloc returned.
func (a *arena) free(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(b) > maxSpanBytes {
		delete(a.own, &b[0])
		unmapMemory(b)
		return
	}
	class := len(b) / pageBytes
	if a.warmBytes+len(b) <= max(minWarmBytes, a.total/warmShare) {
		a.warm[class] = append(a.warm[class], b)
		a.warmBytes += len(b)
		return
	}
	_ = syscall.Madvise(b, syscall.MADV_DONTNEED) // if it fails, the memory stays taken until it is used again
	a.cold[class] = append(a.cold[class], b)
}

// release gives all memory back. Nobody may use any of it any more.
func (a *arena) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.prefaulting.Wait()
	for _, b := range append(a.chunks, a.next) {
		unmapMemory(b)
	}
	for _, b := range a.own {
		unmapMemory(b)
	}
	a.chunks, a.rest, a.next, a.own = nil, nil, nil, nil
}

// mapMemory gets memory from the system. When there is none, or no more mappings, Go's heap is asked, which may
// have some left and otherwise ends the program in the usual way.
func mapMemory(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	return b
}

func unmapMemory(b []byte) {
	_ = syscall.Munmap(b) // fails for memory of Go's heap, which needs no unmapping
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
