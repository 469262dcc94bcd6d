package kvstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// This file is about what others do to a data directory, and about directories
// without a store.

// P7: nobody gets in because somebody has removed the lock file, and the
// session that is in loses nothing by it.
func TestP7LockFileRemoved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be removed")
	}
	for _, readOnly := range []bool{false, true} {
		r := newRig(t)
		dir := t.TempDir()
		lock := filepath.Join(dir, "LOCK")
		s, err := kvstore.Open(dir)
		r.ok(err)
		r.set(s, "before", "1")
		r.ok(os.Remove(lock))
		config := kvstore.DefaultConfig(dir)
		config.ReadOnly = readOnly
		_, err = kvstore.OpenWithConfig(config)
		r.fails(err, kvstore.ErrLocked)
		if _, err := os.Lstat(lock); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the refused opener has made LOCK: %v", err)
		}
		r.set(s, some(100)...)
		r.ok(s.Snapshot(ctx))
		want := state(s)
		r.close(s)
		s, err = kvstore.Open(dir)
		r.ok(err)
		r.same(s, want)
		r.close(s)
	}
}

// same checks that s holds what a store held before.
func (r *rig) same(s *kvstore.Store, want map[string]string) {
	r.Helper()
	var pairs []string
	for key, value := range want {
		pairs = append(pairs, key, value)
	}
	r.want(s, pairs...)
}

// P7: where a directory cannot be locked, the session notices before it names a
// file that it may not be alone. It fails, and changes nothing any more.
func TestP7LockLost(t *testing.T) {
	lost := errors.New("the lock file was replaced")
	for name, act := range map[string]func(r *rig, s *kvstore.Store) error{
		"rotation": func(r *rig, s *kvstore.Store) error {
			var err error
			for i := 0; err == nil && i < 100; i++ {
				err = s.Set(fmt.Sprint(i), make([]byte, 1000))
			}
			return err
		},
		"snapshot":                 func(_ *rig, s *kvstore.Store) error { return s.Snapshot(ctx) },
		"close":                    func(_ *rig, s *kvstore.Store) error { return s.Close() },
		"close of an unused store": func(r *rig, s *kvstore.Store) error { r.ok(s.Delete("a")); return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := r.open()
			r.set(s, "a", "1")
			r.fs.SetHook(failing(vfs.OpCheckLock, lost))
			err := act(r, s)
			r.fails(err, kvstore.ErrFailed, lost)
			before := r.files()
			r.fails(errors.Join(s.Close(), kvstore.ErrFailed), kvstore.ErrFailed)
			r.unchanged(before)
		})
	}
}

// P1: when somebody removes, moves, replaces or truncates the segment that is
// written to, the next Open does not find what is synced. No later write is
// acknowledged. A hard link elsewhere changes nothing about that.
func TestP1SegmentRemoved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be removed")
	}
	for name, act := range map[string]func(dir, wal string) error{
		"removed": func(_, wal string) error { return os.Remove(wal) },
		"removed, with a link": func(_, wal string) error {
			return errors.Join(os.Link(wal, wal+".bak"), os.Remove(wal))
		},
		"moved":                        func(_, wal string) error { return os.Rename(wal, wal+".bak") },
		"moved out":                    func(dir, wal string) error { return os.Rename(wal, dir+".bak") },
		"replaced by a copy":           replaceByCopy,
		"moved, and a copy moved back": moveAndCopyBack,
		"truncated":                    func(_, wal string) error { return os.Truncate(wal, 100) },
		"emptied":                      func(_, wal string) error { return os.WriteFile(wal, nil, 0o600) },
		"directory removed":            func(dir, _ string) error { return os.RemoveAll(dir) },
		"directory removed, with links": func(dir, wal string) error {
			return errors.Join(os.Link(wal, dir+".bak"), os.RemoveAll(dir))
		},
	} {
		for _, syncWrites := range []bool{true, false} {
			segmentRemoved(t, name, syncWrites, act)
		}
	}
}

func replaceByCopy(_, wal string) error {
	data, err := os.ReadFile(wal)
	return errors.Join(err, os.WriteFile(wal+".bak", data, 0o600), os.Rename(wal+".bak", wal))
}

func moveAndCopyBack(_, wal string) error {
	data, err := os.ReadFile(wal)
	return errors.Join(err, os.Rename(wal, wal+".bak"), os.WriteFile(wal, data, 0o600))
}

