//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// dirLock is a flock of the directory itself, and one of the lock file in it. A
// flock belongs to an open file, so it conflicts within the process too, and it
// ends with the process however the process ends.
//
// The lock of the directory keeps others out even if somebody removes the lock
// file. The lock of the file keeps out earlier versions of this package, which
// know no other. It stands alone where a directory cannot be locked, as on NFS.
type dirLock struct {
	root *os.Root // immutable
	name string   // immutable: of the lock file
	dir  *os.File // immutable: the directory, nil if it cannot be locked
	file *os.File // immutable: nil for a shared lock of a directory without one
	made bool     // immutable: this lock has made the file

	before []byte // immutable: what an exclusive lock has found in the file
}

// Lock implements [Dir].
func (d osDir) Lock(name string, shared bool) (Lock, error) {
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	l := &dirLock{root: d.root, name: name}
	err := l.lockDir(how)
	if err == nil {
		err = l.lockFile(how, d.fileMode)
	}
	if err == nil {
		err = l.Check() // the file may have been removed before it was locked
	}
	if err != nil {
		return nil, errors.Join(err, l.Abandon())
	}
	if !shared {
		l.before = writePID(l.file)
	}
	return l, nil
}

// lockDir locks the directory, if its file system can.
func (l *dirLock) lockDir(how int) error {
	dir, err := l.root.Open(".")
	if err != nil {
		return err
	}
	err = flock(dir, how)
	if err == nil {
		l.dir = dir
		return nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = &LockedError{PID: l.holder(dir)}
	} else {
		err = nil
	}
	return errors.Join(err, dir.Close())
}

// lockFile locks the lock file.
func (l *dirLock) lockFile(how int, mode fs.FileMode) error {
	made, err := l.openLockFile(how, mode)
	if err != nil || l.file == nil {
		return err
	}
	switch err := flock(l.file, how); {
	case err == nil:
		l.made = made
		return nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return &LockedError{PID: l.holder(l.file)}
	case how == unix.LOCK_SH:
		return nil // a file system without locks admits no writer
	default:
		return fmt.Errorf("the file system has no locks: %w", &os.PathError{Op: "flock", Path: l.name, Err: err})
	}
}

// openLockFile opens the lock file. For a writer, it makes the file if there is
// none. For a reader that is no error: no writer was ever here, or a copy of a
// directory lacks the file.
func (l *dirLock) openLockFile(how int, mode fs.FileMode) (made bool, err error) {
	flag := os.O_RDWR
	if how == unix.LOCK_SH {
		flag = os.O_RDONLY
	}
	for {
		if l.file, err = openFile(l.root, l.name, flag, 0); !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if how == unix.LOCK_SH {
			return false, nil
		}
		if _, linkErr := l.root.Lstat(l.name); linkErr == nil {
			return false, err // a link to nothing
		}
		l.file, err = openFile(l.root, l.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) { // else another opener was faster
			return err == nil, err
		}
	}
}

// holder returns the id of the process that holds the lock of locked
// exclusively. Holders of a shared lock do not write their ids to the lock
// file, which then still names the last exclusive holder. So holder returns 0
// if the lock can be shared.
func (l *dirLock) holder(locked *os.File) int {
	if flock(locked, unix.LOCK_SH) == nil {
		_ = flock(locked, unix.LOCK_UN)
		return 0
	}
	file, err := openFile(l.root, l.name, os.O_RDONLY, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }() // nothing was written
	return readPID(file)
}

// Check implements [Lock].
func (l *dirLock) Check() error {
	if l.dir != nil || l.file == nil {
		return nil
	}
	held, err := l.file.Stat()
	if err != nil {
		return err
	}
	named, err := l.root.Lstat(l.name)
	if err == nil && !os.SameFile(held, named) {
		err = errors.New("it was replaced")
	}
	if err != nil {
		return fmt.Errorf("the file %s no longer keeps other processes out: %w", l.name, err)
	}
	return nil
}

// Reserve implements [Lock].
func (l *dirLock) Reserve(n int64) error {
	if l.file == nil {
		return errors.ErrUnsupported
	}
	return reserveBehind(l.file, n)
}

// PutBack implements [Lock].
func (l *dirLock) PutBack() { overwriteLock(l.file, l.before) }

// Close implements [Lock]. A child process that was forked and has not yet
// called exec holds copies of the descriptors. Closing them here would not end
// the locks, so each is given up before.
func (l *dirLock) Close() error {
	var errs []error
	for _, f := range []*os.File{l.file, l.dir} {
		if f != nil {
			_ = flock(f, unix.LOCK_UN) // a lock that was never taken needs no release
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Abandon implements [Lock].
func (l *dirLock) Abandon() error {
	var err error
	if l.made {
		err = l.root.Remove(l.name)
	}
	return errors.Join(err, l.Close())
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
