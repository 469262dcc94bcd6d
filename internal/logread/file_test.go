package logread

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"kvstore/internal/format"
)

// memory is a file of a fixed size.
type memory struct {
	*bytes.Reader
	size int64
	err  error // of Size
}

func (m memory) Size() (int64, error) { return m.size, m.err }

func newMemory(text string) memory {
	return memory{Reader: bytes.NewReader([]byte(text)), size: int64(len(text))}
}

// A segment is read into memory that is large enough, and only then.
func TestReadAllUsesMemoryAgain(t *testing.T) {
	long, err := ReadAll(newMemory("long text"), 1, nil)
	if err != nil || string(long) != "long text" {
		t.Fatalf("%q, %v", long, err)
	}
	short, err := ReadAll(newMemory("short"), 1, long)
	if err != nil || string(short) != "short" || &short[0] != &long[0] {
		t.Errorf("%q, %v, in new memory: %v", short, err, &short[0] != &long[0])
	}
	longer, err := ReadAll(newMemory(strings.Repeat("longer ", 10)), 1, short)
	if err != nil || string(longer) != strings.Repeat("longer ", 10) {
		t.Errorf("%q, %v", longer, err)
	}
	if empty, err := ReadAll(newMemory(""), 1, nil); err != nil || len(empty) != 0 {
		t.Errorf("%q, %v", empty, err)
	}
}

// Reading again replaces what lies behind the offset.
func TestReread(t *testing.T) {
	data := []byte("old old")
	if err := Reread(newMemory("new new"), 1, data, 4); err != nil || string(data) != "old new" {
		t.Errorf("%q, %v", data, err)
	}
	if err := Reread(newMemory(""), 1, data, len(data)); err != nil {
		t.Errorf("nothing to read: %v", err)
	}
}

// Errors name the segment.
func TestReadErrors(t *testing.T) {
	shrunk := newMemory("short")
	shrunk.size++
	_, err := ReadAll(shrunk, 3, nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), format.SegmentName(3)) {
		t.Errorf("shorter than its size: %v", err)
	}
	failing := newMemory("")
	failing.err = io.ErrClosedPipe
	_, err = ReadAll(failing, 3, nil)
	if !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), format.SegmentName(3)) {
		t.Errorf("without a size: %v", err)
	}
}
