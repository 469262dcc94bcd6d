package kvstore_test

// This file makes data directories for tests to damage, and checks what Open
// makes of them.

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"kvstore"
	"kvstore/internal/vfs"
)

const (
	recoveryDir  = "/store"
	recoveryKeys = 5 // groups in the log that the rows damage: key-0 to key-4, one Set each
)

const (
	wal1 = "wal-00000000000000000001.log"
	wal2 = "wal-00000000000000000002.log"
	wal3 = "wal-00000000000000000003.log"
)

// directory is the content of a data directory: bytes by file name.
type directory map[string][]byte

func readDirectory(fs *vfs.Mem) directory {
	d := directory{}
	for _, name := range fs.Names(recoveryDir) {
		if name != "LOCK" {
			d[name], _ = fs.ReadFile(recoveryDir + "/" + name)
		}
	}
	return d
}

// mount puts the files on a new disk.
func (d directory) mount(t testing.TB) *vfs.Mem {
	t.Helper()
	fs := vfs.NewMem(nil)
	if err := errors.Join(fs.Mkdir(recoveryDir), fs.SyncParent(recoveryDir)); err != nil {
		t.Fatal(err)
	}
	for name, data := range d {
		if err := fs.WriteFile(recoveryDir+"/"+name, data); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

func (d directory) clone() directory {
	c := directory{}
	for name, data := range d {
		c[name] = bytes.Clone(data)
	}
	return c
}

// killed returns the directory of a process that was killed after it wrote
// key-0 to key-4, and the offset behind each group.
func killed(t testing.TB, config kvstore.Config) (directory, []int) {
	t.Helper()
	fs := directory{}.mount(t)
	s := openMem(t, fs, config)
	ends := []int{}
	for i := range recoveryKeys {
		setKey(t, s, i)
		ends = append(ends, 53+int(s.Stats().WALBytes)) // behind the SEGMENT entry
	}
	fs.Kill()
	d := readDirectory(fs)
	_ = s.Close() // fails: its file system is gone
	return d, ends
}

func setKey(t testing.TB, s *kvstore.Store, i int) {
	t.Helper()
	if err := s.Set(fmt.Sprintf("key-%d", i), bytes.Repeat([]byte{byte('a' + i)}, 8)); err != nil {
		t.Fatal(err)
	}
}

func openMem(t testing.TB, fs *vfs.Mem, config kvstore.Config) *kvstore.Store {
	t.Helper()
	config.DataDir = recoveryDir
	s, err := kvstore.OpenFS(fs, config)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

// wantKeys checks that exactly the first n keys are there, whole.
func wantKeys(t testing.TB, s *kvstore.Store, n int) {
	t.Helper()
	for i := range n {
		value, ok := s.Get(fmt.Sprintf("key-%d", i))
		if !ok || !bytes.Equal(value, bytes.Repeat([]byte{byte('a' + i)}, 8)) {
			t.Fatalf("key-%d = %q, %v", i, value, ok)
		}
	}
	if s.Len() != n {
		t.Fatalf("%d keys, want %d: %q", s.Len(), n, s.Keys())
	}
}

// opens checks that the directory opens with the first n keys and reports this
// number of dropped bytes, that a second Open finds the same, and that a
// ReadOnly one does too and writes nothing.
func (d directory) opens(t testing.TB, n int, dropped int64) {
	t.Helper()
	fs := d.mount(t)
	ro := openMem(t, fs, kvstore.Config{ReadOnly: true})
	wantKeys(t, ro, n)
	if err := ro.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readDirectory(fs); !maps.EqualFunc(got, d, bytes.Equal) {
		t.Fatal("a ReadOnly store has changed its files")
	}
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	wantKeys(t, s, n)
	var reported int64
	for _, drop := range s.Stats().Recovery.Dropped {
		reported += drop.Bytes
	}
	if reported != dropped {
		t.Fatalf("dropped %d bytes, want %d", reported, dropped)
	}
	fs.Kill()
	_ = s.Close() // fails: its file system is gone
	s = openMem(t, fs, kvstore.Config{SyncWrites: true})
	wantKeys(t, s, n)
	if dropped := s.Stats().Recovery.Dropped; len(dropped) > 0 {
		t.Fatalf("dropped again: %+v", dropped)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// refused checks that Open returns this error and touches nothing.
func (d directory) refused(t testing.TB, want error) {
	t.Helper()
	fs := d.mount(t)
	for _, readOnly := range []bool{false, true} {
		_, err := kvstore.OpenFS(fs, kvstore.Config{DataDir: recoveryDir, SyncWrites: true, ReadOnly: readOnly})
		if !errors.Is(err, want) {
			t.Fatalf("open: %v, want %v", err, want)
		}
		damage, ok := errors.AsType[*kvstore.CorruptError](err)
		if errors.Is(want, kvstore.ErrCorrupt) && (!ok || damage.File == "" || damage.Reason == "") {
			t.Fatalf("no useful CorruptError: %#v", damage)
		}
	}
	if got := readDirectory(fs); !maps.EqualFunc(got, d, bytes.Equal) {
		t.Fatal("a refused Open has changed files")
	}
}

// closedDirectory opens and closes the directory and returns what is left: one
// snapshot.
func closedDirectory(t testing.TB, d directory) directory {
	t.Helper()
	fs := d.mount(t)
	if err := openMem(t, fs, kvstore.Config{SyncWrites: true}).Close(); err != nil {
		t.Fatal(err)
	}
	closed := readDirectory(fs)
	if len(closed) != 1 {
		t.Fatalf("Close left %q", slices.Sorted(maps.Keys(closed)))
	}
	return closed
}

// afterSnapshot writes one more key to a closed directory and kills the
// process.
func afterSnapshot(t testing.TB, d directory) directory {
	t.Helper()
	fs := d.mount(t)
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	if err := s.Set("later", nil); err != nil {
		t.Fatal(err)
	}
	fs.Kill()
	after := readDirectory(fs)
	_ = s.Close() // fails: its file system is gone
	return after
}

// rotatedDirectory returns the directory of a process that was killed after it
// wrote 40 keys to at least 3 segments.
func rotatedDirectory(t testing.TB) directory {
	t.Helper()
	fs := directory{}.mount(t)
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	for i := range 40 {
		if err := s.Set(fmt.Sprint(i), make([]byte, 700)); err != nil {
			t.Fatal(err)
		}
	}
	fs.Kill()
	d := readDirectory(fs)
	_ = s.Close() // fails: its file system is gone
	if d[wal3] == nil {
		t.Fatalf("too few segments: %q", slices.Sorted(maps.Keys(d)))
	}
	return d
}

// reopened opens the directory, calls do to write to it, and kills the process.
func reopened(t testing.TB, d directory, do ...func(*kvstore.Store)) directory {
	t.Helper()
	fs := d.mount(t)
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	for _, do := range do {
		do(s)
	}
	fs.Kill()
	_ = s.Close() // fails: its file system is gone
	return readDirectory(fs)
}

// putNotDurable writes a file as cp does, without a sync. If whole is set, its
// bytes alone are synced.
func putNotDurable(t testing.TB, fs *vfs.Mem, name string, data []byte, whole bool) {
	t.Helper()
	dir, err := fs.OpenDir(recoveryDir)
	if err != nil {
		t.Fatal(err)
	}
	file, err := dir.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if whole {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close(), dir.Close()); err != nil {
		t.Fatal(err)
	}
}

// keysOf opens the directory and returns the number of its keys.
func keysOf(t testing.TB, fs *vfs.Mem) (*kvstore.Store, int) {
	t.Helper()
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	return s, s.Len()
}
