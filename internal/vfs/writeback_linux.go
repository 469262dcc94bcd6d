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

// StartWrite is the step of sync_file_range that waits for nothing.
func (f osFile) StartWrite(off, n int64) error {
	err := f.control("sync_file_range", func(fd int) error { return syscall.SyncFileRange(fd, off, n, syncRangeWrite) })
	if errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return err
}

// WriteBack is sync_file_range: it writes data alone, without a commit of the file system's journal and without a flush of
// the disk's cache, which the syncs of other files would have to wait for. Where a sandbox lacks the call it is Sync.
func (f osFile) WriteBack(off, n int64) error {
	giveWay()
	err := f.control("sync_file_range", func(fd int) error {
		return syscall.SyncFileRange(fd, off, n, syncRangeWaitBefore|syncRangeWrite|syncRangeWaitAfter)
	})
	if errors.Is(err, syscall.ENOSYS) {
		return f.Sync()
	}
	return err
}
