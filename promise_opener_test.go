package kvstore_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"kvstore"
	"kvstore/internal/vfs"
)

// This file is about opening a directory: one store at a time (P7), and by any
// path.

// lockedBy checks that Open is refused, and that its error names this process.
func lockedBy(t *testing.T, open func(readOnly bool) (*kvstore.Store, error), readOnly bool) {
	t.Helper()
	s, err := open(readOnly)
	if !errors.Is(err, kvstore.ErrLocked) || s != nil {
		t.Fatalf("second Open, read-only %v: %v, want ErrLocked", readOnly, err)
	}
	if pid := strconv.Itoa(os.Getpid()); !strings.Contains(err.Error(), pid) && runtime.GOOS != "windows" {
		t.Fatalf("%q does not name process %s", err, pid)
	}
}

func TestP7OneOpener(t *testing.T) {
	for name, open := range map[string]func(readOnly bool) (*kvstore.Store, error){
		"disk": func() func(bool) (*kvstore.Store, error) {
			dir := filepath.Join(t.TempDir(), "store")
			return func(readOnly bool) (*kvstore.Store, error) {
				return kvstore.OpenWithConfig(kvstore.Config{DataDir: dir, SyncWrites: true, ReadOnly: readOnly})
			}
		}(),
		"memory": func() func(bool) (*kvstore.Store, error) {
			fs := vfs.NewMem(nil)
			return func(readOnly bool) (*kvstore.Store, error) {
				return kvstore.OpenFS(fs, kvstore.Config{DataDir: "/store", SyncWrites: true, ReadOnly: readOnly})
			}
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			open := func(readOnly bool) (*kvstore.Store, error) {
				s, err := open(readOnly)
				if err == nil {
					t.Cleanup(func() { _ = s.Close() })
				}
				return s, err
			}
			writer, err := open(false)
			r.ok(err)
			for range 2 {
				lockedBy(t, open, false)
				lockedBy(t, open, true)
			}
			r.set(writer, "a", "1") // which the refused ones have not harmed
			r.close(writer)
			writer, err = open(false)
			r.ok(err)
			r.want(writer, "a", "1")
			r.close(writer)

			one, err := open(true)
			r.ok(err)
			two, err := open(true) // readers share
			r.ok(err)
			for range 2 { // readers leave no trace, so the error names no process
				_, err = open(false)
				r.fails(err, kvstore.ErrLocked)
			}
			r.close(one)
			_, err = open(false)
			r.fails(err, kvstore.ErrLocked)
			r.want(two, "a", "1")
			r.close(two)
			writer, err = open(false)
			r.ok(err)
			lockedBy(t, open, true)
			r.close(writer)
		})
	}
}

