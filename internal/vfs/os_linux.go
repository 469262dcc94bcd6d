package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Sync implements [File] with fdatasync. It writes the data and the metadata
// that is needed to read the data back, including the length, but not the
// times, each of which would cost a journal commit.
func (f osFile) Sync() error {
	done, err := f.started.settle()
	switch {
	case err != nil:
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	case done:
		return nil
	}
	return f.control("fdatasync", unix.Fdatasync)
}

// Allocate implements [File] with fallocate. On a file system that refuses it,
// Allocate writes zeros.
func (f osFile) Allocate(size int64) error {
	yieldFirst()
	f.started.changed()
	err := f.control("fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if isNoCall(err) || errors.Is(err, unix.EPERM) {
		return writeZeros(f.File, size)
	}
	return err
}

// look says which file a name in a directory leads to, see lookByStat. It does
// not ask for the times. A kernel of version 6.13 or later that was asked for
// them notes the time of the next write exactly. So each write would change the
// inode, and take twice as long.
func look(fd int, name string) (identity, error) {
	flags := 0
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	var stat unix.Statx_t
	err := unix.Statx(fd, name, flags, unix.STATX_INO|unix.STATX_SIZE, &stat)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // EPERM: an old filter of system calls
		return lookByStat(fd, name)
	}
	return identity{inode{unix.Mkdev(stat.Dev_major, stat.Dev_minor), stat.Ino}, int64(stat.Size)}, err
}

// control makes a system call on the descriptor. It repeats the call if a
// signal has interrupted it.
func (f osFile) control(name string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for callErr = unix.EINTR; errors.Is(callErr, unix.EINTR); {
			callErr = call(int(fd))
		}
	})
	if err == nil && callErr != nil {
		err = &os.PathError{Op: name, Path: f.Name(), Err: callErr}
	}
	return err
}
