// Package wal is the write-ahead log of one session of a store: it appends
// groups to segment files, makes them durable, and goes from one segment to the
// next. docs/FORMAT.md specifies the bytes.
//
// # Order
//
// Recovery relies on the order in which things become durable:
//
//   - A segment gets its name only after its space, its SEGMENT entry and the
//     END entry of the segment before it are durable.
//   - The COMMIT entry of a group vouches for the highest group that is known
//     to be durable. It may lag, and must never lead.
//   - A session appends to its own segments only, never to a recovered one. The
//     torn tail of one crash would look like damage after the next.
//
// # Failure
//
// The first error of a write or an fsync ends the log: every later call returns
// it. An fsync is never retried on the same file, because the kernel may have
// dropped the pages and marked them clean, so that a second fsync succeeds
// without having written anything. Running out of space for the next segment
// does not end the log: nothing was written yet, and the next group tries
// again.
package wal

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"kvstore/internal/diskio"
	"kvstore/internal/format"
	"kvstore/internal/tuning"
	"kvstore/internal/vfs"
)

// ballastSegments is how many of the smallest segments the ballast has beside
// the room for a copy of the present one: 1 MiB.
const ballastSegments = 4

// Options are what a log needs of its store. All fields are required.
type Options struct {
	// SyncWrites says that each group is synced before it is acknowledged.
	SyncWrites bool

	// FirstSegmentBytes is the size of the session's first segment.
	FirstSegmentBytes int64

	// Now is the clock of the SEGMENT entries.
	Now func() time.Time

	// Ballast is what Reserve may spend on deletions.
	Ballast *Ballast

	// Background runs a task in a goroutine that the store's Close waits for.
	Background func(task func() error)

	// WakeFlusher has the flusher call BeginFlush soon. It must not block.
	WakeFlusher func()

	// CheckLock returns an error if another opener may have the directory. The
	// log asks where it gives names to files or is about to end.
	CheckLock func() error

	// Failed is called once, with the error that ends the log. What it returns
	// is the error of every later call.
	Failed func(cause error) error
}

// Start says what a session's log follows.
type Start struct {
	ID      format.StoreID
	Segment uint64 // number of the session's first segment
	Group   uint64 // the last group before it, which is durable
	Version int64  // of the last commit before it
}

// Log is the write-ahead log of one session. One goroutine at a time may call
// its methods; they own all fields.
type Log struct {
	dir     vfs.Dir
	options Options // immutable

	segment  *segment
	rotation rotation
	written  uint64 // the last group that was written
	durable  uint64 // the last group that was written before a successful fsync began
	version  int64  // of the last commit that was written
	failure  error  // the error that ended the log, as Options.Failed returned it

	flush     *Flush // the background fsync under way, nil if none
	unflushed int    // bytes written since the flusher was woken last

	buf    []byte // of Buffer; kept
	syncer diskio.Syncer
}

// Begin makes the session's first segment and returns the log that writes to
// it.
func Begin(dir vfs.Dir, start Start, options Options) (*Log, error) {
	plan := segmentPlan{
		header:    format.Header{Version: format.Version, ID: start.ID, Number: start.Segment},
		timestamp: options.Now().UnixNano(),
		size:      options.FirstSegmentBytes,
	}
	if options.SyncWrites && tuning.Zeros {
		plan.groupBytes = 1 // small until known better: zeros cost large groups little
	}
	s, err := reserveSegment(dir, plan, format.SegmentEntryBytes+format.EndEntryBytes)
	if err != nil {
		return nil, err
	}
	if err := s.rename(dir); err != nil {
		return nil, errors.Join(err, s.close())
	}
	l := &Log{
		dir: dir, options: options,
		segment:  s,
		rotation: rotation{nextBytes: min(2*options.FirstSegmentBytes, MaxSegmentBytes)},
		written:  start.Group, durable: start.Group, version: start.Version,
		syncer: diskio.NewSyncer(tuning.Linger),
	}
	l.HoldBallast()
	return l, nil
}

// Written returns the number of the last group in the log.
func (l *Log) Written() uint64 { return l.written }

// Version returns the version of the last commit in the log.
func (l *Log) Version() int64 { return l.version }

// SyncWrites reports whether each group must be synced before it is applied.
func (l *Log) SyncWrites() bool { return l.options.SyncWrites }

// StoreID returns the id of the store that the log belongs to.
func (l *Log) StoreID() format.StoreID { return l.segment.header.ID }

// Err returns the error that has ended the log, nil if none has.
func (l *Log) Err() error { return l.failure }

// Buffer returns an empty buffer with room for n bytes of entries, and for what
// Append adds. It is valid until the next call, and the log keeps its memory.
func (l *Log) Buffer(n int) []byte {
	l.buf = slices.Grow(l.buf[:0], n+format.CommitEntryBytes+format.EndEntryBytes)
	return l.buf
}

// Reserve makes sure that a group with n bytes of entries fits into the current
// segment, by rotation if it does not. An error that vfs.IsExhausted says that
// there is no space now: nothing was written, and the log goes on.
//
// On a full disk, a group that only deletes may spend the ballast. Other groups
// have no space from then on, until the ballast can be held again.
func (l *Log) Reserve(n int, deletes bool) error {
	if !deletes && l.options.Ballast.Spent() {
		if l.HoldBallast(); l.options.Ballast.Spent() {
			return fmt.Errorf("only deletions are possible: %w", syscall.ENOSPC)
		}
	}
	size := int64(n) + format.CommitEntryBytes
	if l.segment.fits(size) {
		return nil
	}
	err := l.rotateNow(size)
	if deletes && vfs.IsExhausted(err) && l.options.Ballast.Spend() {
		err = l.rotateNow(size)
	}
	return err
}

