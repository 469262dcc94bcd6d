//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// exhausted lists the errors for a resource that ran out.
var exhausted = []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EMFILE, unix.ENFILE}

// nonblock is the flag with which open(2) of a FIFO does not wait for a writer.
// It changes nothing for a regular file.
const nonblock = unix.O_NONBLOCK

// noCall lists the errors with which file systems say that they have no such
// call.
var noCall = []error{unix.EINVAL, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.EBADF}

// syncDir makes the names in an open directory durable. It returns errNoSync
// if the file system has no fsync for directories, as squashfs, procfs, and
// some network file systems.
func syncDir(dir *os.File) error {
	err := dir.Sync()
	if isNoCall(err) {
		return errNoSync
	}
	return err
}

// isNoCall reports whether err says that the file system has no such call.
func isNoCall(err error) bool {
	return slices.ContainsFunc(noCall, func(e error) bool { return errors.Is(err, e) })
}

// Linked implements [File].
func (f osFile) Linked() bool {
	var status unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &status)
	return err != nil || status.Nlink > 0
}
