package tests

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// limitFileSize limits the size of files. 0 means no limit.
func limitFileSize(t *testing.T, size uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = size
	if size == 0 {
		limit.Cur = limit.Max
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}

// P5, P10: a segment or snapshot over the limit of file sizes is like a full
// disk.
func TestLimitFileSize(t *testing.T) {
	if !alone(t) {
		return
	}
	const limit, large = 1536 << 10, 600 << 10
	r := newRealStore(t, t.TempDir())
	s := r.open()
	defer limitFileSize(t, 0)
	limitFileSize(t, limit)
	for i := range 5 {
		r.set(s, fmt.Sprint("large ", i), large)
		r.fails(r.trySet(s, "too large", limit), syscall.EFBIG)
		r.set(s, "small", 100)
	}
	r.verify(s)
	r.fails(s.Close(), syscall.EFBIG)
	r.hasLog()
	s = r.open()
	r.set(s, "small", 200)
	limitFileSize(t, 0)
	r.set(s, "too large", limit)
	r.verify(s)
	limitFileSize(t, 2*limit) // the snapshot alone is longer
	r.fails(s.Close(), syscall.EFBIG)
	r.hasLog()
	limitFileSize(t, 100)
	r.opensFails(syscall.EFBIG)
	limitFileSize(t, 0)
	r.close(r.open())
	r.close(r.open())
}

// P5: a partial write is a failure for good, even into reserved space.
func TestLimitPartialWrite(t *testing.T) {
	if !alone(t) {
		return
	}
	r := newRealStore(t, t.TempDir())
	s := r.open()
	r.set(s, "before", mostOfSegment/8)
	defer limitFileSize(t, 0)
	limitFileSize(t, mostOfSegment/2)
	r.failed(r.trySet(s, "in part", mostOfSegment/2), syscall.EFBIG)
	limitFileSize(t, 0)
	for range 3 {
		r.failed(r.trySet(s, "later", 100), syscall.EFBIG)
		r.failed(s.Delete("before"), syscall.EFBIG)
		r.failed(s.Sync(), syscall.EFBIG)
		r.verify(s)
	}
	before := r.files()
	r.failed(s.Close(), syscall.EFBIG)
	if after := r.files(); !slices.Equal(before, after) {
		t.Errorf("Close of a failed store has left %q of %q", after, before)
	}
	r.readable()
	s = r.open() // without the partial group
	dropped := s.Stats().Recovery.Dropped
	if len(dropped) != 1 || dropped[0].Bytes < mostOfSegment/4 ||
		dropped[0].Offset+dropped[0].Bytes != mostOfSegment/2 {
		t.Errorf("dropped %+v, want the part that was written", dropped)
	}
	r.set(s, "in part", mostOfSegment/2)
	r.close(s)
	r.close(r.open())
}
