package commands

import (
	"os"
	"syscall"
)

// Magic numbers of file systems on which an fsync costs nothing.
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

// isMemory reports whether dir is not on a disk.
func isMemory(dir string) (bool, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return false, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	magic := uint32(s.Type)
	return magic == tmpfsMagic || magic == ramfsMagic, nil
}

// datasync is fsync without what the bytes do not need.
func datasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
