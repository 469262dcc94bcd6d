//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func openOSDir(t *testing.T, path string) osDir {
	t.Helper()
	d, err := OS{}.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d.(osDir)
}

// Where a directory cannot be locked, the lock file is all there is, and Check
// notices when it is no longer the one that was locked.
func TestCheckOfALockFileAlone(t *testing.T) {
	write := func(path string) error { return os.WriteFile(path, []byte("1\n"), 0o600) }
	link := func(path string) error { return os.Symlink("other", path) }
	mkdir := func(path string) error { return os.Mkdir(path, 0o700) }
	anew := func(make func(path string) error) func(path string) error {
		return func(path string) error { return errors.Join(os.Remove(path), make(path)) }
	}
	for name, c := range map[string]struct {
		change func(path string) error
		lost   bool
	}{
		"nothing":     {func(string) error { return nil }, false},
		"written to":  {write, false},
		"removed":     {os.Remove, true},
		"renamed":     {func(path string) error { return os.Rename(path, path+".old") }, true},
		"made anew":   {anew(write), true},
		"a link":      {anew(link), true},
		"a directory": {anew(mkdir), true},
		"a hard link": {func(path string) error { return os.Link(path, path+".also") }, false},
	} {
		dir := t.TempDir()
		held, err := openOSDir(t, dir).Lock("LOCK", false)
		if err != nil {
			t.Fatal(err)
		}
		lock := held.(*dirLock)
		if err := c.change(filepath.Join(dir, "LOCK")); err != nil {
			t.Fatal(err)
		}
		if err := lock.Check(); err != nil {
			t.Errorf("%s: %v, though the directory is locked", name, err)
		}
		alone := &dirLock{root: lock.root, name: lock.name, file: lock.file}
		if err := alone.Check(); (err != nil) != c.lost {
			t.Errorf("%s: %v, want an error: %t", name, err, c.lost)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Close ends the lock even while copies of its descriptors are open, as they
// are in a child process between fork and exec. So does a Lock that fails.
func TestCloseFreesTheLockOfCopies(t *testing.T) {
	dir := t.TempDir()
	d := openOSDir(t, dir)
	held, err := d.Lock("LOCK", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{held.(*dirLock).dir, held.(*dirLock).file} {
		copied, err := unix.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(copied) }()
	}
	if _, err := d.Lock("LOCK", true); err == nil {
		t.Fatal("two locks at once")
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	for _, shared := range []bool{true, false} {
		again, err := openOSDir(t, dir).Lock("LOCK", shared)
		if err != nil {
			t.Fatalf("shared %t: %v", shared, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Abandon removes the lock file only if this lock has made it.
func TestAbandon(t *testing.T) {
	for _, there := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "LOCK")
		if there {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d := openOSDir(t, dir)
		lock, err := d.Lock("LOCK", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Lock("LOCK", false); err == nil {
			t.Fatal("two locks at once")
		}
		alone := &dirLock{root: d.root, name: "LOCK"} // where the directory cannot be locked
		if err := alone.lockFile(unix.LOCK_EX, 0o600); err == nil {
			t.Fatal("two locks at once")
		}
		if err := alone.Abandon(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("a refused opener has removed the lock file: %v", err)
		}
		if err := lock.Abandon(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) == there {
			t.Errorf("LOCK was there before: %t, afterwards: %v", there, err)
		}
	}
}

// A file system without an fsync for directories is as one whose fsync does
// nothing. Other errors stay errors.
func TestNoFsyncForDirectories(t *testing.T) {
	for err, none := range map[error]bool{
		unix.EINVAL: true, unix.EOPNOTSUPP: true, unix.ENOSYS: true, unix.EBADF: true,
		unix.EIO: false, unix.ENOSPC: false, unix.EROFS: false, os.ErrClosed: false,
	} {
		if got := isNoCall(&os.PathError{Op: "sync", Err: err}); got != none {
			t.Errorf("%v: %t", err, got)
		}
	}
	if isNoCall(nil) {
		t.Error("success is no such call")
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		return
	}
	d := openOSDir(t, "/proc/self") // which has none
	if err := d.Sync(); err != nil || d.SyncsNames() {
		t.Errorf("/proc: %v, syncs names: %t", err, d.SyncsNames())
	}
	if err := (OS{}).SyncParent("/proc/self/fd"); err != nil {
		t.Errorf("/proc: %v", err)
	}
	d = openOSDir(t, t.TempDir())
	if err := d.Sync(); err != nil || !d.SyncsNames() {
		t.Errorf("a temporary directory: %v, syncs names: %t", err, d.SyncsNames())
	}
}

func TestNotADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (OS{}).OpenDir(path); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file as a directory: %v", err)
	}
}
