package kvstore

import (
	"context"

	"kvstore/internal/mailbox"
	"kvstore/internal/wal"
)

// This file is what travels to the writer goroutine. A command owns its bytes
// from the moment it is queued. It is answered exactly once, by the writer or
// by the caller of the command in front of it.

// writeCommand is one commit, or none if it turns out to write nothing.
type writeCommand struct {
	mailbox.Ticket
	list   entryList     // owned by the writer once queued
	answer chan struct{} // of one place; for a caller that waits
	commit *Commit       // for a caller of ApplyAsync or DoAsync; nil for the others

	// next is where the caller must pass the answer on to, nil for nowhere. The
	// writer sets it before it answers.
	next chan<- struct{}

	// decide, unless it is nil, decides what the command writes, given what is
	// ahead of it in commit order. The writer calls it once, or not at all. An
	// error is the command's own: it writes nothing.
	decide func(*ahead) (write bool, err error)

	wanted  int64 // the version that SetVersion asked for
	isBound bool  // whether it did; the writer chooses otherwise

	// The answer, written by the writer before it gives it.
	err     error
	version int64 // of the commit; 0 if none was made
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
	c := s.spareCommand()
	c.Ticket = ticket
	return c, nil
}

// spareCommand returns an empty command that has acquired nothing.
func (s *Store) spareCommand() *writeCommand {
	if c, ok := s.spare.Get().(*writeCommand); ok {
		return c
	}
	return &writeCommand{answer: make(chan struct{}, 1)}
}

// recycle takes back a command from the goroutine that got its answer, or that
// never sent it.
func (s *Store) recycle(c *writeCommand) {
	if cap(c.list.entries) > maxSpareBytes {
		c.list.entries = nil
	}
	c.list.reset()
	*c = writeCommand{list: c.list, answer: c.answer}
	s.spare.Put(c)
}

// reply answers the command. The caller may reuse it at once.
func (c *writeCommand) reply() {
	if c.commit != nil {
		c.commit.complete(c.version, c.err)
		return
	}
	c.answer <- struct{}{}
}

// relay passes the turn to have an answer on to the next caller, or to the
// writer. A caller does this before anything else, since they wait for it.
func (c *writeCommand) relay() {
	if c.next != nil {
		c.next <- struct{}{} // it has room
	}
}