// P7: LOCK is never deleted. Otherwise one process could wait for a deleted
// file while the next one locks a new file.
func TestP7LockStays(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, "LOCK")
	var first os.FileInfo
	for range 3 {
		s, err := kvstore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(lock)
		pid := strings.TrimSpace(string(data))
		if runtime.GOOS != "windows" && (err != nil || pid != strconv.Itoa(os.Getpid())) {
			t.Fatalf("LOCK holds %q, %v", data, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(lock)
		if err != nil || (first != nil && !os.SameFile(first, info)) {
			t.Fatalf("LOCK is another one: %v", err)
		}
		first = info
	}
}

// P7: an Open that fails, at any operation, leaves no lock, no goroutine and no
// open file.
func TestP7FailedOpenFreesTheLock(t *testing.T) {
	for name, prepare := range map[string]func(r *rig) []string{
		"new": func(*rig) []string { return nil },
		"log": func(r *rig) []string {
			pairs := some(20)
			s := r.open()
			r.set(s, pairs...)
			r.kill(s)
			return pairs
		},
		"snapshot and log": func(r *rig) []string {
			s := r.open()
			r.set(s, "a", "1")
			s = r.reopenAfter(s, r.close)
			r.set(s, "b", "2")
			r.kill(s)
			return []string{"a", "1", "b", "2"}
		},
		"left-overs of a Close": func(r *rig) []string {
			s := r.open()
			r.set(s, "a", "1")
			r.fs.SetHook(failing(vfs.OpRemove, syscall.EIO)) // so that the snapshot comes beside the log
			r.fails(s.Close(), syscall.EIO)
			r.fs.SetHook(nil)
			return []string{"a", "1"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for n, more := int64(1), true; more; n++ {
				r := newRig(t)
				pairs := prepare(r)
				var operations atomic.Int64
				r.fs.SetHook(func(vfs.Op) error {
					if operations.Add(1) == n {
						return syscall.EIO
					}
					return nil
				})
				s, err := r.tryOpen()
				r.fs.SetHook(nil)
				if more = operations.Load() >= n; more {
					r.fails(err, syscall.EIO)
					goleak.VerifyNone(t)
					if handles := r.fs.Handles(); handles != 0 {
						t.Fatalf("operation %d failed, and Open left %d handles open", n, handles)
					}
					s = r.open() // or it is ErrLocked
				}
				r.want(s, pairs...)
				r.close(s)
			}
		})
	}
}

// P7: on the real file system, too, a failed Open leaves no open file and no
// lock.
func TestP7FailedOpenClosesFiles(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t)
	s, err := kvstore.Open(dir)
	r.ok(err)
	r.set(s, "a", "1")
	r.close(s)
	snapshots, err := filepath.Glob(filepath.Join(dir, "snapshot-*"))
	if err != nil || len(snapshots) != 1 {
		t.Fatalf("snapshots %q, %v", snapshots, err)
	}
	r.ok(os.Truncate(snapshots[0], 20))
	before := openFiles(t)
	for range 10 {
		for _, readOnly := range []bool{false, true} {
			_, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: dir, ReadOnly: readOnly})
			r.fails(err, kvstore.ErrCorrupt)
		}
	}
	if after := openFiles(t); after != before {
		t.Fatalf("%d files are open, %d before", after, before)
	}
	fresh := filepath.Join(dir, "fresh")
	for range 3 {
		s, err := kvstore.Open(fresh)
		r.ok(err)
		_, err = kvstore.Open(fresh)
		r.fails(err, kvstore.ErrLocked)
		r.set(s, "a", "1")
		r.close(s)
	}
	if after := openFiles(t); after != before {
		t.Fatalf("%d files are open, %d before", after, before)
	}
}

// openFiles counts the open files of this process, if the system can tell.
// Otherwise it returns 0.
func openFiles(t *testing.T) int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Logf("NOT TESTED HERE: %v", err)
	}
	return len(files)
}

// P7: an open store keeps its directory, whatever happens to the path.
func TestP7DirectoryMoves(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a directory cannot be renamed there while a file in it is open")
	}
	base := t.TempDir()
	r := newRig(t)
	path, moved := filepath.Join(base, "before"), filepath.Join(base, "after")
	s, err := kvstore.Open(path)
	r.ok(err)
	r.set(s, "a", "1")
	r.ok(os.Rename(path, moved))
	r.ok(os.Mkdir(path, 0o700))
	r.set(s, "large", strings.Repeat("x", 2<<20)) // makes a segment
	_, err = kvstore.Open(moved)
	r.fails(err, kvstore.ErrLocked)
	r.close(s) // makes a snapshot
	if files, err := os.ReadDir(path); err != nil || len(files) > 0 {
		t.Fatalf("written where the directory was: %v, %v", files, err)
	}
	s, err = kvstore.Open(moved)
	r.ok(err)
	r.want(s, "a", "1", "large", strings.Repeat("x", 2<<20))
	r.close(s)
}

// P7: a relative path is resolved once, by Open.
func TestP7WorkingDirectoryChanges(t *testing.T) {
	base, elsewhere := t.TempDir(), t.TempDir()
	r := newRig(t)
	t.Chdir(base)
	s, err := kvstore.Open(filepath.Join("relative", "store"))
	r.ok(err)
	t.Chdir(elsewhere)
	r.set(s, "large", strings.Repeat("x", 2<<20))
	r.close(s)
	if files, err := os.ReadDir(elsewhere); err != nil || len(files) > 0 {
		t.Fatalf("written elsewhere: %v, %v", files, err)
	}
	s, err = kvstore.Open(filepath.Join(base, "relative", "store"))
	r.ok(err)
	r.want(s, "large", strings.Repeat("x", 2<<20))
	r.close(s)
}

