package kvstore_test

// This file is about released formats, which stay readable (P8). The first
// version of this package wrote testdata/format-1: a store that was closed,
// then opened, written to and killed, so that it has a snapshot, a segment with
// its END, and one with a reserved tail. testdata/format-2 is the same of a
// store with deadlines, whose snapshot is of version 2.
// KVSTORE_WRITE_GOLDEN=format-2 writes that directory anew. A new format gets
// its own.

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"kvstore"
	"kvstore/internal/vfs"
)

// goldenDir returns the directory of a golden store.
func goldenDir(name string) string { return filepath.Join("testdata", name) }

// goldenState is the state of the store in goldenDir.
func goldenState() map[string]string {
	state := map[string]string{"": "the empty key", "empty": "", "bytes\x00\xff": "\x00\xff", "batch-0": "b"}
	for i := range 20 {
		state[fmt.Sprintf("key-%02d", i)] = strings.Repeat("v", 10*i)
	}
	state["key-03"] = "overwritten"
	delete(state, "key-04")
	return state
}

func TestGoldenFormat1(t *testing.T) {
	dir := readGolden(t, "format-1", writeGolden)
	for _, config := range []kvstore.Config{{ReadOnly: true}, {SyncWrites: true}} {
		fs := dir.mount(t)
		s := openMem(t, fs, config)
		if got := contents(s); !maps.Equal(got, goldenState()) {
			t.Fatalf("%s", summary(got))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// readGolden returns the golden store of this name. It writes it anew if it is
// asked to.
func readGolden(t *testing.T, name string, write func(t *testing.T, fs *vfs.Mem)) directory {
	t.Helper()
	if os.Getenv("KVSTORE_WRITE_GOLDEN") == name {
		fs := directory{}.mount(t)
		write(t, fs)
		keepGolden(t, name, fs)
	}
	dir := directory{}
	files, err := filepath.Glob(goldenDir(name) + "/*.*")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files in %s, %v", len(files), goldenDir(name), err)
	}
	for _, file := range files {
		if dir[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// keepGolden writes a golden store to disk.
func keepGolden(t *testing.T, name string, fs *vfs.Mem) {
	t.Helper()
	if err := os.MkdirAll(goldenDir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, data := range readDirectory(fs) {
		if err := os.WriteFile(filepath.Join(goldenDir(name), file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func writeGolden(t *testing.T, fs *vfs.Mem) {
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	set := func(key, value string) {
		t.Helper()
		if err := s.Set(key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		set(fmt.Sprintf("key-%02d", i), strings.Repeat("v", 10*i))
	}
	set("", "the empty key")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, fs, kvstore.Config{SyncWrites: true})
	set("bytes\x00\xff", "\x00\xff")
	set("empty", "")
	set("key-03", "overwritten")
	fs.Kill()
	_ = s.Close() // fails: its file system is gone
	s = openMem(t, fs, kvstore.Config{SyncWrites: true})
	b := new(kvstore.Batch)
	for i := range 10 {
		b.Set(fmt.Sprintf("key-%02d", 10+i), bytes.Repeat([]byte("v"), 10*(10+i)))
	}
	b.Set("batch-0", []byte("b"))
	b.Delete("key-04")
	if err := s.Apply(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	fs.Kill()
	_ = s.Close() // fails: its file system is gone
}

// Deadlines of the store in testdata/format-2, and the time at which it was
// written.
var (
	goldenNow = time.Date(2019, time.July, 1, 0, 0, 0, 0, time.UTC)
	goldenDue = time.Date(2020, time.July, 1, 0, 0, 0, 7, time.UTC)
	goldenFar = time.Date(2262, time.April, 1, 0, 0, 0, 1, time.UTC)
)

// goldenDeadlines is what the store in testdata/format-2 has, due keys too.
func goldenDeadlines() map[string]time.Time {
	return map[string]time.Time{
		"plain": {}, "until then": goldenFar, "due": goldenDue, "made plain": {}, "persisted": {},
		"touched": goldenFar, "in the log": goldenFar, "due in the log": goldenDue,
		"set again": goldenFar,
	}
}

// P8: a store with deadlines stays readable, at any time.
func TestGoldenFormat2(t *testing.T) {
	dir := readGolden(t, "format-2", writeGoldenDeadlines)
	for _, now := range []time.Time{goldenNow, goldenDue, time.Now()} {
		want := goldenDeadlines()
		maps.DeleteFunc(want, func(_ string, until time.Time) bool { return !until.IsZero() && !until.After(now) })
		for _, config := range []kvstore.Config{{ReadOnly: true}, {SyncWrites: true}} {
			config.Now = func() time.Time { return now }
			fs := dir.mount(t)
			for range 2 { // the second time from what the first one has left
				s := openMem(t, fs, config)
				got := map[string]time.Time{}
				for _, key := range s.Keys() {
					got[key], _ = s.Deadline(key)
					if value, _ := s.Get(key); string(value) != "value of "+key {
						t.Errorf("%s has %q", key, value)
					}
				}
				if !maps.EqualFunc(got, want, time.Time.Equal) {
					t.Fatalf("at %v: %v", now, got)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func writeGoldenDeadlines(t *testing.T, fs *vfs.Mem) {
	config := kvstore.Config{SyncWrites: true, Now: func() time.Time { return goldenNow }}
	s := openMem(t, fs, config)
	set := func(key string, until time.Time) {
		t.Helper()
		if err := s.SetUntil(key, []byte("value of "+key), until); err != nil {
			t.Fatal(err)
		}
	}
	expire := func(key string, until time.Time) {
		t.Helper()
		if found, err := s.Expire(key, until); err != nil || !found {
			t.Fatal(found, err)
		}
	}
	set("plain", time.Time{})
	for _, key := range []string{"until then", "made plain", "persisted", "set again"} {
		set(key, goldenFar)
	}
	set("due", goldenDue)
	set("touched", goldenDue)
	if err := s.Close(); err != nil { // writes a snapshot
		t.Fatal(err)
	}
	s = openMem(t, fs, config)
	set("made plain", time.Time{})
	expire("persisted", time.Time{})
	expire("touched", goldenFar)
	fs.Kill()
	_ = s.Close() // fails: its file system is gone
	s = openMem(t, fs, config)
	set("in the log", goldenFar)
	set("due in the log", goldenDue)
	set("set again", time.Time{})
	set("set again", goldenFar)
	set("gone", s.Now().Add(10*time.Millisecond))
	for s.Stats().Expired == 0 { // a commit that begins with CAUSE
		runtime.Gosched()
	}
	fs.Kill()
	_ = s.Close() // fails: its file system is gone
}
