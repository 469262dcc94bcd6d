// Package datadir is a store's data directory: it lists the store's files,
// replaces one atomically, and removes what is no longer needed.
//
// A file gets its name only after its bytes are durable, and the name itself is
// durable after [Sync]. Errors of the file system are wrapped; what [List]
// finds wrong with a name is a *format.Damage.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// List returns the store's files in dir.
func List(dir vfs.Dir) (format.Files, error) {
	names, err := dir.List()
	if err != nil {
		return format.Files{}, fmt.Errorf("list data directory: %w", err)
	}
	return format.Sort(names)
}

// ErrNoStore says that a directory has neither a snapshot nor a segment.
var ErrNoStore = fmt.Errorf("no store is here: %w", fs.ErrNotExist)

// CheckStore returns ErrNoStore if there is no store in dir.
func CheckStore(dir vfs.Dir) error {
	files, err := List(dir)
	if err == nil && files.Empty() {
		err = ErrNoStore
	}
	return err
}

// Remove removes files and makes that durable. A name that does not exist is
// no error. The caller must have made durable what replaces these files.
func Remove(dir vfs.Dir, names []string) error {
	for _, name := range names {
		if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return Sync(dir)
}

// WriteFile gives name to a new file with the bytes that fill writes. The file
// is durable when WriteFile returns nil; its name is durable after [Sync].
// After an error the new file does not exist, and an old file of that name is
// intact.
func WriteFile(dir vfs.Dir, name string, fill func(vfs.File) error) error {
	temporary := name + format.TmpSuffix
	file, err := dir.Create(temporary)
	if err != nil {
		return err
	}
	err = fill(file)
	if err == nil {
		err = vfs.SyncAside(file)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = dir.Rename(temporary, name)
	}
	if err != nil {
		return Discard(dir, temporary, err)
	}
	return nil
}

// Discard removes an unfinished file after err, so that its space is free
// again. It returns err, joined with the error of the removal if there is one.
func Discard(dir vfs.Dir, name string, err error) error {
	if removeErr := dir.Remove(name); !errors.Is(removeErr, fs.ErrNotExist) {
		return errors.Join(err, removeErr)
	}
	return err
}

// Sync makes all names in dir durable.
func Sync(dir vfs.Dir) error {
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	return nil
}

// SyncFile makes the bytes of an existing file durable.
func SyncFile(dir vfs.Dir, name string) error {
	file, err := dir.Open(name)
	if err == nil {
		err = errors.Join(file.Sync(), file.Close())
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", name, err)
	}
	return nil
}
