package commands

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	inputBytes   = 1 << 20       // read at once
	maxLineBytes = math.MaxInt32 // room for the longest value, each byte of it escaped in four
)

var errLineTooLong = fmt.Errorf("longer than %d bytes", maxLineBytes)

// lineReader reads lines, counts them, and keeps no more than one.
type lineReader struct {
	r      *bufio.Reader
	number int64  // of the line that next returned last
	bytes  int64  // read up to the end of that line
	long   []byte // gathers a line that is longer than the buffer of r; reused
	limit  int    // maxLineBytes
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, inputBytes), limit: maxLineBytes}
}

// next returns the next line without its end, "\n" or "\r\n"; it is valid until the next call. The last line need not have an end. After
// errLineTooLong, next goes on with the line behind that one.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	l.number++
	l.bytes += int64(len(line))
	if errors.Is(err, bufio.ErrBufferFull) {
		if line, err = l.nextLong(line); errors.Is(err, errLineTooLong) {
			return nil, err
		}
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		l.number-- // what may be there of a line is not all of it
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), nil
}

// nextLong reads the rest of a line that begins with head.
func (l *lineReader) nextLong(head []byte) (line []byte, err error) {
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
			return nil, errLineTooLong
		default:
			return l.long, err
		}
	}
}

// waits reports whether next may have to wait for input.
func (l *lineReader) waits() bool {
	buffered, err := l.r.Peek(l.r.Buffered())
	return err != nil || bytes.IndexByte(buffered, '\n') < 0
}
