//go:build amd64 || arm64

package vfs

import "syscall"

const (
	// fadviseDontNeed is POSIX_FADV_DONTNEED of posix_fadvise(2).
	fadviseDontNeed = 4

	// forgetBytes is how much one call gives up. It takes a fraction of a
	// millisecond of processor time.
	forgetBytes = 4 << 20
)

// Forget implements [File] with posix_fadvise. On systems without it this is a
// no-op.
func (f osFile) Forget() error {
	size, err := f.Size()
	for off := int64(0); off < size && err == nil; off += forgetBytes {
		yieldFirst()
		err = f.control("fadvise", func(fd int) error {
			_, _, e := syscall.Syscall6(
				syscall.SYS_FADVISE64, uintptr(fd), uintptr(off), forgetBytes, fadviseDontNeed, 0, 0)
			if e != 0 {
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