func segmentRemoved(t *testing.T, name string, syncWrites bool, act func(dir, wal string) error) {
	t.Helper()
	r := newRig(t)
	config := kvstore.DefaultConfig(filepath.Join(t.TempDir(), "db"))
	config.SyncWrites = syncWrites
	config.Logger = slog.New(slog.DiscardHandler)
	s, err := kvstore.OpenWithConfig(config)
	r.ok(err)
	r.set(s, "a", "1")
	r.ok(s.Sync())
	r.ok(act(config.DataDir, filepath.Join(config.DataDir, "wal-00000000000000000001.log")))
	err = s.Set("b", []byte("2"))
	if !syncWrites {
		err = s.Sync()
	}
	if !errors.Is(err, kvstore.ErrFailed) || !strings.Contains(err.Error(), "while it is in use") {
		t.Errorf("%s, SyncWrites %t: %v", name, syncWrites, err)
	}
	if value, _ := s.Get("a"); string(value) != "1" {
		t.Errorf("%s: a reader finds %q", name, value)
	}
	r.fails(s.Close(), kvstore.ErrFailed)
}

// P1: the same without SyncWrites, where the fsync in the background notices.
func TestP1SegmentRemovedBeforeTheFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.config.SyncWrites, r.config.Logger = false, slog.New(slog.DiscardHandler)
		s := r.open()
		r.set(s, "a", "1")
		for _, name := range r.names() {
			r.ok(r.fs.RemoveFile(r.config.DataDir + "/" + name))
		}
		<-time.After(2 * kvstore.DefaultSyncInterval)
		r.fails(s.Set("b", nil), kvstore.ErrFailed)
		r.fails(s.Close(), kvstore.ErrFailed)
	})
}

// A directory has a store if it has a snapshot or a segment. A store that must
// exist is not made, and nothing else is either.
func TestNoStore(t *testing.T) {
	configs := map[string]func(*kvstore.Config){
		"read-only":  func(c *kvstore.Config) { c.ReadOnly = true },
		"must exist": func(c *kvstore.Config) { c.MustExist = true },
		"both":       func(c *kvstore.Config) { c.MustExist, c.ReadOnly = true, true },
	}
	files := map[string][]string{
		"nothing":             nil,
		"LOCK":                {"LOCK"},
		"foreign files":       {"lost+found", "wal-1.log", "snapshot-00000000000000000000.kvs"},
		"unfinished files":    {"LOCK", "wal-00000000000000000001.log.tmp", "snapshot-00000000000000000002.kvs.tmp"},
		"a file below a name": {"wal-00000000000000000001.log.bak"},
	}
	for with, names := range files {
		for which, set := range configs {
			r := newRig(t)
			r.ok(errors.Join(r.fs.Mkdir("/data"), r.fs.Mkdir(r.config.DataDir)))
			for _, name := range names {
				r.ok(r.fs.WriteFile(r.config.DataDir+"/"+name, nil))
			}
			before := r.files()
			set(&r.config)
			r.fs.SetHook(func(op vfs.Op) error {
				if op.Kind == vfs.OpLock {
					t.Errorf("%s, directory with %s: it is locked, which would make LOCK", which, with)
				}
				return nil
			})
			if s, err := r.tryOpen(); !errors.Is(err, fs.ErrNotExist) || s != nil {
				t.Errorf("%s, directory with %s: %v", which, with, err)
			}
			r.unchanged(before)
			if handles := r.fs.Handles(); handles != 0 {
				t.Errorf("%s, directory with %s: %d handles are open", which, with, handles)
			}
		}
	}
}

// The files may go between the first look and the lock.
func TestStoreVanishesBeforeTheLock(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	r.close(s)
	r.fs.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpLock {
			for _, name := range r.names() {
				r.ok(r.fs.RemoveFile(r.config.DataDir + "/" + name))
			}
		}
		return nil
	})
	r.config.MustExist = true
	_, err := r.tryOpen()
	r.fails(err, fs.ErrNotExist)
	if names := r.names(); len(names) > 0 {
		t.Errorf("made %q", names)
	}
}

// A store that was made and never written to is one all the same.
func TestStoreWithoutKeys(t *testing.T) {
	for name, end := range map[string]func(*rig, *kvstore.Store){
		"closed":    (*rig).close,
		"killed":    (*rig).kill,
		"power cut": (*rig).cutPower,
		"written to": func(r *rig, s *kvstore.Store) {
			r.set(s, "a", "1")
			r.ok(s.Delete("a"))
			r.close(s)
		},
	} {
		for range 2 { // a store without a group may be closed again and again
			r := newRig(t)
			end(r, r.open())
			r.config.MustExist = true
			r.want(r.open())
			r.fs.Kill()
			r.config.ReadOnly = true
			r.want(r.open())
			t.Log(name, r.names())
		}
	}
}

