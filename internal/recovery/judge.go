package recovery

import (
	"crypto/rand"
	"errors"
	"fmt"

	"kvstore/internal/datadir"
	"kvstore/internal/format"
	"kvstore/internal/logread"
	"kvstore/internal/snapfile"
	"kvstore/internal/table"
	"kvstore/internal/vfs"
)

// judge reads a directory's files in their order, verifies them, and builds the
// table. It changes nothing.
type judge struct {
	dir       vfs.Dir // immutable
	mustExist bool    // immutable: see Options

	files       format.Files
	fresh       bool         // the directory has no snapshot and no segment
	chain       format.Chain // what was read so far; with a new id if fresh
	snapshot    uint64       // number of the snapshot that was loaded, 0 for none
	newest      uint64       // number of the newest snapshot: that one, or the one that compact has written
	snapshotted uint64       // the last group that the newest one covers

	unproven []judgedSegment // segments with groups above chain.Durable, and the last segment
	segments int             // how many were read
	last     uint64          // number of the last segment, 0 if there is none
	unused   bool            // the last segment has no group that counts

	replay replay // of the segments into table

	uncompacted     error // why compact has left the log as it is, nil if it has not
	walBytes        int64 // of the groups in the log
	groups, entries uint64
	dropped         []Dropped
}

// judgedSegment is what counts of a segment: SEGMENT, groups, and END if it is
// there. Its bytes are not kept. They are read again when they are copied, and
// then must have the same sum.
type judgedSegment struct {
	number    uint64
	lastGroup uint64
	bytes     int    // length
	sum       uint32 // of the bytes that were judged
	ended     bool
}

// run loads the newest snapshot and replays the segments that follow it.
func (j *judge) run() (err error) {
	if j.files, err = datadir.List(j.dir); err != nil {
		return err
	}
	if j.mustExist && j.files.Empty() {
		return datadir.ErrNoStore
	}
	if err := j.loadNewestSnapshot(); err != nil {
		return err
	}
	segments, err := j.files.Following(j.snapshot)
	if err != nil {
		return err
	}
	if j.fresh = j.files.Empty(); j.fresh {
		_, _ = rand.Read(j.chain.ID[:]) // never fails: crypto/rand ends the program first
	}
	for i, number := range segments {
		if err := j.segment(number, i == len(segments)-1); err != nil {
			return err
		}
	}
	j.replay.finish()
	return nil
}

// state returns what was found.
func (j *judge) state() *State {
	return &State{
		Table: j.replay.table,
		ID:    j.chain.ID, LastGroup: j.chain.LastGroup,
		Snapshot: j.snapshot, Newest: j.newest, Snapshotted: j.snapshotted, Uncompacted: j.uncompacted,
		NextSegment: j.nextSegment(), WALBytes: j.walBytes,
		Groups: j.groups, Entries: j.entries, Dropped: j.dropped,
	}
}

// nextSegment returns the number of the session's own segment. It replaces a
// last segment without groups.
func (j *judge) nextSegment() uint64 {
	switch {
	case j.last == 0:
		return max(j.snapshot, 1)
	case j.unused:
		return j.last
	default:
		return j.last + 1
	}
}

func (j *judge) loadNewestSnapshot() error {
	if j.snapshot = j.files.Newest(); j.snapshot == 0 {
		j.replay.table = table.New(0)
		return nil
	}
	info, t, err := snapfile.Load(j.dir, j.snapshot)
	if err != nil {
		return err
	}
	j.replay.table, j.newest, j.snapshotted = t, j.snapshot, info.LastGroup
	j.chain.Begin(info)
	return nil
}

// segment verifies a segment and applies its groups.
func (j *judge) segment(number uint64, isLast bool) error {
	return j.read(number, func(w *format.Window) error {
		scanner, err := j.chain.ScanWindow(w)
		if err != nil {
			return err
		}
		if err := j.replayGroups(scanner); err != nil {
			return err
		}
		tail, err := scanner.Tail(isLast)
		if err != nil {
			return err
		}
		j.judged(number, scanner, tail, isLast)
		return nil
	})
}

// judged takes in what a segment is.
func (j *judge) judged(number uint64, scanner *format.Scanner, tail format.Tail, isLast bool) {
	j.segments++
	j.walBytes += int64(scanner.Offset() - format.SegmentEntryBytes)
	if isLast {
		j.last, j.unused = number, scanner.Offset() == format.SegmentEntryBytes
	}
	j.forgetProven()
	j.unproven = append(j.unproven, judgedSegment{
		number: number, lastGroup: j.chain.LastGroup, bytes: tail.Offset, sum: scanner.Sum(), ended: tail.Ended,
	})
	if tail.Torn > 0 {
		j.dropped = append(j.dropped, Dropped{
			File: format.SegmentName(number), Offset: int64(tail.Offset), Bytes: tail.Torn,
		})
	}
}

// replayGroups applies the groups of a segment, up to the place where none
// follows.
func (j *judge) replayGroups(scanner *format.Scanner) error {
	for {
		g, ok, err := scanner.Next()
		if err != nil || !ok {
			return err
		}
		if err := scanner.Entries(&g, j.replay.add); err != nil {
			return err
		}
		j.groups++
		j.entries += uint64(g.Entries)
	}
}

// read opens a segment, piece by piece, for the time of a call.
func (j *judge) read(number uint64, use func(w *format.Window) error) (err error) {
	file, err := j.dir.OpenRead(format.SegmentName(number))
	if err != nil {
		return fmt.Errorf("open %s: %w", format.SegmentName(number), err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := logread.Size(file, number)
	if err != nil {
		return err
	}
	return use(format.NewWindow(file, number, size, j.replay.pieceBytes, j.replay.memory))
}

// forgetProven gives up the segments whose groups all turned out to be durable:
// the first ones, since group numbers rise.
func (j *judge) forgetProven() {
	for len(j.unproven) > 0 && j.unproven[0].lastGroup <= j.chain.Durable {
		j.unproven = j.unproven[1:]
	}
}
