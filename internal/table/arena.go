package table

import "unsafe"

// pageBytes is what the arena counts in: a page of most systems, or a part of one.
const pageBytes = 4096

// roundPages rounds up to whole pages.
func roundPages(n int) int { return (n + pageBytes - 1) &^ (pageBytes - 1) }

// words is b, whose length is a multiple of 8, as integers. Memory of 8 bytes and more is aligned to 8.
func words(b []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/8)
}

// wordBytes is the inverse of words.
func wordBytes(w []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), len(w)*8)
}
