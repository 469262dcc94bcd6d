// Package regroup decides how a writer goroutine and its callers take turns: who tells callers that their writes are done, and how long the writer waits for them
// before it writes the next group.
package regroup

import (
	"runtime"
	"time"
)

// Bounds on how long the writer waits for callers to come back.
const (
	// maxWait is far below what a sync takes where waiting is worth anything.
	maxWait = 500 * time.Microsecond

	// waitShare is the part of the last sync that may be waited: what is lost if nobody comes.
	waitShare = 2

	// maxYields bounds the waiting where the clock stands still.
	maxYields = 4096

	// maxGiveWay bounds how long others go first. It is about what a thousand callers need, one after the other, on one processor.
	maxGiveWay = 2 * time.Millisecond
)

// Waiter keeps callers that write in a loop in one group. Without it they fall into two: while the writes of one half are
// synced, those of the other half queue up, and each write waits for two syncs. So after answering, the writer lets the answered
// callers run, and goes on when most of them are back. A lone caller is never waited for, and if callers do not come
// back, since their writes come from outside at their own pace, it is seldom tried.
//
// It is the writer's alone.
type Waiter struct {
	Synced   time.Duration // how long writing and syncing took, of the last group that was synced; 0 before
	Answered int           // callers of the last group that were waiting for their answer
	Waiting  int           // writes that were waiting for the writer when they were answered

	patience patience
}

// soonBack reports whether so many callers, who write again at once, can be expected to do so in the time of a sync. A goroutine needs some half a microsecond.
func soonBack(callers int, synced time.Duration) bool {
	return time.Duration(callers)*time.Microsecond/2 <= synced
}

// Wait waits for callers to come back, if that is worth it; waiting says how many writes wait for the writer. Then it gives way to goroutines that are
// ready, as long as each time brings more: a sync is best begun when nobody is left who could have been in it. With a single processor it would
// otherwise begin after a few dozen callers had their turn, and all the others would wait for theirs while the processor waits for the disk.
func (w *Waiter) Wait(waiting func() int) {
	w.waitForAnswered(waiting)
	started := time.Now()
	for before, n := -1, waiting(); w.Synced > 0 && n > before && time.Since(started) < maxGiveWay; before, n = n, waiting() {
		runtime.Gosched()
	}
}

// waitForAnswered waits for the callers that were answered last.
func (w *Waiter) waitForAnswered(waiting func() int) {
	if w.Answered+w.Waiting < 2 || w.Answered == 0 {
		return
	}
	if !soonBack(w.Answered, w.Synced) || !w.patience.try() {
		return
	}
	want := w.Waiting + w.Answered - w.Answered/10
	limit := min(w.Synced/waitShare, maxWait)
	started := time.Now()
	for range maxYields {
		if waiting() >= want {
			w.patience.good()
			return
		}
		if time.Since(started) >= limit {
			break
		}
		runtime.Gosched()
	}
	if back := waiting() - w.Waiting; 2*back < w.Answered { // or else most of them are slow, but they do come
		w.patience.vain(1)
	}
}
