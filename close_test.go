package kvstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kvstore"
	"kvstore/internal/vfs"
)

// This file is about how a session ends (P10), and about who may have one (P7).

// closed wants every method of s to say that it is closed.
func closed(r *rig, s *kvstore.Store) {
	r.Helper()
	r.fails(s.Set("a", nil), kvstore.ErrClosed)
	r.fails(s.Delete("a"), kvstore.ErrClosed)
	r.fails(s.Apply(ctx, batch("a", "")), kvstore.ErrClosed)
	r.fails(s.ApplyAsync(ctx, batch("a", "")).Wait(ctx), kvstore.ErrClosed)
	r.fails(s.Sync(), kvstore.ErrClosed)
	r.lacks(s, "a", "")
	if s.Len() != 0 || s.Keys() != nil {
		r.Fatalf("a closed store has %d keys: %q", s.Len(), s.Keys())
	}
	r.ok(s.Close())
	if n := r.fs.Handles(); n != 0 {
		r.Fatalf("a closed store has %d handles open", n)
	}
}

func TestP10AfterClose(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		r := newRig(t)
		r.config.SyncWrites = syncWrites
		s := r.open()
		r.set(s, "a", "1", "", "2")
		last := s.Stats()
		r.close(s)
		closed(r, s)
		if got := s.Stats(); got.Keys != last.Keys || got.Commits != last.Commits || got.Groups != last.Groups {
			t.Errorf("Stats %+v after Close, %+v before", got, last)
		}
		goleak.VerifyNone(t)
	}
}

// P10: what was accepted is finished and acknowledged, who waits for room in the queue gets ErrClosed, reads end at once, and Close itself
// waits for the disk, however long.
func TestP10CloseOnAStalledDisk(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		t.Run(fmt.Sprint("SyncWrites ", syncWrites), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.config.SyncWrites = syncWrites
				s := r.open()
				r.set(s, "a", "1")
				st := r.stall(vfs.OpWrite)
				writing := async(func() error { return s.Set("writing", nil) })
				r.waits(writing)
				sync := async(s.Sync)
				r.waits(sync)
				queued := r.fill(s)
				waiting := []<-chan error{
					async(func() error { return s.Set("waiting", nil) }),
					async(func() error { return s.Apply(ctx, batch("waiting", "")) }),
					async(func() error { return s.ApplyAsync(ctx, batch("waiting", "")).Wait(ctx) }),
					async(s.Sync),
				}
				for _, w := range waiting {
					r.waits(w)
				}
				closing := async(s.Close)
				r.waits(closing)
				for _, w := range waiting {
					select {
					case err := <-w:
						r.fails(err, kvstore.ErrClosed)
					default:
						t.Fatal("Close does not release who waits for room in the queue")
					}
				}
				r.fails(s.Set("late", nil), kvstore.ErrClosed)
				r.fails(s.Sync(), kvstore.ErrClosed)
				r.lacks(s, "a", "writing")
				<-time.After(time.Hour)
				r.waits(closing)
				r.waits(writing)
				r.waits(sync)
				r.undecided(queued[0])
				st.release()
				r.ok(<-writing)
				r.ok(<-sync)
				for _, c := range queued {
					r.ok(c.Wait(ctx))
				}
				r.ok(<-closing)
				closed(r, s)
				r.want(r.reopenAfter(s, r.cutPower), "a", "1", "writing", "", "full", "")
			})
		})
	}
}

// P10: a Close beside another one waits for it, and returns nil, whatever the other one returns.
func TestP10ConcurrentClose(t *testing.T) {
	for _, cause := range []error{nil, syscall.EIO} {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", "1")
		began, end := make(chan struct{}), make(chan struct{})
		var ended atomic.Bool
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpCreate {
				close(began)
				<-end
				return cause
			}
			return nil
		})
		var results []<-chan error
		for range 10 {
			results = append(results, async(func() error {
				err := s.Close()
				if !ended.Load() {
					return errors.New("Close did not wait for another one")
				}
				return err
			}))
		}
		<-began
		for range 1000 { // the others are blocked, but nothing can tell
			runtime.Gosched()
		}
		ended.Store(true)
		close(end)
		failed := 0
		for _, result := range results {
			if err := <-result; err != nil {
				r.fails(err, cause)
				failed++
			}
		}
		if want := map[bool]int{true: 0, false: 1}[cause == nil]; failed != want {
			t.Fatalf("%d Closes returned an error, want %d", failed, want)
		}
		r.ok(s.Close())
	}
}

