package table

import (
	"fmt"
	"sync"
	"testing"

	"kvstore/internal/testseed"
)

// A lookup may load bytes after its record into the cache, but never where the
// writer is at work, in the open slab or in a new one. The race detector checks
// it. A prefetch is no load, and may be of any address.
func TestReadersKeepAwayFromTheOpenSlab(t *testing.T) {
	withoutPrefetch(t)
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

func withoutPrefetch(t *testing.T) {
	before := canPrefetch
	t.Cleanup(func() { canPrefetch = before })
	canPrefetch = false
}

// A prefetch may be of an address where there is no memory.
func TestPrefetchOfNothing(*testing.T) {
	addresses := []uintptr{0, 1, ^uintptr(0), ^uintptr(0) - 64}
	for n := range len(addresses) + 1 {
		for lines := range maxPrefetchLines + 1 {
			prefetch(&addresses[0], n, lines)
		}
	}
}

// Prefetches change only how long lookups take.
func TestLocateWithoutPrefetch(t *testing.T) {
	rng := testseed.Rand(t)
	tab := New(0)
	defer tab.Release()
	var ops []Op
	for i := range 1000 {
		ops = append(ops, Op{Key: fmt.Append(nil, i), Value: make([]byte, rng.IntN(1<<rng.IntN(12)))})
	}
	tab.Apply([]Commit{{Version: 1, Ops: ops}})
	var hashes, with, without [windowKeys]uint64
	for i := range hashes {
		hashes[i] = tab.hash(fmt.Sprint(rng.IntN(1500))) // some of no key
	}
	tab.locate(&with, hashes[:])
	withoutPrefetch(t)
	if tab.locate(&without, hashes[:]); with != without {
		t.Errorf("%x, without prefetches %x", with, without)
	}
}
