// Package snapfile writes snapshot files and loads them into a table.
// docs/FORMAT.md specifies the bytes.
//
// What is wrong with a file is a *format.Damage or a *format.Later; errors of
// the file system are wrapped.
package snapfile

import (
	"fmt"
	"io"
	"iter"

	"kvstore/internal/datadir"
	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// Write makes a durable snapshot file of pairs, of which there must be
// info.Count. It writes through the writer that to returns for the new file,
// and returns the file's size. After an error the file does not exist; if only
// the last fsync failed, a whole one may.
func Write(
	dir vfs.Dir, info *format.Snapshot, pairs iter.Seq[format.Pair], to func(vfs.File) io.Writer,
) (size int64, err error) {
	name := format.SnapshotName(info.Number)
	err = datadir.WriteFile(dir, name, func(file vfs.File) error {
		size, err = format.EncodeSnapshot(to(file), info, pairs)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", name, err)
	}
	return size, datadir.Sync(dir)
}

// FromStart returns a writer that writes a file from its first byte on.
func FromStart(file vfs.File) io.Writer { return io.NewOffsetWriter(file, 0) }

// Copy makes file a verified copy of the snapshot file that r has, as the first
// snapshot of a new store with this id, and with this number. The pairs are
// verified by loading them, which takes the memory that the store will need.
// With dropDeadlines, the copy is one without deadlines.
func Copy(file vfs.File, r io.Reader, id format.StoreID, number uint64, dropDeadlines bool) error {
	if _, err := io.Copy(FromStart(file), r); err != nil {
		return err
	}
	snapshot, err := open(file, "backup") // errors must not name a file that the caller never saw
	if err != nil {
		return err
	}
	t, err := loadTable(snapshot)
	if err != nil {
		return err
	}
	t.Release()
	info := *snapshot.Info
	info.ID, info.Number = id, number
	tailAt := snapshot.TrailerAt
	if dropDeadlines && len(info.Deadlines) > 0 {
		info.Deadlines, tailAt = nil, snapshot.PairsEnd
		if err := file.Truncate(tailAt); err != nil {
			return err
		}
	}
	_, err = file.WriteAt(format.AppendSnapshotTail(nil, &info), tailAt)
	return err
}
