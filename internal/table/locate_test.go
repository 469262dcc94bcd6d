package table

import (
	"fmt"
	"sync"
	"testing"
)

// A lookup may load bytes after its record into the cache, but never where the
// writer is at work, in the open slab or in a new one. The race detector checks
// it.
func TestReadersKeepAwayFromTheOpenSlab(t *testing.T) {
	op := func(i, size int) Op { return Op{Key: fmt.Append(nil, i), Value: make([]byte, size)} }
	for round := range 20 {
		for _, size := range []int{100, minSlabBytes} {
			tab := New(0)
			first := op(0, 100)
			tab.Apply([]Commit{{Version: 1, Ops: []Op{first}}})
			i := 1
			for tab.shardOf(tab.hash(fmt.Sprint(i))) != tab.shardOf(tab.hash(string(first.Key))) {
				i++
			}
			both := []func(){
				func() {
					// Often enough that a lookup falls in the middle of Stage.
					for range 200 {
						tab.MultiGet(make([][]byte, 1), []string{string(first.Key)})
					}
				},
				func() { tab.Begin([]Commit{{Version: 2, Ops: []Op{op(i, size)}}}); tab.Stage(func() {}) },
			}
			var wg sync.WaitGroup
			wg.Go(both[round%2]) // in either order
			wg.Go(both[1-round%2])
			wg.Wait()
			tab.Release()
		}
	}
}
