//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"os"
	"syscall"
)

// exhausted are the errors of a resource that ran out.
var exhausted = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EMFILE, syscall.ENFILE}

// lockFile takes flock, which is bound to this open of the file: it conflicts within the process too, and ends
// with the process however that ends.
func lockFile(root *os.Root, name string, shared bool) (*os.File, error) {
	flag, how := os.O_RDWR|os.O_CREATE, syscall.LOCK_EX
	if shared {
		flag, how = os.O_RDONLY, syscall.LOCK_SH
	}
	f, err := root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	err = flock(f, how)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = &LockedError{PID: holder(f)}
	default:
		err = &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return nil, errors.Join(err, f.Close())
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// holder returns the process id of who holds the lock exclusively. Those who share it leave no trace in the file, which names
// the last writer then: if sharing is possible, nobody is to be named.
func holder(f *os.File) int {
	if flock(f, syscall.LOCK_SH) == nil {
		return 0
	}
	return readPID(f)
}

// syncDir makes the names in an open directory durable.
func syncDir(dir *os.File) error { return dir.Sync() }