// P10: Close against everything. Every call returns; what was acknowledged is there afterwards, and what got ErrClosed is not.
func TestP10CloseAgainstEverything(t *testing.T) {
	for i := range 10 {
		r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
		r.config.SyncWrites = i%2 == 0
		s := r.open()
		var mu sync.Mutex
		committed, refused := map[string]bool{}, map[string]bool{}
		note := func(key string, err error) (goOn bool) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				committed[key] = true
			case errors.Is(err, kvstore.ErrClosed):
				refused[key] = true
			default:
				t.Errorf("%s: %v", key, err)
			}
			return err == nil
		}
		var wg sync.WaitGroup
		started := make(chan struct{}, 100)
		loops := 0
		loop := func(step func(key string) bool) {
			id := loops
			loops++
			wg.Go(func() {
				for n := 0; step(fmt.Sprint(id, " ", n)); n++ {
					if n == 3 {
						started <- struct{}{}
					}
				}
			})
		}
		for range 3 {
			loop(func(key string) bool { return note(key, s.Set(key, nil)) })
			loop(func(key string) bool { return note(key, s.Apply(ctx, batch(key, ""))) })
			loop(func(key string) bool {
				c := s.ApplyAsync(ctx, batch(key, ""))
				runtime.Gosched()
				return note(key, c.Wait(ctx))
			})
			loop(func(string) bool { return note("", s.Sync()) })
			loop(func(string) bool {
				_, _, _ = s.Len(), s.Stats(), s.Has("a")
				_, _ = s.Get("a")
				return s.Keys() != nil
			})
		}
		for range loops {
			<-started
		}
		closing := []<-chan error{async(s.Close), async(s.Close)}
		for _, c := range closing {
			r.ok(<-c)
		}
		wg.Wait()
		closed(r, s)
		s = r.open()
		for key := range committed {
			if key != "" && !s.Has(key) {
				t.Fatalf("%q was acknowledged and is gone", key)
			}
		}
		for key := range refused {
			if s.Has(key) {
				t.Fatalf("%q got ErrClosed and is there", key)
			}
		}
		r.close(s)
	}
	goleak.VerifyNone(t)
}

// P10: Close writes a snapshot of what is new, and nothing if nothing is; a session that wrote nothing leaves no segment.
func TestP10WhatCloseLeaves(t *testing.T) {
	r := newRig(t)
	names := func(want ...string) {
		t.Helper()
		if got := r.fs.Names(r.config.DataDir); !slices.Equal(got, want) {
			t.Fatalf("files %q, want %q", got, want)
		}
	}
	snapshot := func(n int) string { return fmt.Sprintf("snapshot-%020d.kvs", n) }
	segment := func(n int) string { return fmt.Sprintf("wal-%020d.log", n) }
	for range 2 {
		s := r.open()
		names("LOCK", segment(1))
		r.close(s)
		names("LOCK") // an empty store has nothing to say
	}
	s := r.open()
	r.set(s, "a", "1")
	r.close(s)
	names("LOCK", snapshot(2))
	before := r.files()
	for range 3 {
		s = r.open()
		names("LOCK", snapshot(2), segment(2))
		r.want(s, "a", "1")
		r.close(s)
		r.unchanged(before)
	}
	s = r.open()
	r.ok(s.Sync())
	r.ok(s.Apply(ctx, &kvstore.Batch{}))
	r.fails(s.Set(strings.Repeat("k", 1<<16), nil), kvstore.ErrKeyTooLarge)
	r.close(s)
	r.unchanged(before)

	// A session that wrote nothing either, but found a log that no snapshot covers.
	s = r.open()
	r.set(s, "b", "2")
	r.kill(s)
	s = r.open()
	names("LOCK", snapshot(2), segment(2), segment(3))
	r.close(s)
	names("LOCK", snapshot(3))

	s = r.open() // several segments at once
	pairs := some(60)
	r.set(s, pairs...)
	r.close(s)
	if got := r.fs.Names(r.config.DataDir); len(got) != 2 {
		t.Fatalf("files %q, want LOCK and a snapshot", got)
	}
	r.want(r.open(), append(pairs, "a", "1", "b", "2")...)
}

// P10: foreign files are nobody's business.
func TestP10CloseLeavesForeignFiles(t *testing.T) {
	r := newRig(t)
	r.close(r.open())
	foreign := []string{"README", "wal-1.log", "wal-00000000000000000001.bak", "snapshot-00000000000000000001.kvs.old", "x.tmp", "wal-.log"}
	for _, name := range foreign {
		r.ok(r.fs.WriteFile(r.config.DataDir+"/"+name, []byte(name)))
	}
	for range 2 {
		s := r.open()
		r.set(s, "a", "1")
		r.close(s)
	}
	for _, name := range foreign {
		if data, _ := r.fs.ReadFile(r.config.DataDir + "/" + name); string(data) != name {
			t.Errorf("%s holds %q", name, data)
		}
	}
}

