//go:build !race

package table

import (
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// touchFaults writes to each page of b and returns how many page faults that
// took.
func touchFaults(t *testing.T, b []byte) int64 {
	t.Helper()
	const thisThread = 1 // RUSAGE_THREAD
	var before, after syscall.Rusage
	if err := syscall.Getrusage(thisThread, &before); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(b); at += pageBytes {
		b[at] = 1
	}
	if err := syscall.Getrusage(thisThread, &after); err != nil {
		t.Fatal(err)
	}
	return int64(after.Minflt - before.Minflt) //nolint:unconvert // it is an int32 on 32 bit
}

// alloc returns memory that is prefaulted, whether it is small or large, new or
// used before.
func TestAllocPrefaults(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	probe := mapMemory(64 * pageBytes)
	defer unmapMemory(probe)
	if prefault(probe, false); touchFaults(t, probe) > 32 {
		t.Skip("SKIPPED, NOT TESTED HERE: this system, or what stands in for it, has no MADV_POPULATE_WRITE")
	}
	a := newArena()
	defer a.release()
	all, faults := 0, int64(0)
	touch := func(n int) []byte {
		b := a.alloc(n)
		a.background.Wait() // for the chunk that is prefaulted ahead of time
		all += len(b) / pageBytes
		faults += touchFaults(t, b)
		return b
	}
	wantFew := func() {
		t.Helper()
		if faults > int64(20+all/20) { // faults of the stack or the heap may be among them
			t.Fatalf("%d page faults in %d pages", faults, all)
		}
	}
	for range 2 {
		var spans [][]byte
		for range 300 {
			spans = append(spans, touch(maxSlabBytes))
			wantFew() // after the first chunk, too
		}
		spans = append(spans, touch(2*maxSpanBytes), touch(maxSpanBytes))
		for _, b := range spans {
			a.free(b) // most pages go back to the system
		}
	}
	wantFew()
}

// Chunks grow with the arena, so that little memory is unused.
func TestChunksGrow(t *testing.T) {
	a := newArena()
	defer a.release()
	used := 0
	for used < 64<<20 {
		used += len(a.alloc(maxSlabBytes))
		if rest := a.total + len(a.next) - used; rest > max(2*used, 2*minChunkBytes) || rest > 2*maxChunkBytes {
			t.Fatalf("%d bytes are in use and %d are not", used, rest)
		}
	}
	if n := len(a.chunks); n > 40 {
		t.Errorf("%d chunks", n)
	}
}

// Slabs reuse the memory of freed slots with its pages, and each byte only
// once.
func TestSlabsReuseFreedSlots(t *testing.T) {
	a := newArena()
	defer a.release()
	left := map[*byte]int{} // slabs that fit into the freed memory, by address
	var spans [][]byte
	for _, size := range []int{maxSlabBytes / 2, 2 * maxSlabBytes, 8 * maxSlabBytes, maxSpanBytes} {
		b := a.alloc(size)
		spans = append(spans, b)
		for at := 0; at+maxSlabBytes <= size; at += maxSlabBytes {
			left[&b[at]]++
		}
	}
	for _, b := range spans {
		a.free(b)
	}
	for range len(left) {
		b, prefaulted := a.take(maxSlabBytes)
		if len(b) != maxSlabBytes || cap(b) != maxSlabBytes || left[&b[0]] != 1 || !prefaulted {
			t.Fatalf("%d bytes, capacity %d, freed %d times, prefaulted: %t", len(b), cap(b), left[&b[0]], prefaulted)
		}
		left[&b[0]]--
	}
	if a.warmBytes != maxSlabBytes/2 {
		t.Errorf("%d bytes are counted as warm", a.warmBytes)
	}
}

// isResident reports whether the first page of b has memory.
func isResident(t *testing.T, b []byte) bool {
	t.Helper()
	var page [1]byte
	_, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), pageBytes,
		uintptr(unsafe.Pointer(&page[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	return page[0]&1 != 0
}

// A goroutine gives back the pages of freed spans, but for those that stay
// warm. It never has more than maxSurplusBytes to do, and the spans are used
// again.
func TestSurplusIsGivenBack(t *testing.T) {
	a := newArena()
	defer a.release()
	var spans [][]byte
	for len(spans) < (minWarmBytes+4*maxSurplusBytes)/maxSlabBytes {
		spans = append(spans, a.alloc(maxSlabBytes))
	}
	a.background.Wait() // nothing is prefaulted any more
	for _, b := range spans {
		b[0] = 1
		a.free(b)
		a.mu.Lock()
		bytes := 0
		for _, b := range a.surplus.spans {
			bytes += len(b)
		}
		counted, served := a.surplus.bytes, a.surplus.served
		a.mu.Unlock()
		if bytes > maxSurplusBytes || bytes != counted || bytes > 0 && !served {
			t.Fatalf("%d bytes wait, counted %d, served: %t", bytes, counted, served)
		}
	}
	a.background.Wait()
	resident := 0
	for _, b := range spans {
		if isResident(t, b) {
			resident += len(b)
		}
	}
	if resident > minWarmBytes {
		t.Errorf("%d bytes keep their pages, want %d at most", resident, minWarmBytes)
	}
	total := a.total
	for range spans {
		a.alloc(maxSlabBytes)
	}
	if a.total != total {
		t.Errorf("%d more bytes for what was freed", a.total-total)
	}
}
