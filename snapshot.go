package kvstore

import (
	"context"

	"kvstore/internal/diskio"
	"kvstore/internal/format"
	"kvstore/internal/snapfile"
	"kvstore/internal/table"
	"kvstore/internal/tuning"
	"kvstore/internal/vfs"
	"kvstore/internal/wal"
)

// This file is snapshots. While the store serves, the writer goes on to a new
// segment and opens a view of what all earlier ones hold; a goroutine writes
// that to a file and then removes what the file covers. Close writes the last
// one.

// snapshotter is the writer's part of it. [walWriter.run] owns its fields.
type snapshotter struct {
	dir           vfs.Dir                         // immutable
	log           *wal.Log                        // immutable
	table         *table.Table                    // immutable
	status        *status                         // shared, see walWriter
	background    func(task func() error)         // immutable: runs a task in a goroutine that Close waits for
	report        func(message string, err error) // immutable
	snapshotBytes int64                           // immutable: Config.SnapshotBytes

	due     int64     // bytes in the log at which the next snapshot begins
	covered uint64    // the last group that the newest snapshot covers
	running *snapshot // nil if none is being written
}

// snapshot is a snapshot file that a goroutine is writing.
type snapshot struct {
	view     *table.View      // the goroutine's, which closes it
	info     *format.Snapshot // the goroutine's until done is closed
	walBytes int64            // immutable: bytes of the log that it covers
	urgent   chan struct{}    // closed by the writer when it waits: the disk need not be left to others
	err      error            // written by the goroutine; valid after done is closed
	done     chan struct{}    // closed by the goroutine
}

// Snapshot writes a snapshot while reads and writes go on, and removes the part
// of the log that it covers, so that the next Open has little to replay. Calls
// that come while one is being written share it: it has what was acknowledged
// before the first of them. Close waits for it.
//
// If ctx has ended before the call, nothing happens. If it ends later, Snapshot
// returns ctx.Err() at once and the snapshot goes on. Other errors: ErrClosed,
// ErrFailed, ErrReadOnly, one that Is syscall.ENOSPC when the disk is full, and
// those of the file system. After any of them the log and the snapshot before
// are as they were, and the store goes on unless it is ErrFailed.
func (s *Store) Snapshot(ctx context.Context) error {
	if err := s.checkWritable(ctx); err != nil {
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
	if answer.snapshot == nil {
		return publicError(answer.err)
	}
	select {
	case <-answer.snapshot.done:
		return publicError(answer.snapshot.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin begins a snapshot of everything written, or returns the one under way.
func (s *snapshotter) begin() snapshotAnswer {
	if s.settle(); s.running != nil {
		return snapshotAnswer{snapshot: s.running}
	}
	if s.log.Err() == nil && s.log.Written() == s.covered {
		return snapshotAnswer{}
	}
	number, err := s.log.Cut()
	if err != nil {
		return snapshotAnswer{err: err}
	}
	view := s.table.View()
	s.running = &snapshot{
		view: view, info: s.describe(number, view.Len()), walBytes: s.status.walBytes.Load(),
		urgent: make(chan struct{}), done: make(chan struct{}),
	}
	running := s.running
	s.background(func() error {
		defer close(running.done)
		running.err = s.write(running)
		return nil
	})
	return snapshotAnswer{snapshot: running}
}

// describe returns what the snapshot file with this number says of the store as
// it is now.
func (s *snapshotter) describe(number uint64, keys int) *format.Snapshot {
	return &format.Snapshot{
		Timestamp: s.log.Version(),
		Count:     uint32(keys),
		ID:        s.log.StoreID(),
		Number:    number,
		LastGroup: s.log.Written(),
	}
}

// write writes a snapshot and removes what it covers. The snapshot's goroutine
// runs it, and uses immutable fields and the shared figures only.
func (s *snapshotter) write(w *snapshot) error {
	to := snapfile.FromStart
	if tuning.Pacing {
		to = diskio.NewPacer(s.status.groups.Load, w.urgent).Writer
	}
	err := snapfile.Write(s.dir, w.info, w.view.All(), to)
	w.view.Close()
	if err != nil {
		return err
	}
	if err := wal.Prune(s.dir, w.info.Number); err != nil {
		return err
	}
	s.status.walBytes.Add(-w.walBytes)
	return nil
}

// settle takes in the result of the snapshot under way if it has ended.
func (s *snapshotter) settle() {
	if s.running == nil {
		return
	}
	select {
	case <-s.running.done:
		s.wait()
	default:
	}
}

// wait waits for the snapshot under way, if there is one, and takes in its
// result.
func (s *snapshotter) wait() {
	w := s.running
	if w == nil {
		return
	}
	close(w.urgent)
	<-w.done
	s.running = nil
	if w.err != nil {
		s.report("kvstore: snapshot failed", w.err)
		return
	}
	s.covered, s.due = w.info.LastGroup, s.snapshotBytes
}

// beginIfDue begins a snapshot when the log has grown by SnapshotBytes.
func (s *snapshotter) beginIfDue() {
	s.settle()
	grown := s.status.walBytes.Load()
	if s.snapshotBytes == 0 || s.log.Err() != nil || s.running != nil || grown < s.due {
		return
	}
	s.due = grown + s.snapshotBytes // if this one fails, the next is due when as much has come again
	if answer := s.begin(); answer.err != nil {
		s.report("kvstore: snapshot failed", answer.err)
	}
}

// writeLast ends a session whose log is finished: it writes the snapshot with
// this number, unless the newest one covers everything, and removes the log.
func (s *snapshotter) writeLast(number uint64) error {
	if s.log.Written() == s.covered {
		return s.log.Remove(0) // the segment is empty, and the next session makes its own
	}
	info := s.describe(number, s.table.Len())
	if err := snapfile.Write(s.dir, info, s.table.All(), snapfile.FromStart); err != nil {
		return err
	}
	return s.log.Remove(number)
}