// Open with LockTimeout waits for the opener before it, and no longer than it
// should.
func TestLockTimeout(t *testing.T) {
	for _, c := range []struct {
		held, timeout, want time.Duration
		err                 error
	}{
		{time.Second, 2 * time.Second, time.Second, nil},
		{time.Second, 500 * time.Millisecond, 500 * time.Millisecond, kvstore.ErrLocked},
		{time.Second, 0, 0, kvstore.ErrLocked},
		{0, time.Hour, 0, nil},
		{time.Second, 300 * time.Microsecond, 300 * time.Microsecond, kvstore.ErrLocked},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			first := r.open()
			began := time.Now()
			if c.held == 0 {
				r.close(first)
			}
			time.AfterFunc(c.held, func() { _ = first.Close() })
			r.config.LockTimeout = c.timeout
			s, err := r.tryOpen()
			took := time.Since(began)
			inTime := took >= c.want && took <= c.want+50*time.Millisecond
			if !errors.Is(err, c.err) || (c.err == nil) != (err == nil) || !inTime {
				t.Errorf("held %v, timeout %v: %v after %v", c.held, c.timeout, err, took)
			}
			if s != nil {
				r.close(s)
			}
			r.ok(first.Close())
		})
	}
}

func TestFileMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such modes")
	}
	for mode, want := range map[fs.FileMode][2]fs.FileMode{
		0:     {0o600, 0o700},
		0o600: {0o600, 0o700},
		0o640: {0o640, 0o750},
		0o644: {0o644, 0o755},
	} {
		r := newRig(t)
		above := filepath.Join(t.TempDir(), "above")
		config := kvstore.DefaultConfig(filepath.Join(above, "store"))
		config.FileMode = mode
		s, err := kvstore.OpenWithConfig(config)
		r.ok(err)
		r.set(s, "a", "1")
		r.ok(s.Snapshot(ctx))
		r.set(s, "a", "2")
		for _, dir := range []string{above, config.DataDir} {
			if got := modeOf(r, dir); got != want[1] {
				t.Errorf("FileMode %v: directory %v, want %v", mode, got, want[1])
			}
		}
		names, err := os.ReadDir(config.DataDir)
		r.ok(err)
		for _, name := range names {
			if got := modeOf(r, filepath.Join(config.DataDir, name.Name())); got != want[0] {
				t.Errorf("FileMode %v: %s %v, want %v", mode, name.Name(), got, want[0])
			}
		}
		r.close(s)
	}
	for _, mode := range []fs.FileMode{0o400, 0o200, 0o060, 0o600 | fs.ModeDir, 0o600 | fs.ModeSetuid} {
		config := kvstore.DefaultConfig(t.TempDir())
		config.FileMode = mode
		if _, err := kvstore.OpenWithConfig(config); !errors.Is(err, kvstore.ErrInvalidConfig) {
			t.Errorf("FileMode %v: %v", mode, err)
		}
	}
}

func modeOf(r *rig, path string) fs.FileMode {
	r.Helper()
	info, err := os.Stat(path)
	r.ok(err)
	return info.Mode().Perm()
}

// A dangerous default is never silent: without a Logger, the warning goes to
// the program's own log. Nothing else does.
func TestDangersAreLogged(t *testing.T) {
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	for syncWrites, want := range map[bool]int{true: 0, false: 1} {
		for _, readOnly := range []bool{false, true} {
			r := newRig(t)
			r.close(r.open())
			log.Reset()
			r.config.SyncWrites, r.config.ReadOnly = syncWrites, readOnly
			r.close(r.open())
			if readOnly {
				want = 0
			}
			if lines := strings.Count(log.String(), "\n"); lines != want {
				t.Errorf("SyncWrites %t, read-only %t: %s", syncWrites, readOnly, log.String())
			}
		}
	}
	r := newRig(t)
	s, err := kvstore.OpenFS(noDirSync{r.fs}, r.config)
	r.ok(err)
	r.close(s)
	if got := log.String(); !strings.Contains(got, "no fsync for directories") || strings.Count(got, "\n") != 1 {
		t.Errorf("without an fsync for directories: %s", got)
	}
}

