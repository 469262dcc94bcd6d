package vfs

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// MakeDir creates the directory at path and its missing ancestors, from the
// top. Each name is durable before anything is created below it. So after a
// crash on the way, at most the lowest name that exists is not durable.
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

// SyncName makes the name of an existing directory durable. If the directory
// above it may not even be read, another user has made the name, and SyncName
// does nothing.
func SyncName(fsys FS, path string) error {
	if err := fsys.SyncParent(path); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
