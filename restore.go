package kvstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// Restore makes a store in dataDir, created if need be, of a snapshot file that [View.WriteTo] has written or that lies in a data
// directory. The store gets an identity of its own, so that its files and those of the store it comes from cannot be mixed up; it goes
// on with versions after the snapshot's. When Restore returns nil, all of it is durable.
//
// The file is read to its end and verified, with the memory that the store will need, before it gets its name. Errors: fs.ErrExist if
// there is a store in dataDir; ErrLocked if it is in use; ErrCorrupt (as a *CorruptError) and ErrVersion for what is not a whole
// snapshot file that this package reads; those of r and of the file system. After an error there is no store in dataDir.
func Restore(dataDir string, r io.Reader) error {
	return restore(vfs.OS{}, dataDir, r)
}

func restore(fsys vfs.FS, dataDir string, r io.Reader) error {
	config, err := DefaultConfig(dataDir).withDefaults()
	if err != nil {
		return err
	}
	dir, lock, err := openDir(config, fsys)
	if err != nil {
		return err
	}
	err = restoreInto(dir, r)
	if err == nil {
		err = vfs.SyncName(fsys, config.DataDir)
	}
	return errors.Join(err, dir.Close(), lock.Close())
}

// restoreInto makes the first snapshot of a directory that is locked.
func restoreInto(dir vfs.Dir, r io.Reader) error {
	files, err := list(dir)
	if err != nil {
		return err
	}
	if !files.Empty() {
		return fmt.Errorf("kvstore: restore: a store is there already: %w", fs.ErrExist)
	}
	if err := removeAll(dir, files.Temporary); err != nil {
		return err
	}
	name := format.SnapshotName(1)
	err = writeFile(dir, name, func(file vfs.File) error { return receiveSnapshot(file, name, r) })
	if err != nil {
		return fmt.Errorf("kvstore: restore: %w", err)
	}
	return syncDir(dir)
}

// receiveSnapshot makes file a verified copy of what r has, as the first snapshot of a new store.
func receiveSnapshot(file vfs.File, name string, r io.Reader) error {
	if _, err := io.Copy(io.NewOffsetWriter(file, 0), r); err != nil {
		return err
	}
	snapshot, err := readSnapshot(file, name)
	if err != nil {
		return err
	}
	t, err := loadPairs(snapshot)
	if err != nil {
		return err
	}
	t.Release()
	info := *snapshot.Info
	info.Number = 1
	_, _ = rand.Read(info.ID[:]) // never fails: crypto/rand ends the program first
	_, err = file.WriteAt(format.AppendSnapshotTail(nil, &info), snapshot.TrailerAt)
	return err
}
