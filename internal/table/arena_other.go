//go:build !linux || race

package table

// arena takes memory from Go's heap, in pieces without pointers: where there is no better way, and under the race
// detector, which sees nothing else.
type arena struct{}

func newArena() *arena { return &arena{} }

// load counts a call of Table.Load.
func (*arena) load(int) {}

// alloc returns at least n bytes, whole pages.
func (*arena) alloc(n int) []byte { return make([]byte, roundPages(n)) }

// free takes back what alloc returned.
func (*arena) free([]byte) {}

// release gives all memory back. Nobody may use any of it any more.
func (*arena) release() {}
