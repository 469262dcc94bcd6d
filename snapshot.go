package kvstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

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

// urgentShare is how many times SnapshotBytes the log may take while the
// snapshot that will shorten it leaves half of the disk to others. Beyond that,
// the snapshot is written at full speed.
const urgentShare = 2

// snapshotter is the writer's part of it. [walWriter.run] owns its fields.
type snapshotter struct {
	dir           vfs.Dir                         // immutable
	log           *wal.Log                        // immutable
	table         *table.Table                    // immutable
	status        *status                         // shared, see walWriter
	background    func(task func() error)         // immutable: runs a task in a goroutine that Close waits for
	ballast       *wal.Ballast                    // shared
	now           func() time.Time                // immutable: the clock
	report        func(message string, err error) // immutable
	inform        func(message string, a ...any)  // immutable
	snapshotBytes int64                           // immutable: Config.SnapshotBytes

	due     int64     // bytes in the log at which the next snapshot begins
	newest  uint64    // number of the newest snapshot, 0 if there is none
	covered uint64    // the last group that it covers
	running *snapshot // nil if none is being written
}

// snapshot is a snapshot file that a goroutine is writing.
type snapshot struct {
	view     *table.View      // the goroutine's, which closes it
	info     *format.Snapshot // the goroutine's until done is closed
	walBytes int64            // immutable: bytes of the log that it covers
	urgent   chan struct{}    // closed by the writer when the disk must no longer be left to others
	hurried  bool             // the writer's: urgent is closed
	err      error            // written by the goroutine; valid after done is closed
	done     chan struct{}    // closed by the goroutine
}

// Snapshot writes a snapshot while reads and writes go on, and removes the part
// of the log that it covers, so that the next Open has little to replay. The
// snapshot has every write that was acknowledged before the call. A call that
// comes while one is being written shares that one if it has all these writes.
// Otherwise it waits for its end and begins the next one. Close waits for a
// snapshot under way.
//
// While others write, the snapshot is paced: it pauses as long as it works. It
// goes on at full speed when the log has twice Config.SnapshotBytes, when Close
// is called, and while nobody else writes. If SnapshotBytes is 0, a busy store
// keeps it paced to its end, however much log that makes. On an InMemory store,
// Snapshot does nothing.
//
// If ctx has ended before the call, nothing happens. If it ends later, Snapshot
// returns ctx.Err() at once and the snapshot goes on. Other errors: ErrClosed,
// ErrFailed, ErrReadOnly, one that Is syscall.ENOSPC when the disk is full, and
// those of the file system. After any of them every acknowledged write is in
// the log or in a snapshot, and the store goes on unless it is ErrFailed.
func (s *Store) Snapshot(ctx context.Context) error {
	if err := s.checkWritable(ctx); err != nil {
		return err
	}
	if s.config.InMemory {
		return nil
	}
	acknowledged := s.status.lastGroup.Load()
	covers, err := s.joinSnapshot(ctx, acknowledged)
	for !covers && err == nil {
		covers, err = s.joinSnapshot(ctx, acknowledged)
		if errors.Is(err, ErrClosed) {
			return s.waitClosed(ctx) // Close writes a snapshot of everything
		}
	}
	return err
}

// waitClosed waits for the end of Close, and returns its result.
func (s *Store) waitClosed(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.goroutines.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// joinSnapshot begins a snapshot or joins the one under way, and waits for its
// end. covers reports whether it has all groups up to this one.
func (s *Store) joinSnapshot(ctx context.Context, group uint64) (covers bool, err error) {
	c := &snapshotCommand{answer: make(chan snapshotAnswer, 1)}
	if err := s.mailbox.SendControl(ctx, c); err != nil {
		return false, err
	}
	var answer snapshotAnswer
	select {
	case answer = <-c.answer:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if answer.snapshot == nil {
		return true, publicError(answer.err)
	}
	select {
	case <-answer.snapshot.done:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if answer.snapshot.info.LastGroup < group {
		return false, nil // it began before the call, so its error is no answer either
	}
	return true, publicError(answer.snapshot.err)
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
		view: view, info: s.describe(number, view.Size()), walBytes: s.status.walBytes.Load(),
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
	err := s.writeFile(w.info, w.view.Saved(), to)
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
	w.hurry()
	<-w.done
	s.running = nil
	if w.err != nil {
		s.report("kvstore: snapshot failed", w.err)
		return
	}
	s.newest, s.covered, s.due = w.info.Number, w.info.LastGroup, s.snapshotBytes
	s.log.HoldBallast()
}

// hurry ends the pauses of the snapshot's goroutine.
func (w *snapshot) hurry() {
	if !w.hurried {
		w.hurried = true
		close(w.urgent)
	}
}

// beginIfDue begins a snapshot when the log has grown by SnapshotBytes. When it
// has grown by as much again and the snapshot is not complete, the log is to be
// bounded before others are to be spared.
func (s *snapshotter) beginIfDue() {
	s.settle()
	grown := s.status.walBytes.Load()
	switch {
	case s.snapshotBytes == 0 || s.log.Err() != nil:
		return
	case s.running != nil && grown >= urgentShare*s.snapshotBytes:
		s.running.hurry()
		return
	case s.running != nil || grown < s.due:
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
	if s.newest > 0 && s.log.Written() == s.covered {
		return s.log.Remove(0) // the segment is empty, and the next session makes its own
	}
	info := s.describe(number, s.table.Size())
	if err := s.writeFile(info, s.table.All(), snapfile.FromStart); err != nil {
		return err
	}
	return s.log.Remove(number)
}

// writeFile writes a snapshot file, counts it, and tells the Logger of it. It
// uses immutable fields and the shared figures only.
func (s *snapshotter) writeFile(
	info *format.Snapshot, pairs iter.Seq[format.Pair], to func(vfs.File) io.Writer,
) error {
	started := s.now()
	size, err := snapfile.Write(s.dir, info, pairs, to)
	if vfs.IsExhausted(err) && s.ballast.Spend() {
		size, err = snapfile.Write(s.dir, info, pairs, to)
	}
	if err != nil {
		return err
	}
	ended := s.now()
	s.status.lastSnapshot.Store(&ended)
	s.status.snapshots.Add(1)
	s.inform("kvstore: snapshot written", "file", format.SnapshotName(info.Number),
		"keys", info.Count, "bytes", size, "took", ended.Sub(started))
	return nil
}
