package kvstore

import (
	"runtime"
	"time"
)

// Bounds on how long the writer waits for callers to come back.
const (
	// maxRegroupWait is far below what a sync takes where waiting is worth anything.
	maxRegroupWait = 500 * time.Microsecond

	// regroupShare is the part of the last sync that may be waited: what is lost if nobody comes.
	regroupShare = 2

	// maxRegroupYields bounds the waiting where the clock stands still.
	maxRegroupYields = 4096

	// maxRegroupPause is how many groups go by, at most, before it is tried again after nobody came.
	maxRegroupPause = 64

	// maxGiveWay bounds how long others go first. It is about what a thousand callers need, one after the other, on one processor.
	maxGiveWay = 2 * time.Millisecond
)

// regroup keeps callers that write in a loop in one group. Without it they fall into two: while the writes of one half are
// synced, those of the other half queue up, and each write waits for two syncs. So after answering, the writer lets the answered
// callers run, and goes on when most of them are back. A lone caller is never waited for, and if callers do not come
// back, since their writes come from outside at their own pace, it is seldom tried.
//
// Its fields are owned by [walWriter.run].
type regroup struct {
	synced   time.Duration // how long writing and syncing the last group took
	answered int           // callers of the last group that were waiting for their answer
	queued   int           // commands in the queue when they were answered
	pause    int           // groups for which not to try
	failed   int           // the last pause
}

// wait waits for callers to come back, if that is worth it. Then it gives way to goroutines that are ready, as long as each time brings more
// commands: a sync is best begun when nobody is left who could have been in it. With a single processor it would otherwise begin
// after a few dozen callers had their turn, and all the others would wait for theirs while the processor waits for the disk.
func (r *regroup) wait(q *queue) {
	r.waitForAnswered(q)
	started := time.Now()
	for n := -1; r.synced > 0 && len(q.commands) > n && time.Since(started) < maxGiveWay; {
		n = len(q.commands)
		runtime.Gosched()
	}
}

// waitForAnswered waits for the callers that were answered last.
func (r *regroup) waitForAnswered(q *queue) {
	answered, queued := r.answered, r.queued
	if answered+queued < 2 || answered == 0 {
		return
	}
	if time.Duration(answered)*time.Microsecond/2 > r.synced {
		return
	}
	if r.pause > 0 {
		r.pause--
		return
	}
	want := queued + answered - answered/10
	limit := min(r.synced/regroupShare, maxRegroupWait)
	started := time.Now()
	for range maxRegroupYields {
		if len(q.commands) >= want {
			r.failed = 0
			return
		}
		if time.Since(started) >= limit {
			break
		}
		runtime.Gosched()
	}
	if back := len(q.commands) - queued; 2*back >= answered {
		return // most of them are slow, but they do come
	}
	r.failed = min(2*r.failed+1, maxRegroupPause)
	r.pause = r.failed
}
