package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// reservedFrom is where reserved space begins: behind the process id, in whole
// pages.
const reservedFrom = 4096

// reserveBehind reserves n bytes behind the end of a file, whose length stays.
// If n is 0, it frees what is reserved there.
func reserveBehind(f *os.File, n int64) error {
	file := newOSFile(f)
	if n > 0 {
		return file.control("fallocate", func(fd int) error {
			return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, reservedFrom, n)
		})
	}
	size, err := file.Size()
	if err == nil {
		err = f.Truncate(size) // frees what is behind the end, even if the length does not change
	}
	if err == nil {
		err = f.Sync() // a journal gives freed blocks to others only when it has committed
	}
	return err
}
