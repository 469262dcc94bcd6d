package kvstore

import (
	"context"

	"kvstore/internal/mailbox"
	"kvstore/internal/wal"
)

// This file is what travels to the writer goroutine. A command owns its bytes
// from the moment it is queued. It is answered exactly once, by the writer or
// by the caller of the command in front of it.

// writeCommand is one commit: a Set, a Delete, a Batch or a transaction.
type writeCommand struct {
	mailbox.Ticket
	list   entryList  // owned by the writer once queued
	answer chan error // of one place; for a caller that waits in Set, Delete or Apply
	commit *Commit    // for a caller of ApplyAsync; nil for the others

	// next is where the caller must pass the answer on to, nil for nowhere. The
	// writer sets it before it answers.
	next chan<- error

	condition *condition // of a CompareAndSwap or a transaction; nil for the others
}

// syncCommand asks for everything accepted before it to be durable.
type syncCommand struct {
	answer chan error // of one place
}

// flushCommand asks for the next background fsync.
type flushCommand struct {
	answer chan *wal.Flush // of one place; nil means there is nothing to do
}

// snapshotCommand asks for a snapshot.
type snapshotCommand struct {
	answer chan snapshotAnswer // of one place
}

// snapshotAnswer names the snapshot under way, nil if the newest one covers
// everything.
type snapshotAnswer struct {
	snapshot *snapshot
	err      error
}

// closeCommand is the last command of a store.
type closeCommand struct{}

// maxSpareBytes keeps huge buffers out of the pool of spare commands.
const maxSpareBytes = 1 << 20

// newCommand returns an empty command for a write of n bytes. For a large
// write, or if blocking is false, it waits until the mailbox has room. blocking
// says that the caller waits for the answer, whatever happens.
func (s *Store) newCommand(ctx context.Context, n int, blocking bool) (*writeCommand, error) {
	ticket, err := s.mailbox.Reserve(ctx, n, blocking)
	if err != nil {
		return nil, err
	}
	c, ok := s.spare.Get().(*writeCommand)
	if !ok {
		c = &writeCommand{answer: make(chan error, 1)}
	}
	c.Ticket = ticket
	return c, nil
}

// recycle takes back a command from the goroutine that got its answer, or that
// never sent it.
func (s *Store) recycle(c *writeCommand) {
	if cap(c.list.entries) > maxSpareBytes {
		c.list.entries = nil
	}
	c.list.reset()
	c.condition, c.next = nil, nil
	s.spare.Put(c)
}

// reply answers the command. The caller may reuse it at once.
func (c *writeCommand) reply(err error) {
	if c.commit != nil {
		c.commit.complete(err)
		return
	}
	c.answer <- err
}

// relay passes an answer on to the next caller, or to the writer. A caller does
// this before anything else, since they wait for it.
func (c *writeCommand) relay(err error) {
	if c.next != nil {
		c.next <- err // it has room
	}
}
