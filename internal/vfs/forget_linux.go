package vfs

import "golang.org/x/sys/unix"

// forgetBytes is how much one call gives up. It takes a fraction of a
// millisecond of processor time.
const forgetBytes = 4 << 20

// Forget implements [File] with posix_fadvise. On systems without it this is a
// no-op.
func (f osFile) Forget() error {
	size, err := f.Size()
	for off := int64(0); off < size && err == nil; off += forgetBytes {
		yieldFirst()
		err = f.control("fadvise", func(fd int) error {
			return unix.Fadvise(fd, off, forgetBytes, unix.FADV_DONTNEED)
		})
	}
	if isMissing(err) {
		return nil
	}
	return err
}