// Without a Logger, errors and warnings of all kinds go to the program's own
// log, as it is at that moment, with the directory of the store.
func TestWithoutLogger(t *testing.T) {
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	r := newRig(t)
	for message, provoke := range map[string]func(s *kvstore.Store){
		"level=ERROR msg=\"kvstore: store failed\"": func(s *kvstore.Store) {
			r.fs.SetHook(failing(vfs.OpSync, syscall.EIO))
			r.fails(s.Set("b", nil), kvstore.ErrFailed)
		},
		"level=ERROR msg=\"kvstore: snapshot failed\"": func(s *kvstore.Store) {
			r.fs.SetHook(func(op vfs.Op) error {
				if op.Kind == vfs.OpCreate && strings.HasPrefix(op.Name, "snapshot-") {
					return syscall.EACCES
				}
				return nil
			})
			r.fails(s.Snapshot(ctx), syscall.EACCES)
		},
		"level=WARN msg=\"kvstore: dropped the torn tail of the log\"": func(s *kvstore.Store) {
			r.kill(s)
			log.Reset()
			last := slices.Max(r.fs.Names(r.config.DataDir))
			data, _ := r.fs.ReadFile(r.config.DataDir + "/" + last)
			_, end := entriesOf(data)
			copy(data[end:], "torn")
			r.ok(r.fs.WriteFile(r.config.DataDir+"/"+last, data))
			r.close(r.open())
		},
	} {
		r = newRig(t)
		s := r.open()
		r.set(s, "a", "1")
		log.Reset()
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		provoke(s)
		_ = s.Close() // after which nothing more is logged
		got := log.String()
		dir := "dir=" + r.config.DataDir
		if strings.Count(got, "\n") != 1 || !strings.Contains(got, message) || !strings.Contains(got, dir) {
			t.Errorf("logged %q, want %s", got, message)
		}
	}
}

// noDirSync is a file system that has no fsync for directories.
type noDirSync struct{ vfs.FS }

func (f noDirSync) OpenDir(path string) (vfs.Dir, error) {
	dir, err := f.FS.OpenDir(path)
	return dirWithoutSync{dir}, err
}

type dirWithoutSync struct{ vfs.Dir }

func (dirWithoutSync) SyncsNames() bool { return false }

// An Open or a Restore that fails leaves no directory behind, so that the next
// one meets the same.
func TestFailureLeavesNoDirectory(t *testing.T) {
	refuse := func(name string) func(vfs.Op) error {
		return func(op vfs.Op) error {
			if op.Kind == vfs.OpSyncParent && op.Name == name {
				return syscall.EACCES
			}
			return nil
		}
	}
	for name, hook := range map[string]func(vfs.Op) error{
		"the name of the directory above cannot be synced": refuse("/data"),
		"its own name cannot be synced":                    refuse("/data/store"),
		"it cannot be listed":                              failing(vfs.OpList, syscall.EACCES),
		"it cannot be locked":                              failing(vfs.OpLock, syscall.EACCES),
		"no segment can be made":                           failing(vfs.OpCreate, syscall.ENOSPC),
		"no segment has room":                              failing(vfs.OpAllocate, syscall.ENOSPC),
	} {
		r := newRig(t)
		r.fs.SetHook(hook)
		for range 2 {
			if s, err := r.tryOpen(); err == nil {
				r.close(s)
				t.Errorf("%s: opened", name)
			}
			if names := r.fs.Names("/"); len(names) > 0 {
				t.Errorf("%s: %q is left", name, names)
			}
		}
	}

	r := newRig(t)
	for path, there := range map[string]string{"/new/store": "/", "/old": "/old"} {
		if there == "/old" {
			r.ok(r.fs.Mkdir("/old"))
		}
		before := r.fs.Names(there)
		err := kvstore.RestoreFS(r.fs, path, strings.NewReader("no snapshot"))
		r.fails(err, kvstore.ErrCorrupt)
		if names := r.fs.Names(there); fmt.Sprint(names) != fmt.Sprint(before) {
			t.Errorf("restore to %s: %q is left, before %q", path, names, before)
		}
	}
}

