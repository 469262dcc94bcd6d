package kvstore_test

// This file is about released formats, which stay readable (P8). The first
// version of this package wrote testdata/format-1: a store that was closed,
// then opened, written to and killed, so that it has a snapshot, a segment with
// its END, and one with a reserved tail. KVSTORE_WRITE_GOLDEN=1 writes the
// directory anew, when a new format gets its own.

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kvstore"
)

const goldenDir = "testdata/format-1"

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
	if os.Getenv("KVSTORE_WRITE_GOLDEN") != "" {
		writeGolden(t)
	}
	dir := directory{}
	files, err := filepath.Glob(goldenDir + "/*.*")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files in %s, %v", len(files), goldenDir, err)
	}
	for _, file := range files {
		if dir[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
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

func writeGolden(t *testing.T) {
	fs := directory{}.mount(t)
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
	if err := os.MkdirAll(goldenDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range readDirectory(fs) {
		if err := os.WriteFile(filepath.Join(goldenDir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
