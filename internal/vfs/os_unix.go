//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// exhausted lists the errors for a resource that ran out.
var exhausted = []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EMFILE, unix.ENFILE}

// nonblock is the flag with which open(2) of a FIFO does not wait for a writer.
// It changes nothing for a regular file.
const nonblock = unix.O_NONBLOCK

// lockFile takes a flock. It belongs to this open file, so it conflicts within
// the process too, and it ends with the process however the process ends.
func lockFile(root *os.Root, name string, shared bool) (*os.File, error) {
	flag, how := os.O_RDWR|os.O_CREATE, unix.LOCK_EX
	if shared {
		flag, how = os.O_RDONLY, unix.LOCK_SH
	}
	f, err := openFile(root, name, flag)
	if err != nil {
		return nil, err
	}
	err = flock(f, how)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = &LockedError{PID: holder(f)}
	default:
		err = &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return nil, errors.Join(err, f.Close())
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// holder returns the id of the process that holds the lock exclusively. Holders
// of a shared lock do not write their ids to the file, which then still names
// the last exclusive holder. So holder returns 0 if the lock can be shared.
func holder(f *os.File) int {
	if flock(f, unix.LOCK_SH) == nil {
		return 0
	}
	return readPID(f)
}

// syncDir makes the names in an open directory durable.
func syncDir(dir *os.File) error { return dir.Sync() }
