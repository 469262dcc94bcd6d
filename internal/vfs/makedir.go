package vfs

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// MakeDir creates the directory at path, and the ones above it that are missing, from the top. Each name is durable
// before anything is created below it: so whatever an Open that crashed on the way has left, only the lowest
// name that exists may be one that is not durable.
func MakeDir(fsys FS, path string) error {
	dir, err := fsys.OpenDir(path)
	if err == nil {
		err = dir.Close()
	}
	parent := filepath.Dir(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || parent == path {
		return err
	}
	if err := MakeDir(fsys, parent); err != nil {
		return err
	}
	if err := SyncName(fsys, parent); err != nil {
		return err
	}
	if err := fsys.Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncParent(path)
}

// SyncName makes the name of an existing directory durable. Where we may not even read the directory above, it was
// not us who made that name, and nothing is left to do.
func SyncName(fsys FS, path string) error {
	if err := fsys.SyncParent(path); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
