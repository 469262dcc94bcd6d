package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"kvstore"
)

// openDescriptors returns the numbers of all open descriptors in rising order.
func openDescriptors(t *testing.T) (numbers []int) {
	t.Helper()
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	names, err := dir.Readdirnames(-1)
	own := int(dir.Fd())
	if err = errors.Join(err, dir.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var n int
		if _, err := fmt.Sscan(name, &n); err != nil {
			t.Fatal(err)
		}
		if n != own {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// limitOpenFiles allows only this number of further open files. The function
// that it returns lifts the limit.
func limitOpenFiles(t *testing.T, more int) (lift func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	used, limit := openDescriptors(t), 0
	for free := 0; ; limit++ { // the first limit with enough free numbers below it
		if free == more {
			break
		}
		if !slices.Contains(used, limit) {
			free++
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(limit), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	lifted := false
	lift = func() {
		if lifted {
			return
		}
		lifted = true
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(lift)
	return lift
}

// maxOpenFiles is the most that a store ever opens: see docs/OPERATIONS.md.
const maxOpenFiles = 9

// startPolling makes the runtime open the descriptors that it needs once, so
// that they are not counted.
func startPolling(t *testing.T) {
	t.Helper()
	r, w, err := os.Pipe()
	if err == nil {
		err = errors.Join(r.Close(), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// P5, P10: without a free descriptor the next segment and the snapshot have to
// wait, and nothing fails for good.
func TestLimitOpenFilesOfAnOpenStore(t *testing.T) {
	if !alone(t) {
		return
	}
	startPolling(t)
	r := newRealStore(t, t.TempDir())
	s := r.open()
	for i := range 3 {
		lift := limitOpenFiles(t, 0)
		if i == 0 { // under the limit, so that the next segment is not preallocated
			r.set(s, "first", mostOfSegment)
		}
		r.fails(r.trySet(s, "second", mostOfSegment), syscall.EMFILE)
		r.set(s, "small", 100)
		r.ok(s.Sync())
		r.verify(s)
		lift()
	}
	r.set(s, "second", mostOfSegment)
	r.verify(s)
	failures := 0
	for more := range 20 {
		r.set(s, "once more", 100+more)
		before := openDescriptors(t)
		lift := limitOpenFiles(t, more)
		err := s.Close()
		lift()
		if err == nil {
			t.Logf("Close needs %d descriptors", more)
			break
		}
		failures++
		r.fails(err, syscall.EMFILE)
		if after := openDescriptors(t); len(after) >= len(before) {
			t.Errorf("Close has left %v open of %v", after, before)
		}
		r.readable()
		s = r.open()
	}
	if failures == 0 {
		t.Error("Close needs no descriptor: the limit has no effect")
	}
	r.close(s)
	r.close(r.open())
}

// An Open that runs out of descriptors fails with that error, leaks none, and
// does no harm, wherever it was.
func TestLimitOpenFilesInOpen(t *testing.T) {
	if !alone(t) {
		return
	}
	startPolling(t)
	crashed, s := t.TempDir(), (*kvstore.Store)(nil)
	r := newRealStore(t, t.TempDir())
	s = r.open()
	for i := range 30 {
		r.set(s, fmt.Sprint("key ", i), 100<<10) // enough for several segments
	}
	r.copyTo(crashed)
	r.close(s)
	for name, test := range map[string]*realStore{
		"fresh":   newRealStore(t, filepath.Join(t.TempDir(), "a", "b")),
		"closed":  r,
		"crashed": {T: t, config: kvstore.DefaultConfig(crashed), want: r.want},
	} {
		failures := 0
		for more := range maxOpenFiles + 2 {
			if more > maxOpenFiles {
				t.Errorf("%s: Open needs more than %d descriptors", name, maxOpenFiles)
			}
			before := openDescriptors(t)
			lift := limitOpenFiles(t, more)
			s, err := kvstore.OpenWithConfig(test.config)
			lift()
			if err == nil {
				test.verify(s)
				test.close(s)
				t.Logf("%s: Open needs %d descriptors", name, more)
				break
			}
			failures++
			test.fails(err, syscall.EMFILE)
			if after := openDescriptors(t); !slices.Equal(before, after) {
				t.Fatalf("%s: Open that failed by %v has left %v open of %v", name, err, after, before)
			}
			if len(test.want) > 0 {
				test.readable()
			}
		}
		if failures == 0 {
			t.Errorf("%s: Open needs no descriptor: the limit has no effect", name)
		}
		test.close(test.open())
	}
}
