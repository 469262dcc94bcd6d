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
// proves durable, and the last one, whose END may be missing. They are written
// from the bytes that were judged and get their own names in the end. A last
// segment without groups stays as it is: the session's own replaces it.
func replaceUnproven(j *judge) error {
	for _, s := range j.unproven {
		if s.number == j.last && j.unused {
			continue
		}
		var end []byte
		if !s.ended {
			seed := format.Seed(j.chain.ID, s.number, int64(len(s.bytes)))
			record := format.End{Group: j.chain.LastGroup, Durable: min(j.chain.Durable, j.chain.LastGroup)}
			end = format.AppendEnd(nil, j.table.Version(), record, seed)
		}
		if err := replace(j.dir, format.SegmentName(s.number), s.bytes, end); err != nil {
			return fmt.Errorf("repair %s: %w", format.SegmentName(s.number), err)
		}
	}
	return nil
}

// replace gives name to a new file of body and tail.
func replace(dir vfs.Dir, name string, body, tail []byte) error {
	return datadir.WriteFile(dir, name, func(file vfs.File) error {
		_, err := file.WriteAt(body, 0)
		if err == nil && len(tail) > 0 {
			_, err = file.WriteAt(tail, int64(len(body)))
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
