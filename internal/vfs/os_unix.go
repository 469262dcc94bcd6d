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

// Lost implements [Dir].
func (d osDir) Lost(name string, file File, size int64) string {
	f, ok := file.(osFile)
	if !ok {
		return ""
	}
	held, err := look(int(f.Fd()), "")
	if err != nil {
		return ""
	}
	named, err := look(int(d.self.Fd()), name)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return wasRemoved
	case err != nil:
		return ""
	case held.inode != named.inode:
		return wasReplaced
	case named.size < size:
		return wasTruncated
	default:
		return ""
	}
}

// inode identifies a file.
type inode struct{ device, number uint64 }

// identity is what look finds: which file it is, and how long.
type identity struct {
	inode
	size int64
}

// lookByStat is look where there is no better call. An empty name stands for
// the file with this descriptor itself, any other for a name in this directory.
func lookByStat(fd int, name string) (identity, error) {
	var stat unix.Stat_t
	var err error
	if name == "" {
		err = unix.Fstat(fd, &stat)
	} else {
		err = unix.Fstatat(fd, name, &stat, 0)
	}
	device, number := uint64(stat.Dev), uint64(stat.Ino) //nolint:unconvert // their types differ by system
	return identity{inode{device, number}, stat.Size}, err
}
