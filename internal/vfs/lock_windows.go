package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// fileLock is the lock file, opened with a share mode that Windows enforces and
// ends with the process. The file cannot be removed meanwhile.
type fileLock struct {
	root *os.Root // immutable
	name string   // immutable
	file *os.File // immutable: nil for a shared lock of a directory without one
	made bool     // immutable: this lock has made the file

	before []byte // immutable: what an exclusive lock has found in the file
}

// Lock implements [Dir]. An exclusive lock shares the file with nobody, a
// shared lock only with readers. The holder's process id cannot be read.
func (d osDir) Lock(name string, shared bool) (Lock, error) {
	l := &fileLock{root: d.root, name: name}
	_, err := d.root.Lstat(name)
	l.made = errors.Is(err, fs.ErrNotExist)
	if shared && l.made {
		return &fileLock{root: d.root, name: name}, nil
	}
	if l.file, err = lockFile(filepath.Join(d.root.Name(), name), shared); err != nil {
		return nil, err
	}
	if !shared {
		l.before = writePID(l.file)
	}
	return l, nil
}

func lockFile(path string, shared bool) (*os.File, error) {
	path16, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	access, share, mode := uint32(windows.GENERIC_READ|windows.GENERIC_WRITE), uint32(0), uint32(windows.OPEN_ALWAYS)
	if shared {
		access, share, mode = windows.GENERIC_READ, windows.FILE_SHARE_READ, windows.OPEN_EXISTING
	}
	h, err := windows.CreateFile(path16, access, share, nil, mode, windows.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case err == nil:
		return os.NewFile(uintptr(h), path), nil
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION):
		return nil, &LockedError{}
	default:
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
}

// Check implements [Lock]: nobody can remove the file.
func (*fileLock) Check() error { return nil }

// Reserve implements [Lock].
func (*fileLock) Reserve(int64) error { return errors.ErrUnsupported }

// PutBack implements [Lock].
func (l *fileLock) PutBack() { overwriteLock(l.file, l.before) }

// Close implements [Lock].
func (l *fileLock) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// Abandon implements [Lock].
func (l *fileLock) Abandon() error {
	err := l.Close()
	if l.made && l.file != nil {
		err = errors.Join(err, l.root.Remove(l.name))
	}
	return err
}
