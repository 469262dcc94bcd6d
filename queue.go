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

	// spare holds commands whose callers have got their answer. It is not a global one, since a channel that was made in
	// a testing/synctest bubble must not turn up in another.
	spare sync.Pool
}

// maxSpareBytes keeps huge buffers out of the pool. What is in it was in the queue together, and goes at the next garbage collection.
const maxSpareBytes = 1 << 20

// reserve waits for room for a write of so many bytes and returns an empty command, to be filled and sent. Filling comes
// after waiting: who waits holds no copy of what it wants to write.
func (q *queue) reserve(ctx context.Context, bytes int) (*writeCommand, error) {
	weight := commandWeight(bytes)
	if err := q.acquire(ctx, weight); err != nil {
		return nil, err
	}
	c, ok := q.spare.Get().(*writeCommand)
	if !ok {
		c = &writeCommand{answer: make(chan error, 1)}
	}
	c.weight = weight
	return c, nil
}

// recycle takes back a command from the goroutine that got its answer, or never sent it.
func (q *queue) recycle(c *writeCommand) {
	if cap(c.entries) > maxSpareBytes {
		c.entries = nil
	}
	c.entries, c.count, c.sets, c.weight, c.condition = c.entries[:0], 0, 0, 0, nil
	q.spare.Put(c)
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

// sendControl waits for room for a command that writes nothing, and queues it.
func (q *queue) sendControl(ctx context.Context, c command) error {
	if err := q.acquire(ctx, minCommandBytes); err != nil {
		return err
	}
	return q.send(c, minCommandBytes)
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
