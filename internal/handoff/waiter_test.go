package handoff

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// P2: on one processor, callers that are ready to write run before the next
// sync begins. Now and then the scheduler runs the writer first again, and no
// caller has written by then.
func TestReadyCallersJoinTheNextGroup(t *testing.T) {
	const callers, groups = 500, 20
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) { // the clock stands still, so that no bound on time ends the wait
		came := 0
		for range groups {
			var ready atomic.Int64
			for range callers {
				go ready.Add(1)
			}
			var w Waiter
			w.Wait(Group{Synced: time.Nanosecond}, func() int { return int(ready.Load()) })
			came += int(ready.Load())
			synctest.Wait()
		}
		if came < groups*callers/2 {
			t.Errorf("%d of %d came in time", came, groups*callers)
		}
	})
}

// P10: the writer waits neither for a lone caller nor for more callers than can
// return within a sync, and a wait that fails is repeated less and less often.
func TestWaitForAnswered(t *testing.T) {
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
		waits := 0 // after how many of ten groups the writer waits
		var w Waiter
		for range 10 {
			last := w.backoff.last
			w.Wait(Group{Synced: c.synced, Answered: c.answered, Waiting: c.waiting}, func() int { return 0 })
			if w.backoff.last != last {
				waits++
			}
		}
		if waits != c.want {
			t.Errorf("%d answered, %d waiting, a sync of %v: waits after %d of 10 groups, want %d",
				c.answered, c.waiting, c.synced, waits, c.want)
		}
	}
}
