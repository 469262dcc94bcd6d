package kvstore

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Bounds on what waits for the writer. A stalled disk makes callers wait for queue space; it does not make the queue
// grow.
const (
	// maxQueuedBytes bounds the bytes of all commands that are queued or being written: twice what a fast disk takes
	// in the time of one slow fsync.
	maxQueuedBytes = 32 << 20

	// minCommandBytes is what the smallest command counts as, so that the bound above is one on their number too.
	minCommandBytes = 2 << 10

	// maxCommands is how many commands fit in the queue. The channel has room for all of them and the two that
	// count as nothing (close and flush), so that who has acquired its bytes never blocks in sending.
	maxCommands = maxQueuedBytes/minCommandBytes + 2
)

// queue carries commands from callers to the writer, bounded by bytes.
type queue struct {
	commands chan command        // never closed; the writer receives
	bytes    *semaphore.Weighted // acquired by senders, released by the writer once it has answered

	gate   sync.RWMutex // held for reading while sending; nothing blocks under it
	closed bool         // guarded by gate

	closing context.Context    // ended by close, for those who wait for bytes
	end     context.CancelFunc // of closing
}

func newQueue() *queue {
	q := &queue{commands: make(chan command, maxCommands), bytes: semaphore.NewWeighted(maxQueuedBytes)}
	q.closing, q.end = context.WithCancel(context.Background())
	return q
}

// commandWeight returns how many of the queue's bytes a command of n bytes takes. A command larger than the queue takes all
// of it.
func commandWeight(n int) int64 {
	return int64(min(max(n, minCommandBytes), maxQueuedBytes))
}

// acquire waits until the queue has room for weight bytes, ctx ends or the queue is closed.
func (q *queue) acquire(ctx context.Context, weight int64) error {
	if q.bytes.TryAcquire(weight) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.closing, cancel)()
	if err := q.bytes.Acquire(ctx, weight); err != nil {
		if q.closing.Err() != nil {
			return ErrClosed
		}
		return err
	}
	return nil
}

// send queues a command whose bytes are acquired. After an error the bytes are free again.
func (q *queue) send(c command, weight int64) error {
	q.gate.RLock()
	defer q.gate.RUnlock()
	if q.closed {
		q.bytes.Release(weight)
		return ErrClosed
	}
	q.commands <- c
	return nil
}

// close queues the last command; it reports false if there was one already.
func (q *queue) close() bool {
	q.gate.Lock()
	defer q.gate.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	q.commands <- &closeCommand{}
	q.end()
	return true
}
