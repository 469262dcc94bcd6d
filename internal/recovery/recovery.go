// Package recovery brings a data directory's state into memory and makes it
// durable before a store serves it.
//
// It has two halves. The first, judge, reads every file, changes none, and
// either refuses the directory or knows everything. A read-only store stops
// there. The second, repair, replaces the segments whose bytes may be in the
// kernel's cache alone by new files with the bytes that were judged.
// docs/DESIGN.md says why an fsync of the old file is not enough, and how the
// order of the steps was checked. Last, a log that has become too long is
// replaced by a snapshot.
//
// Segments are read in pieces and not kept, so a place may be read twice. What
// was judged, what the table has and what is copied are the same bytes, or
// recovery fails: checksums of all readings are compared.
//
// What is wrong with a file is a *format.Damage or a *format.Later; a second
// reading that differs is a *format.Changed; errors of the file system are
// wrapped.
package recovery

import (
	"kvstore/internal/datadir"
	"kvstore/internal/format"
	"kvstore/internal/table"
	"kvstore/internal/vfs"
	"kvstore/internal/wal"
)

// Options say how far recovery goes.
type Options struct {
	// ReadOnly ends recovery after the files were judged: nothing is written.
	ReadOnly bool

	// MustExist refuses a directory without a store with datadir.ErrNoStore.
	MustExist bool

	// SyncName makes the data directory's own name durable. It is called if the
	// directory has no store yet.
	SyncName func() error

	// MaxSegments and MaxLogBytes bound the log. A longer one is replaced by a
	// snapshot. 0 for MaxLogBytes is no bound.
	MaxSegments int
	MaxLogBytes int64

	// FreeSpace frees disk space that was held back for this. It is called when
	// everything is judged, before anything is made.
	FreeSpace func()

	// PieceBytes is how much of a segment is read at once. Tests make it small.
	PieceBytes int
}

// State is what recovery has found, and where the session's log begins.
type State struct {
	Table *table.Table // the caller must release it

	ID          format.StoreID // a new one if the directory has no store
	LastGroup   uint64         // the last group replayed, or covered by the snapshot
	Snapshot    uint64         // number of the snapshot that was loaded, 0 for none
	Newest      uint64         // number of the newest snapshot, which recovery may have written; 0 for none
	Snapshotted uint64         // the last group that the newest one covers
	NextSegment uint64         // number of the session's first segment
	WALBytes    int64          // bytes of the groups that the newest snapshot does not cover
	Uncompacted error          // why a log that is too long was not replaced by a snapshot; nil if it was

	Groups  uint64    // groups replayed
	Entries uint64    // entries in them, without COMMIT
	Dropped []Dropped // torn tails
}

// Dropped is a torn tail of the log that recovery has cut off.
type Dropped struct {
	File   string // base name
	Offset int64  // where the tail begins
	Bytes  int64  // up to the last byte that is not zero
}

// Recover reads dir and, unless options.ReadOnly, makes all of its state
// durable. Until everything is judged, it changes nothing.
func Recover(dir vfs.Dir, options Options) (*State, error) {
	j := &judge{dir: dir, mustExist: options.MustExist, replay: replay{pieceBytes: options.PieceBytes}}
	defer j.replay.release()
	err := j.run()
	if err == nil && !options.ReadOnly {
		err = makeDurable(j, options)
	}
	if err != nil {
		if j.replay.release(); j.replay.table != nil {
			j.replay.table.Release()
		}
		return nil, err
	}
	return j.state(), nil
}

// makeDurable makes durable what was judged.
func makeDurable(j *judge, options Options) error {
	options.FreeSpace()
	if j.fresh {
		if err := options.SyncName(); err != nil {
			return err
		}
	}
	if err := datadir.Remove(j.dir, j.files.Temporary); err != nil || j.fresh {
		return err
	}
	if err := makeRoom(j); err != nil {
		return err
	}
	if err := repair(j); err != nil || !j.isTooLong(options) {
		return err
	}
	return j.compact()
}

// makeRoom removes what the snapshot that was loaded covers. That comes before
// anything is made, since the disk may be full. A crash may have come between
// the snapshot's rename and the removal, so its name is made durable first.
func makeRoom(j *judge) error {
	if len(j.files.Below(j.snapshot)) == 0 {
		return nil
	}
	if err := datadir.SyncFile(j.dir, format.SnapshotName(j.snapshot)); err != nil {
		return err
	}
	if err := datadir.Sync(j.dir); err != nil {
		return err
	}
	return wal.Prune(j.dir, j.snapshot)
}