// P10: a Close that cannot write its snapshot says so and leaves the log; the next session has everything.
func TestP10CloseWithoutSnapshot(t *testing.T) {
	snapshot := func(kind vfs.OpKind) func(vfs.Op) bool {
		return func(op vfs.Op) bool { return op.Kind == kind && strings.HasPrefix(op.Name, "snapshot-") }
	}
	for name, c := range map[string]struct {
		fails func(vfs.Op) bool
		err   error
	}{
		"create":                 {snapshot(vfs.OpCreate), syscall.EMFILE},
		"write":                  {snapshot(vfs.OpWrite), syscall.ENOSPC},
		"short write":            {snapshot(vfs.OpWrite), &vfs.ShortWrite{Bytes: 5, Err: syscall.ENOSPC}},
		"fsync":                  {snapshot(vfs.OpSync), syscall.EIO},
		"rename":                 {snapshot(vfs.OpRename), syscall.EIO},
		"fsync of the directory": {func(op vfs.Op) bool { return op.Kind == vfs.OpSyncDir }, syscall.EIO},
	} {
		for _, times := range []int{1, forever} {
			for _, written := range []bool{true, false} { // by this session, or by the one before
				t.Run(fmt.Sprint(name, ", times ", times, ", written ", written), func(t *testing.T) {
					r, _ := newRandomRig(t)
					s := r.open()
					pairs := some(20)
					r.set(s, pairs...)
					if !written {
						s = r.reopenAfter(s, r.kill)
					}
					segments := r.segments()
					d := r.fail(c.fails, c.err, times)
					err := s.Close()
					failedSnapshot(r, err, c.err)
					if d.failures() == 0 {
						t.Fatal("nothing failed")
					}
					closed(r, s)
					goleak.VerifyNone(t)
					if left := r.segments(); !slices.Equal(left, segments) {
						t.Fatalf("segments %q are left, want %q", left, segments)
					}
					r.fs.SetHook(nil)
					s = r.reopenAfter(s, r.cutPower)
					r.want(s, pairs...)
					r.close(s)
					if left := r.segments(); left != nil {
						t.Fatalf("segments %q are left after a good Close", left)
					}
					r.want(r.open(), pairs...)
				})
			}
		}
	}
}

// failedSnapshot wants Close's error to be the disk's, and not that of a failed store: nothing was lost.
func failedSnapshot(r *rig, err, cause error) {
	r.Helper()
	if short, ok := errors.AsType[*vfs.ShortWrite](cause); ok {
		cause = short.Err
	}
	r.fails(err, cause)
	if errors.Is(err, kvstore.ErrFailed) {
		r.Fatalf("%v, though no write of the log failed", err)
	}
}

// segments returns the names of the segments that hold groups.
func (r *rig) segments() (names []string) {
	for name, data := range r.files() {
		if strings.HasPrefix(name, "wal-") && bytes.Contains([]byte(data), []byte("KVLG\x11")) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// The rest is P7: one opener.

// lockedBy wants Open to be refused, and to name this process.
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
			lockedBy(t, open, false)
			r.close(one)
			lockedBy(t, open, false)
			r.want(two, "a", "1")
			r.close(two)
			writer, err = open(false)
			r.ok(err)
			lockedBy(t, open, true)
			r.close(writer)
		})
	}
}

// P7: LOCK is never deleted: one that somebody waits for would not be the one that the next one makes.
func TestP7LockStays(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, "LOCK")
	var first os.FileInfo
	for range 3 {
		s, err := kvstore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(lock); runtime.GOOS != "windows" && (err != nil || strings.TrimSpace(string(data)) != strconv.Itoa(os.Getpid())) {
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

// P7: an Open that fails, at whichever operation, leaves no lock, no goroutine and no open file.
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

// P7, on the real file system: a failed Open leaves no file open, nor a lock.
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

// openFiles counts the files this process has open, where the system tells; else it returns 0.
func openFiles(t *testing.T) int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Logf("NOT TESTED HERE: %v", err)
	}
	return len(files)
}

// P7: what is open stays the same directory, whatever becomes of its path.
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

// P7: a relative path is one of the moment of Open.
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

// P7: a directory that may not be written to: Open returns the file system's error, whatever it is that is not allowed.
func TestP7Unwritable(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpMkdir, vfs.OpOpenDir, vfs.OpLock, vfs.OpList, vfs.OpCreate, vfs.OpAllocate, vfs.OpWrite, vfs.OpRename} {
		r := newRig(t)
		r.fs.SetHook(failing(kind, syscall.EACCES))
		s, err := r.tryOpen()
		if !errors.Is(err, fs.ErrPermission) || s != nil {
			t.Errorf("%s not allowed: %v", kind, err)
		}
		r.fs.SetHook(nil)
		r.close(r.open())
	}
	if runtime.GOOS == "linux" { // where nobody, root included, can create anything in /proc
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

// P7: a child that was started while the store was open does not keep it locked.
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
