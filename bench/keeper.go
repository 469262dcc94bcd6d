package main

import (
	"bytes"
	"unsafe"
)

const (
	firstKeeperBytes = 4 << 10
	maxKeeperBytes   = 64 << 10
	maxKeptBytes     = 1 << 10 // larger copies are allocated one by one
)

// keeper copies the pairs of a scan, so that the caller can keep them. It puts
// many small copies into one piece of memory, as kvstore does. The peers' own
// ways to copy allocate once for each copy, which would cost some of them more
// than the scan.
type keeper struct {
	free []byte
	size int // of the current piece; free is the rest of it
}

func (k *keeper) reserve(n int) []byte {
	if n > len(k.free) {
		k.size = min(max(2*k.size, firstKeeperBytes), maxKeeperBytes)
		k.free = make([]byte, k.size)
	}
	space := k.free[:n:n]
	k.free = k.free[n:]
	return space
}

func (k *keeper) bytes(b []byte) []byte {
	if len(b) > maxKeptBytes {
		return bytes.Clone(b)
	}
	space := k.reserve(len(b))
	copy(space, b)
	return space
}

// bytesOf is bytes for a string.
func (k *keeper) bytesOf(s string) []byte { return k.bytes(unsafe.Slice(unsafe.StringData(s), len(s))) }

// text is bytes for a key. The copy is never written to.
func (k *keeper) text(b []byte) string {
	kept := k.bytes(b)
	return unsafe.String(unsafe.SliceData(kept), len(kept))
}
