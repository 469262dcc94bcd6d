package mailbox

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// budget is a semaphore that knows how much of it is acquired.
type budget struct {
	semaphore *semaphore.Weighted
	used      *atomic.Int64
}

func newBudget(n int64) budget { return budget{semaphore.NewWeighted(n), new(atomic.Int64)} }

// TryAcquire acquires n if that is possible at once.
func (b budget) TryAcquire(n int64) bool {
	ok := b.semaphore.TryAcquire(n)
	if ok {
		b.used.Add(n)
	}
	return ok
}

// Acquire waits until it has acquired n, or ctx ends.
func (b budget) Acquire(ctx context.Context, n int64) error {
	err := b.semaphore.Acquire(ctx, n)
	if err == nil {
		b.used.Add(n)
	}
	return err
}

// Release gives n back.
func (b budget) Release(n int64) {
	b.used.Add(-n)
	b.semaphore.Release(n)
}
