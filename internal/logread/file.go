package logread

import (
	"fmt"
	"io"
	"math"
	"slices"

	"kvstore/internal/format"
)

// File is a segment that is open for reading.
type File interface {
	io.ReaderAt

	// Size returns the length in bytes.
	Size() (int64, error)
}

// Size returns the length of a segment, as a length that a slice can have. The
// error is that of file.Size, or says that the segment is too large for the
// platform; both name the segment.
func Size(file File, number uint64) (int, error) {
	size, err := file.Size()
	switch {
	case err != nil:
		return 0, fmt.Errorf("size of %s: %w", format.SegmentName(number), err)
	case size > math.MaxInt:
		return 0, fmt.Errorf("%s is too large for this platform: %d bytes", format.SegmentName(number), size)
	}
	return int(size), nil
}

// ReadAll returns the bytes of a segment. They lie in the memory of buf if its
// capacity is enough. Errors are those of [Size] and [Reread].
func ReadAll(file File, number uint64, buf []byte) ([]byte, error) {
	size, err := Size(file, number)
	if err != nil {
		return nil, err
	}
	data := slices.Grow(buf[:0], size)[:size]
	return data, Reread(file, number, data, 0)
}

// Reread reads data[offset:] from the file of a segment, where it lies at the
// same offset. It is an error if the file is shorter; the error names the
// segment.
func Reread(file io.ReaderAt, number uint64, data []byte, offset int) error {
	rest := data[offset:]
	if len(rest) == 0 {
		return nil
	}
	if _, err := io.ReadFull(io.NewSectionReader(file, int64(offset), int64(len(rest))), rest); err != nil {
		return fmt.Errorf("read %s: %w", format.SegmentName(number), err)
	}
	return nil
}
