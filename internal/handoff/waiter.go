// Package handoff decides how a writer goroutine and its callers take turns:
// who notifies the callers that their writes are done, and how long the writer
// waits for them before it writes the next group.
//
// It assumes Go's scheduler: that a goroutine made ready runs next on the
// processor that made it ready, that an idle processor takes over other ready
// goroutines, and that waking a goroutine on another processor costs more than
// running it on this one. It also assumes that callers write in a loop. Nothing
// here changes what the store promises, and a wrong assumption costs speed
// alone. Package tuning has the switch: Handoff.
package handoff

import (
	"runtime"
	"time"
)

// Bounds on how long the writer waits for callers to return.
const (
	// maxWait is far below the time of a sync for which waiting is worthwhile.
	maxWait = 500 * time.Microsecond

	// waitShare bounds the wait to 1/waitShare of the last sync, which is what
	// is lost if no caller returns.
	waitShare = 2

	// maxYields bounds the wait where the clock stands still.
	maxYields = 4096

	// maxYieldTime bounds how long the writer yields to ready goroutines. It is
	// about what a thousand callers need, one after the other, on one
	// processor.
	maxYieldTime = 2 * time.Millisecond
)

// Group is what a [Waiter] needs to know about the last group.
type Group struct {
	Synced   time.Duration // to write and sync the last group that was synced; 0 if there was none
	Answered int           // callers that were blocked until they got their answer
	Waiting  int           // writes that were queued for the writer when it answered
}

// Waiter keeps callers that write in a loop in one group. Without it they split
// into two halves: while the writes of one half are synced, those of the other
// half queue up, and each write waits for two syncs. So after the writer has
// answered a group, it lets the answered callers run and goes on when most of
// them have returned. It never waits for a lone caller. If callers do not
// return, because their writes come from outside at their own pace, it waits
// with backoff.
//
// A Waiter is owned by the writer. The zero value is ready.
type Waiter struct {
	backoff backoff
}

// fitsIntoSync reports whether n callers that write again at once can do so
// within the time of a sync. A goroutine needs about half a microsecond.
func fitsIntoSync(n int, synced time.Duration) bool {
	return time.Duration(n)*time.Microsecond/2 <= synced
}

// Wait waits for the callers of the last group to return, if that is
// worthwhile; waiting returns how many writes are queued for the writer. Then
// Wait yields to ready goroutines for as long as each yield brings more writes.
// A sync is best begun when no goroutine is left that could have been part of
// it. With a single processor the sync would otherwise begin after a few dozen
// callers had run, and all others would wait for their turn while the processor
// waits for the disk.
func (w *Waiter) Wait(last Group, waiting func() int) {
	w.waitForAnswered(last, waiting)
	if last.Synced == 0 {
		return
	}
	started := time.Now()
	for before, n := -1, waiting(); n > before && time.Since(started) < maxYieldTime; before, n = n, waiting() {
		runtime.Gosched()
	}
}

// waitForAnswered waits for the callers that were answered last.
func (w *Waiter) waitForAnswered(last Group, waiting func() int) {
	if last.Answered+last.Waiting < 2 || last.Answered == 0 {
		return
	}
	if !fitsIntoSync(last.Answered, last.Synced) || !w.backoff.try() {
		return
	}
	want := last.Waiting + last.Answered - last.Answered/10
	limit := min(last.Synced/waitShare, maxWait)
	started := time.Now()
	for range maxYields {
		if waiting() >= want {
			w.backoff.succeeded()
			return
		}
		if time.Since(started) >= limit {
			break
		}
		runtime.Gosched()
	}
	returned := waiting() - last.Waiting
	if 2*returned < last.Answered { // otherwise most callers are slow, but do return
		w.backoff.failed(1)
	}
}
