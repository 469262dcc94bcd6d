//go:build amd64 || arm64

package vfs

import "syscall"

const (
	// fadviseDontNeed is POSIX_FADV_DONTNEED of posix_fadvise(2).
	fadviseDontNeed = 4

	// forgetBytes is how much is forgotten at once: it takes the processor for a fraction of a millisecond.
	forgetBytes = 4 << 20
)

// Forget is posix_fadvise. Where there is none, so be it.
func (f osFile) Forget() error {
	size, err := f.Size()
	for off := int64(0); off < size && err == nil; off += forgetBytes {
		yieldFirst()
		err = f.control("fadvise", func(fd int) error {
			if _, _, e := syscall.Syscall6(syscall.SYS_FADVISE64, uintptr(fd), uintptr(off), forgetBytes, fadviseDontNeed, 0, 0); e != 0 {
				return e
			}
			return nil
		})
	}
	if isMissing(err) {
		return nil
	}
	return err
}
