package vfs

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
)

// MakeDir creates the directory at path and its missing ancestors, from the
// top, and returns those that it has created. Each name is durable before
// anything is created below it. So after a crash on the way, at most the lowest
// name that exists is not durable. After an error nothing is created.
func MakeDir(fsys FS, path string) (made []string, err error) {
	dir, err := fsys.OpenDir(path)
	if err == nil {
		err = dir.Close()
	}
	parent := filepath.Dir(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || parent == path {
		return nil, err
	}
	if made, err = MakeDir(fsys, parent); err != nil {
		return nil, err
	}
	created, err := makeBelow(fsys, parent, path)
	if created {
		made = append(made, path)
	}
	if err != nil {
		return nil, errors.Join(err, RemoveDirs(fsys, made))
	}
	return made, nil
}

// makeBelow creates path, durably, in a directory that exists.
func makeBelow(fsys FS, parent, path string) (created bool, err error) {
	if err := SyncName(fsys, parent); err != nil {
		return false, err
	}
	if err = fsys.Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	return err == nil, fsys.SyncParent(path)
}

// RemoveDirs removes what [MakeDir] has created, up to a directory with
// something in it.
func RemoveDirs(fsys FS, made []string) error {
	for _, path := range slices.Backward(made) {
		err := fsys.RemoveDir(path)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
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
