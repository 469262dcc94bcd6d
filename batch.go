package kvstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kvstore/internal/codec"
)

// minBatchBytes is the room that a new batch makes first.
const minBatchBytes = 1 << 10

// Batch is a list of writes that are committed together: all or none of them,
// in order, with one acknowledgement. The zero value is an empty batch. It is
// not for concurrent use.
//
// Reuse a Batch when you commit many: it keeps its memory after Reset, and
// allocating and collecting a new one can take a quarter of a commit's time.
type Batch struct {
	list    entryList
	added   int   // calls of Set, SetUntil and Delete
	soonest int64 // the earliest deadline, 0 for none
	err     error // the first limit that was broken; nothing is added afterwards

	version int64 // what SetVersion asked for
	isBound bool  // whether it did
}

// Set adds a write of key. Key and value are copied. Limits are reported by
// Apply.
func (b *Batch) Set(key string, value []byte) {
	b.set(key, value, 0)
}

// SetUntil adds a write of a key that is gone at deadline, as [Store.SetUntil]
// does. Apply reports a deadline that is impossible. If the deadline is not
// after the time of Apply, Apply deletes the key.
func (b *Batch) SetUntil(key string, value []byte, deadline time.Time) {
	until, err := nanoseconds(deadline)
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("%w (write %d, key %.40q)", err, b.added+1, key)
	}
	b.set(key, value, until)
	if until != 0 && (b.soonest == 0 || until < b.soonest) {
		b.soonest = until
	}
}

// set adds a write of a key that is gone at a deadline, 0 for none.
func (b *Batch) set(key string, value []byte, until int64) {
	if b.accept(entryBytes(key, value, until), key, value) {
		b.list.set(key, value, until)
	}
}

// expire adds a change of a key's deadline.
func (b *Batch) expire(key string, until int64) {
	if b.accept(expireEntryBytes+len(key), key, nil) {
		b.list.expire(key, until)
	}
}

// deleteDue adds the deletion of a key because its deadline has passed.
func (b *Batch) deleteDue(key string) {
	if b.accept(causeEntryBytes+entryBytes(key, nil, 0), key, nil) {
		b.list.deleteDue(key)
	}
}

// Delete adds a deletion of key, which need not exist.
func (b *Batch) Delete(key string) {
	if b.accept(entryBytes(key, nil, 0), key, nil) {
		b.list.delete(key)
	}
}

// SetVersion asks that the commit gets version v, as [View.Version] shows it.
// v must be above the version of the commit ahead of it and below 2^62.
// Otherwise Apply returns an error that Is ErrVersionOrder, nothing is written,
// and other commits are not affected. Versions may leave gaps. Commits after it
// get the clock's nanoseconds since 1970 as ever, or the version before them
// plus 1 if that is more. It is for a store that follows another one.
func (b *Batch) SetVersion(v int64) { b.version, b.isBound = v, true }

// Len returns the number of writes added.
func (b *Batch) Len() int { return b.added }

// Reset empties the batch.
func (b *Batch) Reset() {
	b.list.reset()
	*b = Batch{list: b.list}
}

// accept reports whether a write may be added whose entries have so many bytes.
// A batch that broke a limit is never applied, so it takes no more memory.
func (b *Batch) accept(bytes int, key string, value []byte) bool {
	b.added++
	if b.err == nil {
		b.err = checkWrite(b.added, key, value)
	}
	switch size := len(b.list.entries) + bytes; {
	case b.err != nil:
	case size > MaxBatchBytes:
		b.err = fmt.Errorf("%w: %d bytes with write %d, limit %d", ErrBatchTooLarge, size, b.added, MaxBatchBytes)
	case size > cap(b.list.entries):
		b.grow(size)
	}
	return b.err == nil
}

// grow makes room for size bytes. It doubles, where append would grow a large
// batch by a quarter at a time.
func (b *Batch) grow(size int) {
	have := len(b.list.entries)
	room := max(size, min(2*have, MaxBatchBytes), minBatchBytes)
	b.list.entries = slices.Grow(b.list.entries, room-have)
}

// fill makes c the commit of this batch, with a copy of its bytes, in which
// keys that are due by the clock are deleted.
func (b *Batch) fill(c *writeCommand, clock *clock) {
	c.wanted, c.isBound = b.version, b.isBound
	if b.soonest != 0 {
		if now := clock.now(); isDue(b.soonest, now) {
			b.fillAt(c, now)
			return
		}
	}
	bytes := append(c.list.entries[:0], b.list.entries...)
	c.list = b.list
	c.list.entries = bytes
}

// fillAt is fill write by write.
func (b *Batch) fillAt(c *writeCommand, now int64) {
	c.list.reset()
	for op := range codec.Ops(b.list.entries) {
		if key := string(op.Key); op.Delete || isDue(op.Deadline, now) {
			c.list.delete(key)
		} else {
			c.list.set(key, op.Value, op.Deadline)
		}
	}
}

// move makes c the commit of this batch, with the batch's own bytes.
func (b *Batch) move(c *writeCommand) {
	c.list, c.wanted, c.isBound = b.list, b.version, b.isBound
}

// Commit is the future result of ApplyAsync and DoAsync. Its methods may be
// called from any number of goroutines.
type Commit struct {
	err     error         // written before done is closed, valid afterwards
	version int64         // likewise
	done    chan struct{} // closed by the writer, or by the caller if nothing was queued
}

func newCommit() *Commit { return &Commit{done: make(chan struct{})} }

// complete decides the commit. It is called once. The version is 0 if none was
// made.
func (c *Commit) complete(version int64, err error) {
	c.version, c.err = version, err
	close(c.done)
}

// Done returns a channel that is closed when the commit is decided: durable and
// visible, or failed. It is closed in all cases, also when the store fails and
// when it is closed.
func (c *Commit) Done() <-chan struct{} { return c.done }

// Wait waits for the result and returns it: nil, or an error as [Store.Apply]
// returns it. If ctx ends first, Wait returns ctx.Err() and the commit goes on.
func (c *Commit) Wait(ctx context.Context) error {
	select {
	case <-c.done:
		return c.err
	default:
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Version returns the commit's version, as [View.Version] gives it: 0 before
// Done is closed, and if no commit was made, since it failed or the batch was
// empty. A view shows the commit if its version is not less.
func (c *Commit) Version() int64 {
	select {
	case <-c.done:
		return c.version
	default:
		return 0
	}
}