func TestP7SymbolicLink(t *testing.T) {
	base := t.TempDir()
	r := newRig(t)
	target, other, link := filepath.Join(base, "target"), filepath.Join(base, "other"), filepath.Join(base, "link")
	r.ok(os.Mkdir(target, 0o700))
	r.ok(os.Mkdir(other, 0o700))
	if err := os.Symlink(target, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	s, err := kvstore.Open(link)
	r.ok(err)
	_, err = kvstore.Open(target) // the same directory
	r.fails(err, kvstore.ErrLocked)
	r.ok(os.Remove(link))
	r.ok(os.Symlink(other, link)) // the link moves on, the store does not
	r.set(s, "large", strings.Repeat("x", 2<<20))
	r.close(s)
	if files, err := os.ReadDir(other); err != nil || len(files) > 0 {
		t.Fatalf("written where the link leads now: %v, %v", files, err)
	}
	s, err = kvstore.Open(target)
	r.ok(err)
	r.want(s, "large", strings.Repeat("x", 2<<20))
	r.close(s)

	dangling := filepath.Join(base, "dangling")
	r.ok(os.Symlink(filepath.Join(base, "nowhere"), dangling))
	if s, err := kvstore.Open(dangling); err == nil {
		r.close(s)
		t.Fatal("opened a link to nowhere")
	}
}

func TestP7NotADirectory(t *testing.T) {
	base := t.TempDir()
	r := newRig(t)
	file := filepath.Join(base, "file")
	r.ok(os.WriteFile(file, []byte("mine"), 0o600))
	for _, path := range []string{file, filepath.Join(file, "below")} {
		for _, readOnly := range []bool{false, true} {
			s, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: path, ReadOnly: readOnly})
			if err == nil {
				r.close(s)
				t.Fatalf("%s: opened", path)
			}
			if errors.Is(err, kvstore.ErrLocked) || errors.Is(err, kvstore.ErrCorrupt) {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if data, err := os.ReadFile(file); string(data) != "mine" {
		t.Fatalf("the file holds %q, %v", data, err)
	}
}

// P7: without permission to write to a directory, Open returns the file
// system's error, whichever operation is refused.
func TestP7Unwritable(t *testing.T) {
	for _, kind := range []vfs.OpKind{
		vfs.OpMkdir, vfs.OpOpenDir, vfs.OpLock, vfs.OpList, vfs.OpCreate, vfs.OpAllocate, vfs.OpWrite, vfs.OpRename,
	} {
		r := newRig(t)
		r.fs.SetHook(failing(kind, syscall.EACCES))
		s, err := r.tryOpen()
		if !errors.Is(err, fs.ErrPermission) || s != nil {
			t.Errorf("%s not allowed: %v", kind, err)
		}
		r.fs.SetHook(nil)
		r.close(r.open())
	}
	if runtime.GOOS == "linux" { // nothing can be created in /proc, even by root
		if s, err := kvstore.Open("/proc/kvstore"); err == nil {
			_ = s.Close()
			t.Error("opened a store in /proc")
		}
	}
	if os.Getuid() > 0 { // modes do not stop root; on Windows there are none
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{dir, filepath.Join(dir, "below")} {
			if _, err := kvstore.Open(path); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %v", path, err)
			}
		}
	} else {
		t.Log("NOT TESTED HERE: modes of directories, as root or on Windows")
	}
}

// P7: a child process that was started while the store was open does not keep
// it locked.
func TestP7ChildrenDoNotInheritTheLock(t *testing.T) {
	if os.Getenv("KVSTORE_TEST_SIT") != "" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	dir := t.TempDir()
	r := newRig(t)
	s, err := kvstore.Open(dir)
	r.ok(err)
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "KVSTORE_TEST_SIT=1")
	stdin, err := child.StdinPipe()
	r.ok(err)
	r.ok(child.Start())
	r.close(s)
	s, err = kvstore.Open(dir)
	r.ok(err)
	r.close(s)
	r.ok(stdin.Close())
	r.ok(child.Wait())
}
