package kvstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"kvstore/internal/datadir"
	"kvstore/internal/format"
	"kvstore/internal/snapfile"
	"kvstore/internal/vfs"
)

// Restore makes a store in dataDir, created if need be, of a snapshot file that
// [View.WriteTo] has written or that lies in a data directory. The store gets
// an identity of its own, so that its files and those of the store it comes
// from cannot be mixed up; it goes on with versions after the snapshot's. Keys
// keep their deadlines: those that have passed by now are absent in the new
// store, and deleted when it is opened, unless [RestoreOptions] say otherwise.
// When Restore returns nil, all of it is durable.
//
// The file is read to its end and verified, with the memory that the store will
// need, before it gets its name. Errors: fs.ErrExist if there is a store in
// dataDir; ErrLocked if it is in use; ErrCorrupt (as a *CorruptError) and
// ErrVersion for what is not a whole snapshot file that this package reads;
// those of r and of the file system. After an error everything in dataDir is as
// before, and the directories that Restore has made are removed.
func Restore(dataDir string, r io.Reader) error {
	return RestoreWithOptions(dataDir, r, RestoreOptions{})
}

// RestoreOptions says how to restore.
type RestoreOptions struct {
	NoExpire bool // drop all deadlines: all keys in the file stay, also those whose deadline has passed
}

// RestoreWithOptions is [Restore] with options.
func RestoreWithOptions(dataDir string, r io.Reader, options RestoreOptions) error {
	return restore(vfs.OS{}, dataDir, r, options)
}

func restore(fsys vfs.FS, dataDir string, r io.Reader, options RestoreOptions) error {
	config, err := DefaultConfig(dataDir).withDefaults()
	if err != nil {
		return err
	}
	dir, err := openDirectory(config, fsys)
	if err != nil {
		return err
	}
	if err := restoreInto(dir, r, options); err != nil {
		return errors.Join(publicError(err), dir.abandon())
	}
	return publicError(dir.close())
}

// restoreInto makes the first snapshot of a directory that is locked. After an
// error it has changed nothing. It leaves unfinished files to the next Open,
// and chooses a number with which it overwrites none of them.
func restoreInto(d *directory, r io.Reader, options RestoreOptions) error {
	files, err := datadir.List(d.dir)
	if err != nil {
		return err
	}
	if !files.Empty() {
		return fmt.Errorf("restore: a store is there already: %w", fs.ErrExist)
	}
	if err := vfs.SyncName(d.fs, d.path); err != nil { // now, since nothing may fail after the store has its name
		return err
	}
	var id format.StoreID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program first
	number := uint64(1)
	for slices.Contains(files.Temporary, format.SnapshotName(number)+format.TmpSuffix) {
		number++
	}
	name := format.SnapshotName(number)
	err = datadir.WriteFile(d.dir, name, func(file vfs.File) error {
		return snapfile.Copy(file, r, id, number, options.NoExpire)
	})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := datadir.Sync(d.dir); err != nil {
		return datadir.Discard(d.dir, name, err)
	}
	return nil
}
