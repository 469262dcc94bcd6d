package kvstore

import (
	"errors"
	"fmt"
	"io/fs"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// list reads the directory.
func list(dir vfs.Dir) (format.Files, error) {
	names, err := dir.List()
	if err != nil {
		return format.Files{}, fmt.Errorf("kvstore: list data directory: %w", err)
	}
	files, err := format.Sort(names)
	return files, formatError(err)
}

// removeAll removes files and makes that durable. What replaces them must be durable already.
func removeAll(dir vfs.Dir, names []string) error {
	for _, name := range names {
		if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("kvstore: remove %s: %w", name, err)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return syncDir(dir)
}

// writeFile gives name to a new file, with the bytes that fill writes. The file is durable; its name is after a sync of the directory. After
// an error there is no such file.
func writeFile(dir vfs.Dir, name string, fill func(vfs.File) error) error {
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
		return discard(dir, temporary, err)
	}
	return nil
}

// discard removes a file that was being made when err happened, so that its space is free again, and returns err
// with what else went wrong.
func discard(dir vfs.Dir, name string, err error) error {
	if removeErr := dir.Remove(name); !errors.Is(removeErr, fs.ErrNotExist) {
		return errors.Join(err, removeErr)
	}
	return err
}

func syncDir(dir vfs.Dir) error {
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("kvstore: sync data directory: %w", err)
	}
	return nil
}
