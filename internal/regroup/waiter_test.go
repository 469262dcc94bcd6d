package regroup

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// P2: on one processor, who is ready to write has its turn before the next sync. Now and then the scheduler gives the writer the first turn
// again, and then nobody has come.
func TestWhoIsReadyIsInTheNextGroup(t *testing.T) {
	const callers, groups = 500, 20
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) { // where the clock stands still, and nothing is given up for want of time
		came := 0
		for range groups {
			var ready atomic.Int64
			for range callers {
				go ready.Add(1)
			}
			w := Waiter{Synced: time.Nanosecond}
			w.Wait(func() int { return int(ready.Load()) })
			came += int(ready.Load())
			synctest.Wait()
		}
		if came < groups*callers/2 {
			t.Errorf("%d of %d came in time", came, groups*callers)
		}
	})
}

// P10: a lone caller is not waited for, nor many where a sync takes no longer than their coming back; and who has waited in vain does
// so less and less often.
func TestWhomTheWriterWaitsFor(t *testing.T) {
	for _, c := range []struct {
		answered, waiting int
		synced            time.Duration
		want              int
	}{
		{1, 0, time.Millisecond, 0},
		{0, 5, time.Millisecond, 0},
		{100, 0, 10 * time.Microsecond, 0},
		{2, 0, time.Millisecond, 3},
		{1, 1, time.Millisecond, 3},
	} {
		waits := 0 // after how many of ten groups
		w := Waiter{Synced: c.synced, Answered: c.answered, Waiting: c.waiting}
		for range 10 {
			last := w.patience.last
			if w.Wait(func() int { return 0 }); w.patience.last != last {
				waits++
			}
		}
		if waits != c.want {
			t.Errorf("%d answered, %d waiting, a sync of %v: waits after %d of 10 groups, want %d", c.answered, c.waiting, c.synced, waits, c.want)
		}
	}
}
