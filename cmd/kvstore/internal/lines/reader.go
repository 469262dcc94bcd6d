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

// ErrNotUTF8 is returned for input that is UTF-16 or UTF-32: it begins with the
// byte order mark of one of them, or has a byte 0 in the first line that is not
// empty.
var ErrNotUTF8 = errors.New("only UTF-8 is accepted")

var (
	errMark = fmt.Errorf("the input is UTF-16 or UTF-32, by its byte order mark; %w", ErrNotUTF8)
	errZero = fmt.Errorf("the first line has bytes 0, as in UTF-16 or UTF-32; %w, "+
		`and a byte 0 of a key or value is written as \x00 in TSV`, ErrNotUTF8)
)

// ByteOrderMark is the one of UTF-8.
const ByteOrderMark = "\xef\xbb\xbf"

// Reader reads lines and counts them. It holds one line in memory, twice while
// it reads a long one. A byte order mark of UTF-8 at the beginning is no part
// of the first line.
type Reader struct {
	r      *bufio.Reader
	begun  bool   // the byte order mark was looked for
	isText bool   // the first line that is not empty has no byte 0
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
// continues with the line that follows. After [ErrNotUTF8] it must not be
// called again. Other errors are those of the reader, and io.EOF; Next then
// drops an incomplete line.
func (l *Reader) Next() ([]byte, error) {
	if err := l.begin(); err != nil {
		return nil, err
	}
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
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if err := l.checkText(line); err != nil {
		return nil, err
	}
	return line, nil
}

// checkText returns an error if the first line that is not empty has a byte 0:
// without a byte order mark, nothing else tells UTF-16 from UTF-8.
func (l *Reader) checkText(line []byte) error {
	if l.isText || len(line) == 0 {
		return nil
	}
	if bytes.IndexByte(line, 0) >= 0 {
		return errZero
	}
	l.isText = true
	return nil
}

// begin looks for a byte order mark before the first line.
func (l *Reader) begin() error {
	if l.begun {
		return nil
	}
	for _, mark := range []string{"\xff\xfe", "\xfe\xff", "\x00\x00\xfe\xff"} {
		if l.startsWith(mark) {
			return errMark
		}
	}
	if l.startsWith(ByteOrderMark) {
		n, _ := l.r.Discard(len(ByteOrderMark)) // it is in the buffer
		l.bytes += int64(n)
	}
	l.begun = true
	return nil
}

// startsWith reports whether the input goes on with mark. It waits for no more
// bytes than it takes to know.
func (l *Reader) startsWith(mark string) bool {
	for n := 1; n <= len(mark); n++ {
		if head, err := l.r.Peek(n); err != nil || string(head) != mark[:n] {
			return false
		}
	}
	return true
}

// nextLong reads the rest of a line that begins with head. It gathers the
// line's pieces before it makes room for the line: a buffer that grows as it is
// filled would take several times the line.
func (l *Reader) nextLong(head []byte) (line []byte, err error) {
	pieces, size := [][]byte{bytes.Clone(head)}, int64(len(head))
	for {
		piece, err := l.r.ReadSlice('\n')
		l.bytes += int64(len(piece))
		if size += int64(len(piece)); size <= int64(l.limit) {
			pieces = append(pieces, bytes.Clone(piece))
		} else {
			pieces = nil
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case pieces == nil:
			return nil, ErrTooLong
		default:
			return l.join(pieces, int(size)), err
		}
	}
}

// join returns the line of these pieces, in the memory of the last long line if
// it has room.
func (l *Reader) join(pieces [][]byte, size int) []byte {
	if cap(l.long) < size {
		l.long = nil // to be collected before there is another
		l.long = make([]byte, 0, size)
	}
	l.long = l.long[:0]
	for _, b := range pieces {
		l.long = append(l.long, b...)
	}
	return l.long
}

// Buffered reports whether the next line is in memory as a whole, so that Next
// returns without reading.
func (l *Reader) Buffered() bool {
	buffered, err := l.r.Peek(l.r.Buffered())
	return err == nil && bytes.IndexByte(buffered, '\n') >= 0
}
