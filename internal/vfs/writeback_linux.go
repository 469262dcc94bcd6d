//go:build !arm

package vfs

import (
	"errors"
	"syscall"
)

// The steps of sync_file_range(2): the three together write the pages that are dirty and wait for them.
const (
	syncRangeWaitBefore = 1
	syncRangeWrite      = 2
	syncRangeWaitAfter  = 4
)

// StartWrite is the step of sync_file_range that waits for nothing. Where there is none, so be it.
func (f osFile) StartWrite(off, n int64) error {
	err := f.control("sync_file_range", func(fd int) error { return syscall.SyncFileRange(fd, off, n, syncRangeWrite) })
	if isMissing(err) {
		return nil
	}
	return err
}

// WriteBack is sync_file_range: it writes data alone, without a commit of the file system's journal and without a flush of
// the disk's cache, which the syncs of other files would have to wait for. Where there is none it is Sync.
func (f osFile) WriteBack(off, n int64) error {
	yieldFirst()
	err := f.control("sync_file_range", func(fd int) error {
		return syscall.SyncFileRange(fd, off, n, syncRangeWaitBefore|syncRangeWrite|syncRangeWaitAfter)
	})
	if isMissing(err) {
		return f.Sync()
	}
	return err
}

// isMissing reports whether err says that a system call is not to be had: the kernel or a sandbox lacks it, or the file is of a kind that
// does not know it. What it says of the disk is another matter.
func isMissing(err error) bool {
	for _, e := range []error{syscall.ENOSYS, syscall.EPERM, syscall.EOPNOTSUPP, syscall.EINVAL, syscall.ESPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
