package kvstore

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"kvstore/internal/codec"
	"kvstore/internal/goroutine"
)

// updates is what the transactions of a store share: turns, and what is known
// about functions that write without their transaction.
type updates struct {
	turns *semaphore.Weighted // of the transaction that asks for one; the others follow in their order

	watched atomic.Int64 // goroutines that are watched

	mu  sync.Mutex
	own map[uint64]*ownWrites // guarded by mu: by goroutine
}

func newUpdates() updates {
	return updates{turns: semaphore.NewWeighted(1), own: map[uint64]*ownWrites{}}
}

// ownWrites is what the function of a transaction has written through the
// store's methods, and not through its Tx. It is owned by the function's
// goroutine.
type ownWrites struct {
	keys  []string
	outer *ownWrites // of the transaction whose function has begun this one, nil if there is none
}

// maxOwnWrites bounds the keys that are noted.
const maxOwnWrites = 1 << 10

// watch begins to note what a goroutine writes.
func (u *updates) watch(goroutine uint64) *ownWrites {
	u.mu.Lock()
	defer u.mu.Unlock()
	w := &ownWrites{outer: u.own[goroutine]}
	u.own[goroutine] = w
	u.watched.Add(1)
	return w
}

// unwatch ends what watch began.
func (u *updates) unwatch(goroutine uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watched.Add(-1)
	if outer := u.own[goroutine].outer; outer != nil {
		u.own[goroutine] = outer
	} else {
		delete(u.own, goroutine)
	}
}

// note notes the writes of a command, if its goroutine is watched. It costs one
// load while none is.
func (u *updates) note(c *writeCommand) {
	if u.watched.Load() == 0 {
		return
	}
	u.mu.Lock()
	w := u.own[goroutine.ID()]
	u.mu.Unlock()
	for ; w != nil; w = w.outer {
		w.add(c)
	}
}

// add notes the writes of a command.
func (w *ownWrites) add(c *writeCommand) {
	for op := range codec.Ops(c.list.entries) {
		if len(w.keys) == maxOwnWrites {
			return
		}
		w.keys = append(w.keys, string(op.Key))
	}
}

// within returns one of the keys that is among those that were read. w may be
// nil.
func (w *ownWrites) within(r *readSet) (key string, ok bool) {
	if w == nil {
		return "", false
	}
	for _, key := range w.keys {
		if r.has(key) {
			return key, true
		}
	}
	return "", false
}
