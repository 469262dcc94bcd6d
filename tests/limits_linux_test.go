package tests

// This file and its siblings meet the limits of a real operating system: a full
// disk, no inodes, limits on the size of files and on open files, a directory
// that is read-only or moves away, a disk that fails an fsync. Each limit gives
// one clear error. No acknowledged write is lost. The store goes on, or a later
// Open does, as P5 says.

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kvstore"
)

// mostOfSegment bytes fit into a session's first segment once, but not twice.
const mostOfSegment = 200 << 10

// realStore is a directory on a real file system, and the expected content of
// its store.
type realStore struct {
	*testing.T
	config kvstore.Config
	want   map[string]string
}

func newRealStore(t *testing.T, dir string) *realStore {
	return &realStore{T: t, config: kvstore.DefaultConfig(dir), want: map[string]string{}}
}

func (r *realStore) open() *kvstore.Store {
	r.Helper()
	s, err := kvstore.OpenWithConfig(r.config)
	r.ok(err)
	r.Cleanup(func() { _ = s.Close() })
	r.verify(s)
	return s
}

func (r *realStore) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *realStore) close(s *kvstore.Store) {
	r.Helper()
	r.ok(s.Close())
}

// opensNot checks that Open fails with this error, that the directory keeps its
// files, and that a read-only Open finds everything.
func (r *realStore) opensNot(want error) {
	r.Helper()
	before := r.files()
	s, err := kvstore.OpenWithConfig(r.config)
	if err == nil {
		r.close(s)
	}
	r.fails(err, want)
	if !strings.Contains(err.Error(), "kvstore: ") {
		r.Errorf("the error does not say whose it is: %v", err)
	}
	if after := r.files(); !slices.Equal(before, after) {
		r.Errorf("a failed Open has left %q of %q", after, before)
	}
	r.readable()
}

// opensFails is opensNot for an Open that may have begun to repair the log.
func (r *realStore) opensFails(want error) {
	r.Helper()
	s, err := kvstore.OpenWithConfig(r.config)
	if err == nil {
		r.close(s)
	}
	r.fails(err, want)
	r.readable()
}

// readable checks that a read-only Open finds everything.
func (r *realStore) readable() {
	r.Helper()
	config := r.config
	config.ReadOnly = true
	s, err := kvstore.OpenWithConfig(config)
	r.ok(err)
	r.verify(s)
	if err := s.Set("a", nil); !errors.Is(err, kvstore.ErrReadOnly) {
		r.Errorf("Set of a read-only store: %v", err)
	}
	r.close(s)
}

// fails checks that err is want, and neither ErrFailed nor ErrCorrupt.
func (r *realStore) fails(err, want error) {
	r.Helper()
	if !errors.Is(err, want) || errors.Is(err, kvstore.ErrFailed) || errors.Is(err, kvstore.ErrCorrupt) {
		r.Fatalf("error %v, want one that is %q and not ErrFailed", err, want)
	}
}

// failed checks that err is ErrFailed, by one of these causes.
func (r *realStore) failed(err error, causes ...error) {
	r.Helper()
	if !errors.Is(err, kvstore.ErrFailed) || !isAny(err, causes) {
		r.Fatalf("error %v, want ErrFailed by one of %q", err, causes)
	}
}

// isAny reports whether err is one of these.
func isAny(err error, these []error) bool {
	return slices.ContainsFunc(these, func(one error) bool { return errors.Is(err, one) })
}

// set sets a key to a value of this size.
func (r *realStore) set(s *kvstore.Store, key string, size int) {
	r.Helper()
	r.ok(r.trySet(s, key, size))
}

// trySet is set for a write that may fail. The key must then keep its value.
func (r *realStore) trySet(s *kvstore.Store, key string, size int) error {
	r.Helper()
	value := strings.Repeat(key+" ", size/(len(key)+1)+1)[:size]
	err := s.Set(key, []byte(value))
	if err == nil {
		r.want[key] = value
	}
	return err
}

func (r *realStore) verify(s *kvstore.Store) {
	r.Helper()
	r.same(state(s))
}

// state returns what a store shows to Keys and Get.
func state(s *kvstore.Store) map[string]string {
	state := map[string]string{}
	for _, key := range s.Keys() {
		if value, ok := s.Get(key); ok {
			state[key] = string(value)
		}
	}
	return state
}

func (r *realStore) same(got map[string]string) {
	r.Helper()
	if maps.Equal(got, r.want) {
		return
	}
	for key := range got {
		if _, ok := r.want[key]; !ok {
			r.Errorf("key %q is there, and was never acknowledged", key)
		}
	}
	for key := range r.want {
		if got[key] != r.want[key] {
			r.Errorf("key %q is %.40q and should be %.40q", key, got[key], r.want[key])
		}
	}
	r.FailNow()
}

// files returns the sorted names in the directory.
func (r *realStore) files() []string {
	r.Helper()
	entries, err := os.ReadDir(r.config.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// copyTo copies the directory of an open store, as a crash would leave it. It
// tries again if a name has changed meanwhile: the writer makes and names
// segments after it has answered.
func (r *realStore) copyTo(dir string) {
	r.Helper()
	for {
		r.ok(os.RemoveAll(dir))
		before := r.files()
		err := os.CopyFS(dir, os.DirFS(r.config.DataDir))
		if err == nil && slices.Equal(before, r.files()) {
			return
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Fatal(err)
		}
	}
}

// hasLog checks that the log is there, which a failed Close must leave, and no
// temporary file.
func (r *realStore) hasLog() {
	r.Helper()
	if names := r.files(); !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".log") }) {
		r.Fatalf("no log in %q", names)
	}
	for _, name := range r.files() {
		if strings.HasSuffix(name, ".tmp") {
			r.Errorf("%s was left behind", name)
		}
	}
}

// fillUp fills the file system of this directory. The function that it returns
// makes room again.
func fillUp(t *testing.T, dir string) (makeRoom func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); len(block) > 0; block = block[:len(block)/2] {
		for err = nil; err == nil; {
			_, err = file.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fill the disk: %v", err)
		}
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
