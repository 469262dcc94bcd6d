package vfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// StartWrite implements [File] with the step of sync_file_range that does not
// wait. On systems without it this is a no-op.
func (f osFile) StartWrite(off, n int64) error {
	err := f.control("sync_file_range",
		func(fd int) error { return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE) })
	if isMissing(err) {
		return nil
	}
	return err
}

// WriteBack implements [File] with sync_file_range. It writes data alone,
// without a journal commit of the file system and without a flush of the disk's
// cache, for which the syncs of other files would have to wait. On systems
// without it, WriteBack is Sync.
func (f osFile) WriteBack(off, n int64) error {
	yieldFirst()
	err := f.control("sync_file_range", func(fd int) error {
		return unix.SyncFileRange(fd, off, n,
			unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	})
	if isMissing(err) {
		return f.Sync()
	}
	return err
}

// isMissing reports whether err says that a system call is not available: the
// kernel or a sandbox lacks it, or the file is of a kind that does not support
// it. All other errors are about the disk.
func isMissing(err error) bool {
	for _, e := range []error{unix.ENOSYS, unix.EPERM, unix.EOPNOTSUPP, unix.EINVAL, unix.ESPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
