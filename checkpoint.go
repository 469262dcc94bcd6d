package kvstore

import (
	"context"

	"kvstore/internal/format"
	"kvstore/internal/table"
	"kvstore/internal/vfs"
)

// This file is snapshots while serving: the writer goes on to a new segment and opens a view of what all earlier ones hold; a
// goroutine writes that to a file, and then removes what the file covers.

// checkpoint is a snapshot that is being written, by a goroutine of its own.
type checkpoint struct {
	view     *table.View      // the goroutine's, which closes it
	info     *format.Snapshot // the goroutine's until done is closed
	walBytes int64            // immutable: bytes of the log that it covers
	hurry    chan struct{}    // closed by the writer when it waits: the disk need not be left to others any more
	err      error            // written by the goroutine; valid after done is closed
	done     chan struct{}    // closed by the goroutine
}

// snapshotCommand asks for a snapshot.
type snapshotCommand struct {
	answer chan snapshotAnswer // of one place
}

// snapshotAnswer tells of the snapshot under way; checkpoint is nil if the newest one covers everything.
type snapshotAnswer struct {
	checkpoint *checkpoint
	err        error
}

// Snapshot writes a snapshot while reads and writes go on, and removes the part of the log that it covers, so that the next Open has
// little to replay. Calls that come while one is being written share it: it has what was acknowledged before the first of
// them. Close waits for it.
//
// If ctx has ended before the call, nothing happens; if it ends later, Snapshot returns ctx.Err() at once and the snapshot goes on. Other
// errors: ErrClosed, ErrFailed, ErrReadOnly, one that Is syscall.ENOSPC when the disk is full, and those of the file system;
// after any of them the log and the snapshot before are as they were, and the store goes on unless it is ErrFailed.
func (s *Store) Snapshot(ctx context.Context) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	c := &snapshotCommand{answer: make(chan snapshotAnswer, 1)}
	if err := s.mailbox.SendControl(ctx, c); err != nil {
		return err
	}
	var answer snapshotAnswer
	select {
	case answer = <-c.answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	if answer.checkpoint == nil {
		return answer.err
	}
	select {
	case <-answer.checkpoint.done:
		return answer.checkpoint.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// beginCheckpoint begins a snapshot of everything written, or returns the one under way.
func (w *walWriter) beginCheckpoint() (*checkpoint, error) {
	w.settleCheckpoint()
	if w.checkpoint != nil {
		return w.checkpoint, nil
	}
	if w.waitFlush(); w.failure != nil {
		return nil, w.failure
	}
	if w.written == w.snapshotted {
		return nil, nil
	}
	if !w.segment.empty() {
		if err := w.turnOver(0); err != nil {
			return nil, err
		}
	}
	view := w.table.View()
	c := &checkpoint{
		view: view, walBytes: w.status.walBytes.Load(), hurry: make(chan struct{}), done: make(chan struct{}),
		info: &format.Snapshot{
			Timestamp: w.version, Count: uint32(view.Len()), ID: w.segment.header.ID, Number: w.segment.header.Number, LastGroup: w.written,
		},
	}
	w.checkpoint = c
	w.background(func() error {
		defer close(c.done)
		c.err = w.writeCheckpoint(c)
		return nil
	})
	return c, nil
}

// writeCheckpoint writes the snapshot, and removes what it covers. It is not run by the writer's goroutine, and uses nothing of the
// writer's but the directory and the figures.
func (w *walWriter) writeCheckpoint(c *checkpoint) error {
	gentle := vfs.NewGentle(w.status.groups.Load, c.hurry)
	err := writeSnapshot(w.dir, c.info, c.view.All(), gentle.Writer)
	c.view.Close()
	if err != nil {
		return err
	}
	files, err := list(w.dir)
	if err == nil {
		err = removeAll(w.dir, files.Below(c.info.Number))
	}
	if err == nil {
		w.status.walBytes.Add(-c.walBytes)
	}
	return err
}

// settleCheckpoint takes in the result of a snapshot that was being written, if it has one.
func (w *walWriter) settleCheckpoint() {
	if w.checkpoint == nil {
		return
	}
	select {
	case <-w.checkpoint.done:
		w.waitCheckpoint()
	default:
	}
}

// waitCheckpoint waits for the snapshot that is being written and takes in its result.
func (w *walWriter) waitCheckpoint() {
	c := w.checkpoint
	if c == nil {
		return
	}
	close(c.hurry)
	<-c.done
	w.checkpoint = nil
	if c.err != nil {
		w.report("kvstore: snapshot failed", c.err)
		return
	}
	w.snapshotted, w.snapshotDue = c.info.LastGroup, w.snapshotBytes
}

// checkpointIfDue begins a snapshot when the log has grown by SnapshotBytes.
func (w *walWriter) checkpointIfDue() {
	w.settleCheckpoint()
	grown := w.status.walBytes.Load()
	if w.snapshotBytes == 0 || w.failure != nil || w.checkpoint != nil || grown < w.snapshotDue {
		return
	}
	w.snapshotDue = grown + w.snapshotBytes // if this one fails, the next is due when as much has come again
	if _, err := w.beginCheckpoint(); err != nil {
		w.report("kvstore: snapshot failed", err)
	}
}

// report tells the Logger of an error. In a goroutine of its own: a Logger may write to this very store, and would wait for the
// writer for ever.
func (w *walWriter) report(message string, err error) {
	w.spawn(func() error {
		w.log.Error(message, "error", err)
		return nil
	})
}
