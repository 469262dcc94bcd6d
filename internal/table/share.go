package table

import (
	"sync"
	"sync/atomic"
)

// share calls work once with each number below n, in as many goroutines as
// there are workers, the caller's included. worker, below workers, tells them
// apart.
func share(workers, n int, work func(worker, i int)) {
	var next atomic.Int64
	run := func(worker int) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			work(worker, i)
		}
	}
	var helpers sync.WaitGroup
	for worker := 1; worker < workers; worker++ {
		helpers.Go(func() { run(worker) })
	}
	run(0)
	helpers.Wait()
}
