//go:build amd64 || arm64

package vfs

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// Forget removes a synced file from the page cache, all of it.
func TestForgetGivesMemoryBack(t *testing.T) {
	dir := t.TempDir()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	const tmpfs = 0x01021994
	if fs.Type == tmpfs {
		t.Skip("SKIPPED, NOT TESTED HERE: the directory is in memory")
	}
	file, err := os.Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	f := newOSFile(file)
	content := bytes.Repeat([]byte("0123456789abcdef"), (2*forgetBytes+forgetBytes/2)/16)
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if n := cachedPages(t, file, len(content)); n == 0 {
		t.Skip("SKIPPED, NOT TESTED HERE: the file system keeps nothing in memory")
	}
	if err := f.Forget(); err != nil {
		t.Fatal(err)
	}
	if n := cachedPages(t, file, len(content)); n != 0 {
		t.Errorf("%d pages are in memory", n)
	}
	got := make([]byte, len(content))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file is not what it was: %v", err)
	}
}

// cachedPages returns how many pages of a file are in the page cache, by
// mincore(2).
func cachedPages(t *testing.T, file *os.File, size int) (n int) {
	t.Helper()
	mem, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(mem) }()
	pages := make([]byte, (size+os.Getpagesize()-1)/os.Getpagesize())
	_, _, e := syscall.Syscall(syscall.SYS_MINCORE,
		uintptr(unsafe.Pointer(&mem[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0])))
	if e != 0 {
		t.Fatal(e)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

// A pipe has no page cache, which is no error. A closed file is an error.
func TestForgetWhereThereIsNone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := newOSFile(w).Forget(); err != nil {
		t.Errorf("Forget on a pipe: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := newOSFile(w).Forget(); err == nil {
		t.Error("Forget on a closed file returns no error")
	}
}
