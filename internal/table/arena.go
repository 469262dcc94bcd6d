package table

import (
	"sync/atomic"
	"unsafe"
)

// pageBytes is the arena's unit. It is the page size of most systems, or a
// divisor of it.
const pageBytes = 4096

// roundPages rounds n up to whole pages.
func roundPages(n int) int { return (n + pageBytes - 1) &^ (pageBytes - 1) }

// words returns b as integers. The length of b must be a multiple of 8. b is
// aligned, because memory of 8 bytes or more always is.
func words(b []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/8)
}

// wordBytes is the inverse of words.
func wordBytes(w []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), len(w)*8)
}

// usage is how much memory an arena has.
type usage struct {
	mapped atomic.Int64 // bytes that it has from the system
	used   atomic.Int64 // of these, bytes that were allocated and not freed
}