// HoldBallast holds the ballast back, if it is not held already.
func (l *Log) HoldBallast() { l.options.Ballast.Hold(l.ballastFor(l.segment.size)) }

// ballastFor returns how much is held back while a segment of this size is
// written to: what the next Open may need for a copy of it, and room for
// deletions and a small snapshot.
func (l *Log) ballastFor(segmentBytes int64) int64 {
	return segmentBytes + ballastSegments*l.options.FirstSegmentBytes
}

// Append writes a group: pieces, which are whole entries and fit the space from
// Reserve, and the COMMIT entry that closes them. The last group of a segment
// takes the END entry along. version is that of the last commit among the
// entries. Append returns the size of the group.
//
// Each piece takes one pwrite. The last one may be empty and must lie in the
// memory of Buffer, where COMMIT and END are added to it: so a group without
// COMMIT is incomplete after a crash, however many pieces it has.
//
// With SyncWrites it also has the disk begin to take the group; if aside is
// set, all of the sync begins, while the caller has other work to do.
func (l *Log) Append(pieces [][]byte, version int64, aside bool) (groupBytes int64, err error) {
	start := l.segment.offset
	groupBytes, ends := l.closeGroup(pieces, version)
	for _, b := range pieces {
		if err := l.segment.append(b); err != nil {
			return 0, l.fail(err)
		}
	}
	written := l.segment.offset - start
	if l.options.SyncWrites && tuning.EarlySync {
		if err := l.syncer.Begin(l.segment.file, start, written, aside); err != nil {
			return 0, l.fail(err)
		}
	}
	l.written, l.version = l.written+1, version
	l.rotation.ended = ends
	l.rotation.groups++
	l.wakeFlusher(int(written))
	return groupBytes, nil
}

// closeGroup adds COMMIT to the last piece of the next group, and END if the
// group should end the segment. It returns the size of the group, without END.
func (l *Log) closeGroup(pieces [][]byte, version int64) (groupBytes int64, ends bool) {
	last, group := len(pieces)-1, l.written+1
	buf := format.AppendCommitOf(pieces, pieces[last], version, group, l.durable, l.segment.seed(0))
	groupBytes = int64(len(buf))
	for _, b := range pieces[:last] {
		groupBytes += int64(len(b))
	}
	if ends = l.endsWith(groupBytes); ends {
		end := format.End{Group: group, Durable: l.durable}
		buf = format.AppendEnd(buf, version, end, l.segment.seed(groupBytes))
	}
	pieces[last] = buf
	return groupBytes, ends
}

// Yield lets the system have the processor if a sync under way needs it. A
// caller with long work between Append and Sync calls it now and then.
func (l *Log) Yield() { l.syncer.Yield() }

// Sync makes everything written durable, with one fdatasync.
func (l *Log) Sync() error {
	if err := l.segment.sync(&l.syncer); err != nil {
		return l.fail(err)
	}
	l.durable = l.written
	return nil
}

// MakeDurable is Sync, if something is not durable yet. It waits for a
// background fsync first.
func (l *Log) MakeDurable() error {
	l.waitFlush()
	if l.failure != nil || l.durable == l.written {
		return l.failure
	}
	return l.Sync()
}

// fail makes err the error that ends the log, unless one has already.
func (l *Log) fail(err error) error {
	if l.failure == nil {
		l.failure = l.options.Failed(err)
	}
	return l.failure
}

// checkLock waits for work in the background, and returns the error that has
// ended the log. It ends the log if the directory may have another opener.
func (l *Log) checkLock() error {
	if l.waitFlush(); l.failure != nil {
		return l.failure
	}
	if err := l.options.CheckLock(); err != nil {
		return l.fail(fmt.Errorf("check the lock: %w", err))
	}
	return nil
}

// Cut ends the current segment, unless it is empty, and returns the number of
// the segment that the next group goes to. A snapshot of everything written so
// far has that number.
func (l *Log) Cut() (next uint64, err error) {
	if err := l.checkLock(); err != nil {
		return 0, err
	}
	if !l.segment.empty() {
		err := l.rotateNow(0)
		if vfs.IsExhausted(err) && l.options.Ballast.Spend() {
			err = l.rotateNow(0)
		}
		if err != nil {
			return 0, err
		}
	}
	return l.segment.header.Number, nil
}

// Finish ends the log: it waits for work in the background, drops the
// preallocated segment and, unless the current segment is empty, writes END
// behind its last group, durably. It returns the number of the snapshot that
// covers all of the log. After a failure it writes and removes nothing.
func (l *Log) Finish() (snapshot uint64, err error) {
	_ = l.checkLock() // kept as l.failure
	err = l.dropNext()
	switch number := l.segment.header.Number; {
	case l.failure != nil:
		return 0, l.failure
	case err != nil || l.segment.empty():
		return number, err
	default:
		return number + 1, l.end()
	}
}

// Remove removes what a snapshot with this number covers, and the last segment
// if it is empty. It follows Finish.
func (l *Log) Remove(snapshot uint64) error {
	if l.segment.empty() {
		return Prune(l.dir, snapshot, l.segment.name)
	}
	return Prune(l.dir, snapshot)
}

// Close closes the log's file.
func (l *Log) Close() error { return l.segment.close() }
