//go:build !linux || race

package table

// arena allocates memory on Go's heap, in pieces without pointers. It is for
// systems without a better way, and for the race detector, which observes only
// Go's heap.
type arena struct{ usage }

// freesParts says that a part of a piece can be freed alone.
const freesParts = false

func newArena() *arena { return &arena{} }

// load counts a call of Table.Load.
func (*arena) load(int) {}

// alloc returns at least n bytes, in whole pages.
func (a *arena) alloc(n int) []byte {
	b := make([]byte, roundPages(n))
	a.used.Add(int64(len(b)))
	a.mapped.Add(int64(len(b)))
	return b
}

// free takes back memory from alloc.
func (a *arena) free(b []byte) {
	a.used.Add(-int64(len(b)))
	a.mapped.Add(-int64(len(b)))
}

// release does nothing. The caller must not use any of the memory afterwards.
func (*arena) release() {}
