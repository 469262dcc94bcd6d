package vfs

import (
	"errors"
	"os"
	"syscall"
)

// Sync is fdatasync: it writes the data and the metadata that is needed to read it back, the length among it,
// but not the times, which would cost a journal commit each.
func (f osFile) Sync() error {
	done, err := f.started.settle()
	switch {
	case err != nil:
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	case done:
		return nil
	}
	return f.control("fdatasync", syscall.Fdatasync)
}

// Allocate is fallocate. A file system without it gets written zeros.
func (f osFile) Allocate(size int64) error {
	yieldFirst()
	f.started.changed()
	err := f.control("fallocate", func(fd int) error { return syscall.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return writeZeros(f.File, size)
	}
	return err
}

// control calls a system call on the descriptor, again when a signal interrupted it before it did anything.
func (f osFile) control(name string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for callErr = syscall.EINTR; errors.Is(callErr, syscall.EINTR); {
			callErr = call(int(fd))
		}
	})
	if err == nil && callErr != nil {
		err = &os.PathError{Op: name, Path: f.Name(), Err: callErr}
	}
	return err
}
