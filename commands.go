package kvstore

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"kvstore/internal/format"
	"kvstore/internal/mailbox"
)

// This file is what travels to the writer goroutine. Callers encode their own entries, and a command owns its bytes from the moment it is queued. It is
// answered exactly once, by the writer or by the caller of the command in front of it.

// writeCommand is one commit: a Set, a Delete or a Batch.
type writeCommand struct {
	mailbox.Slip
	entries []byte     // SET and DELETE entries, timestamps still zero; owned by the writer once queued
	count   int        // how many entries
	sets    int        // how many of them are SET
	answer  chan error // of one place; for a caller that waits in Set, Delete or Apply
	commit  *Commit    // for a caller of ApplyAsync; nil for the others

	next chan<- error // whom the caller is to pass the answer on to; nil for nobody. Set by the writer before it answers

	condition *condition // of a CompareAndSwap or a transaction; nil for the others
}

// syncCommand asks for everything accepted before it to be durable.
type syncCommand struct {
	answer chan error // of one place
}

// flushCommand asks for the background fsync's next piece of work.
type flushCommand struct {
	answer chan *flush // of one place; nil means nothing to do
}

// closeCommand is the last command of a store.
type closeCommand struct{}

// maxSpareBytes keeps huge buffers out of the pool. What is in it was on the way together, and goes at the next garbage collection.
const maxSpareBytes = 1 << 20

// newCommand returns an empty command for a write of so many bytes, to be filled and committed. If that is much, or attended is false, it
// waits until the writer's mailbox has room. Attended is whether the caller will wait for the answer, come what may.
func (s *Store) newCommand(ctx context.Context, bytes int, attended bool) (*writeCommand, error) {
	slip, err := s.mailbox.Reserve(ctx, bytes, attended)
	if err != nil {
		return nil, err
	}
	c, ok := s.spare.Get().(*writeCommand)
	if !ok {
		c = &writeCommand{answer: make(chan error, 1)}
	}
	c.Slip = slip
	return c, nil
}

// recycle takes back a command from the goroutine that got its answer, or never sent it.
func (s *Store) recycle(c *writeCommand) {
	if cap(c.entries) > maxSpareBytes {
		c.entries = nil
	}
	c.entries, c.count, c.sets, c.condition, c.next = c.entries[:0], 0, 0, nil, nil
	s.spare.Put(c)
}

func (c *writeCommand) set(key string, value []byte) {
	c.entries = appendSet(c.entries, key, value)
	c.count++
	c.sets++
}

func (c *writeCommand) delete(key string) {
	c.entries = appendDelete(c.entries, key)
	c.count++
}

// finish answers the command. The caller may reuse it at once.
func (c *writeCommand) finish(err error) {
	if c.commit != nil {
		c.commit.finish(err)
		return
	}
	c.answer <- err
}

// passOn is for the caller, who has been told, to do before anything else: the next one, or the writer, waits for it.
func (c *writeCommand) passOn(err error) {
	if c.next != nil {
		c.next <- err // it has room
	}
}

// Commit is the future result of ApplyAsync. Its methods may be called from any number of goroutines.
type Commit struct {
	err  error         // written before done is closed, valid afterwards
	done chan struct{} // closed by the writer, or by ApplyAsync if nothing was queued
}

func newCommit() *Commit { return &Commit{done: make(chan struct{})} }

func (c *Commit) finish(err error) {
	c.err = err
	close(c.done)
}

// Done returns a channel that is closed when the commit is decided: durable and visible, or failed. It is closed in all
// cases: when the store fails and when it is closed too.
func (c *Commit) Done() <-chan struct{} { return c.done }

// Wait waits for the result and returns it: nil, or an error as [Store.Apply] returns it. If ctx ends first, Wait
// returns ctx.Err() and the commit goes on.
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

// Room of a new batch. Programs that write much make batches of one size, mostly, and often a new one each time: one that has outgrown
// smallBatchBytes gets the room that the last such one needed, so that it does not leave twice its size to the collector.
const (
	minBatchBytes   = 1 << 10
	smallBatchBytes = 4 << 10
	maxUsualBatch   = 1 << 20
)

// usualBatch is about what the last batch took that was not small, of any store.
var usualBatch atomic.Int64

// Batch is a list of writes that are committed together: all or none of them, in order, with one acknowledgement. The zero value
// is an empty batch. It is not for concurrent use, and it keeps its memory for the next use after Reset. Whoever writes many batches should
// use one again and again: the memory of a new one has to be had, cleared and collected, which can take a quarter of its way's time.
type Batch struct {
	entries []byte // SET and DELETE entries, timestamps zero
	count   int
	sets    int
	err     error // the first limit broken; nothing is added once it is set
}

// Set adds a write of key. Key and value are copied. Limits are reported by Apply.
func (b *Batch) Set(key string, value []byte) {
	if b.admit(key, value) {
		b.entries = appendSet(b.entries, key, value)
		b.sets++
	}
}

// Delete adds a deletion of key, which need not exist.
func (b *Batch) Delete(key string) {
	if b.admit(key, nil) {
		b.entries = appendDelete(b.entries, key)
	}
}

// Len returns the number of writes added.
func (b *Batch) Len() int { return b.count }

// Reset empties the batch.
func (b *Batch) Reset() {
	*b = Batch{entries: b.entries[:0]}
}

// admit counts a write and reports whether it may be added: a batch that broke a limit is not going to be applied,
// and must not eat memory meanwhile.
func (b *Batch) admit(key string, value []byte) bool {
	b.count++
	if b.err == nil {
		b.err = checkLimits(key, value)
	}
	switch size := len(b.entries) + format.EntryOverhead + len(key) + len(value); {
	case b.err != nil:
	case size > MaxBatchBytes:
		b.err = fmt.Errorf("%w: %d bytes with write %d, limit %d", ErrBatchTooLarge, size, b.count, MaxBatchBytes)
	case size > cap(b.entries):
		b.grow(size)
	}
	return b.err == nil
}

// grow makes room for size bytes and more: append would make a large batch from nothing a quarter at a time.
func (b *Batch) grow(size int) {
	room := max(size, min(2*len(b.entries), MaxBatchBytes), minBatchBytes)
	if len(b.entries) >= smallBatchBytes {
		room = max(room, int(usualBatch.Load()))
	}
	b.entries = slices.Grow(b.entries, room-len(b.entries))
}

// fill makes c the commit of this batch, with a copy of its bytes.
func (b *Batch) fill(c *writeCommand) {
	c.entries = append(c.entries[:0], b.entries...)
	c.count, c.sets = b.count, b.sets
	if n := int64(len(b.entries)); n >= smallBatchBytes {
		usualBatch.Store(min(n+n/8, maxUsualBatch))
	}
}

// checkLimits verifies the sizes of one write.
func checkLimits(key string, value []byte) error {
	switch {
	case len(key) > MaxKeyBytes:
		return fmt.Errorf("%w: %d bytes, limit %d", ErrKeyTooLarge, len(key), MaxKeyBytes)
	case len(value) > MaxValueBytes:
		return fmt.Errorf("%w: %d bytes, limit %d", ErrValueTooLarge, len(value), MaxValueBytes)
	}
	return nil
}
