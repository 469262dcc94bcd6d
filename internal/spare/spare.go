// Package spare is memory for the rare piece of a file that is much larger than
// all others: a value may have 512 MiB.
package spare

import "runtime/debug"

// Large is memory that grows with the largest piece so far. There is never
// garbage of that size: the collector would let the process grow by as much
// again before it frees any. The zero value is ready. It is for one goroutine
// at a time.
type Large struct {
	bytes []byte
}

// Bytes returns n bytes. Those of the last call are invalid from now on.
func (l *Large) Bytes(n int) []byte {
	if old := cap(l.bytes); old < n {
		l.Release()
		l.bytes = make([]byte, max(n, old+old/4)) // more than n, so that a few sizes lead to the largest
	}
	return l.bytes[:n]
}

// Release gives the memory back to the system.
func (l *Large) Release() {
	if l.bytes == nil {
		return
	}
	l.bytes = nil
	debug.FreeOSMemory()
}