// A Restore that fails changes nothing in a directory that was there: neither
// what another process has left in LOCK, nor its unfinished files. One that
// succeeds leaves them to Open.
func TestRestoreLeavesFilesOfOthers(t *testing.T) {
	dir := t.TempDir()
	others := map[string]string{
		"LOCK": "4711\n", "notes": "mine",
		format.SnapshotName(1) + format.TmpSuffix: "half", format.SegmentName(3) + format.TmpSuffix: "",
	}
	for name, content := range others {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantFiles := func(when string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != len(others) {
			t.Errorf("%s: %v, %v", when, entries, err)
		}
		for name, want := range others {
			if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
				t.Errorf("%s: %s has %q, %v; want %q", when, name, got, err, want)
			}
		}
	}
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	file := r.backup(s)
	r.close(s)
	r.fails(kvstore.Restore(dir, strings.NewReader("no snapshot")), kvstore.ErrCorrupt)
	wantFiles("garbage")
	r.fails(kvstore.Restore(dir, iotest.ErrReader(io.ErrNoProgress)), io.ErrNoProgress)
	wantFiles("a reader that fails")
	r.ok(kvstore.Restore(dir, bytes.NewReader(file)))
	others["LOCK"] = strconv.Itoa(os.Getpid()) + "\n"
	others[format.SnapshotName(2)] = readFile(t, filepath.Join(dir, format.SnapshotName(2)))
	wantFiles("a restored store")
	others["LOCK"] = "4711\n"
	r.ok(os.WriteFile(filepath.Join(dir, "LOCK"), []byte(others["LOCK"]), 0o600))
	r.fails(kvstore.Restore(dir, bytes.NewReader(file)), fs.ErrExist)
	wantFiles("a store")
	s, err := kvstore.Open(dir)
	r.ok(err)
	r.want(s, "a", "1")
	r.close(s)
	if left, err := filepath.Glob(filepath.Join(dir, "*"+format.TmpSuffix)); err != nil || len(left) > 0 {
		t.Errorf("Open leaves %q, %v", left, err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A Restore that says it has failed has made no store, whatever has failed.
func TestRestoreIsAllOrNothing(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, some(20)...)
	var file bytes.Buffer
	v, err := s.View()
	r.ok(err)
	_, err = v.WriteTo(&file)
	r.ok(errors.Join(err, v.Close()))
	r.close(s)
	for n, more := 1, true; more; n++ {
		r := newRig(t)
		operations := 0
		r.fs.SetHook(func(vfs.Op) error {
			if operations++; operations == n {
				return syscall.EIO
			}
			return nil
		})
		err := kvstore.RestoreFS(r.fs, r.config.DataDir, bytes.NewReader(file.Bytes()))
		more = operations >= n
		r.fs.SetHook(nil)
		r.config.ReadOnly = true
		s, openErr := r.tryOpen()
		if (err == nil) != (openErr == nil) {
			t.Errorf("operation %d failed: Restore %v, Open %v", n, err, openErr)
		}
		if openErr == nil {
			r.close(s)
		}
	}
}

// snapshotBesideLog ends a session so that the log is there beside the snapshot
// that covers it.
func (r *rig) snapshotBesideLog(pairs ...string) {
	r.Helper()
	s := r.open()
	r.set(s, pairs...)
	r.fs.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpRemove && strings.HasSuffix(op.Name, ".log") {
			return syscall.EIO
		}
		return nil
	})
	r.fails(s.Close(), syscall.EIO)
	r.fs.SetHook(nil)
}

// Open removes what its snapshot covers before it makes anything: the disk may
// be full of that.
func TestOpenMakesRoomFirst(t *testing.T) {
	r := newRig(t)
	r.snapshotBesideLog(some(60)...)
	covered := func() bool {
		names := r.names()
		return slices.ContainsFunc(names, func(n string) bool { return number(n) < number(names[0]) })
	}
	if !covered() {
		t.Fatalf("files %q", r.names())
	}
	r.fs.SetHook(func(op vfs.Op) error {
		if (op.Kind == vfs.OpCreate || op.Kind == vfs.OpAllocate) && covered() {
			return syscall.ENOSPC
		}
		return nil
	})
	r.want(r.open(), some(60)...)
}

// P1: the snapshot must durably cover what Open removes first. A crash may have
// come before the snapshot's name was durable.
func TestP1OpenMakesRoomDurably(t *testing.T) {
	r, rng := newRandomRig(t)
	for range 50 {
		r.fs = vfs.NewMem(rng.IntN)
		s := r.open()
		r.set(s, "a", "1")
		renamed := false
		r.fs.SetHook(func(op vfs.Op) error {
			renamed = renamed || snapshotOp(vfs.OpRename)(op)
			if renamed && op.Kind == vfs.OpSyncDir {
				r.fs.Kill()
			}
			return nil
		})
		if err := s.Close(); err == nil {
			t.Fatal("Close has not synced the snapshot's name")
		}
		removed := false
		r.fs.SetHook(func(op vfs.Op) error {
			if removed {
				r.fs.SetHook(nil)
				r.fs.PowerCut()
			}
			removed = op.Kind == vfs.OpRemove
			return nil
		})
		if s, err := r.tryOpen(); err == nil {
			r.close(s)
			t.Fatal("Open has removed nothing")
		}
		r.want(r.open(), "a", "1")
	}
}
