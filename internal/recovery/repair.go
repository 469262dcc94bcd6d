package recovery

import (
	"fmt"

	"kvstore/internal/datadir"
	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// repair makes everything durable that j has loaded.
func repair(j *judge) error {
	if err := replaceUnproven(j); err != nil {
		return err
	}
	if err := syncLoaded(j); err != nil {
		return err
	}
	// The names too, before a later segment gets one.
	return datadir.Sync(j.dir)
}

// replaceUnproven makes new files of the segments that the kernel's cache may
// show though the disk does not have them: those with groups that nothing
// proves durable, and the last one, whose END may be missing. A last segment
// without groups stays as it is: the session's own replaces it.
func replaceUnproven(j *judge) error {
	for _, s := range j.unproven {
		if s.number == j.last && j.unused {
			continue
		}
		var end []byte
		if !s.ended {
			seed := format.Seed(j.chain.ID, s.number, int64(s.bytes))
			record := format.End{Group: j.chain.LastGroup, Durable: min(j.chain.Durable, j.chain.LastGroup)}
			end = format.AppendEnd(nil, j.replay.table.Version(), record, seed)
		}
		if err := j.replace(s, end); err != nil {
			return fmt.Errorf("repair %s: %w", format.SegmentName(s.number), err)
		}
	}
	return nil
}

// replace gives the name of a segment to a new file with the bytes that were
// judged, and end behind them. It reads them again. If they are others now, the
// old file stays, and the error is a [*format.Changed].
func (j *judge) replace(s judgedSegment, end []byte) error {
	return datadir.WriteFile(j.dir, format.SegmentName(s.number), func(file vfs.File) error {
		write := func(b []byte, offset int) error {
			_, err := file.WriteAt(b, int64(offset))
			return err
		}
		err := j.read(s.number, func(w *format.Window) error { return w.CopyTo(s.bytes, s.sum, write) })
		if err == nil && len(end) > 0 {
			err = write(end, s.bytes)
		}
		return err
	})
}

// syncLoaded fsyncs every file that was loaded and not replaced.
func syncLoaded(j *judge) error {
	if j.snapshot > 0 {
		if err := datadir.SyncFile(j.dir, format.SnapshotName(j.snapshot)); err != nil {
			return err
		}
	}
	if j.last == 0 {
		return nil
	}
	for number := max(j.snapshot, 1); number < j.unproven[0].number; number++ {
		if err := datadir.SyncFile(j.dir, format.SegmentName(number)); err != nil {
			return err
		}
	}
	return nil
}
