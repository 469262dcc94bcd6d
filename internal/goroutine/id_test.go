package goroutine

import (
	"sync"
	"testing"
)

// Goroutines that run at the same time have different numbers, which stay.
func TestID(t *testing.T) {
	const n = 100
	var group sync.WaitGroup
	ids := make([]uint64, n)
	all := make(chan struct{})
	for i := range ids {
		group.Go(func() {
			ids[i] = ID()
			<-all
			if again := ID(); again != ids[i] {
				t.Errorf("%d, then %d", ids[i], again)
			}
		})
	}
	close(all)
	group.Wait()
	seen := map[uint64]bool{ID(): true}
	for _, id := range ids {
		if id == 0 || seen[id] {
			t.Fatalf("the number %d is 0 or not the only one", id)
		}
		seen[id] = true
	}
}
