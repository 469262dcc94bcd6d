package lines

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	readBytes    = 1 << 20       // read at once
	maxLineBytes = math.MaxInt32 // the longest value, each byte escaped as four
)

// ErrTooLong is returned for a line longer than 2 GiB.
var ErrTooLong = fmt.Errorf("longer than %d bytes", maxLineBytes)

// Reader reads lines and counts them. It holds one line in memory.
type Reader struct {
	r      *bufio.Reader
	number int64  // of the line that Next returned last
	bytes  int64  // read up to the end of that line
	long   []byte // a line longer than the buffer of r; reused
	limit  int    // maxLineBytes, except in tests
}

// NewReader returns a Reader that reads from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, readBytes), limit: maxLineBytes}
}

// Number returns the number of the last line that Next read, counted from 1.
func (l *Reader) Number() int64 { return l.number }

// Bytes returns the number of bytes up to the end of that line.
func (l *Reader) Bytes() int64 { return l.bytes }

// Next returns the next line without its end, "\n" or "\r\n". The line is valid
// until the next call. The last line may lack its end. After [ErrTooLong], Next
// continues with the line that follows. Other errors are those of the reader,
// and io.EOF; Next then drops an incomplete line.
func (l *Reader) Next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	l.number++
	l.bytes += int64(len(line))
	if errors.Is(err, bufio.ErrBufferFull) {
		if line, err = l.nextLong(line); errors.Is(err, ErrTooLong) {
			return nil, err
		}
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		l.number-- // the line is incomplete, or there is none
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), nil
}

// nextLong reads the rest of a line that begins with head.
func (l *Reader) nextLong(head []byte) (line []byte, err error) {
	l.long = append(l.long[:0], head...)
	for tooLong := false; ; {
		piece, err := l.r.ReadSlice('\n')
		l.bytes += int64(len(piece))
		if tooLong = tooLong || len(l.long)+len(piece) > l.limit; !tooLong {
			l.long = append(l.long, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case tooLong:
			l.long = nil
			return nil, ErrTooLong
		default:
			return l.long, err
		}
	}
}

// Buffered reports whether the next line is in memory as a whole, so that Next
// returns without reading.
func (l *Reader) Buffered() bool {
	buffered, err := l.r.Peek(l.r.Buffered())
	return err == nil && bytes.IndexByte(buffered, '\n') >= 0
}
