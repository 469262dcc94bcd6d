package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// InMemory reports whether dir is on a file system in memory, tmpfs or ramfs,
// where an fsync costs nothing.
func InMemory(dir string) (bool, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return false, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	magic := int64(uint32(s.Type)) // Type is signed, and 32 bits wide on some platforms
	return magic == unix.TMPFS_MAGIC || magic == unix.RAMFS_MAGIC, nil
}

// Datasync makes the bytes of f durable. Unlike fsync, it leaves out metadata
// that is not needed to read them.
func Datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
