package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

// Most tests run on both file systems: what tests of the engine show on Mem
// must hold on the operating system's file system.

// onBoth runs a test on the operating system's file system and on Mem, each
// time in an empty directory.
func onBoth(t *testing.T, test func(t *testing.T, fsys vfs.FS, base string)) {
	t.Run("OS", func(t *testing.T) { test(t, vfs.OS{}, t.TempDir()) })
	t.Run("Mem", func(t *testing.T) {
		m := vfs.NewMem(nil)
		must(t, m.Mkdir("/base"))
		test(t, m, "/base")
	})
}

// inDir is onBoth for tests that need only the directory.
func inDir(t *testing.T, test func(t *testing.T, dir vfs.Dir)) {
	onBoth(t, func(t *testing.T, fsys vfs.FS, base string) { test(t, openDir(t, fsys, base)) })
}

func openDir(t *testing.T, fsys vfs.FS, path string) vfs.Dir {
	t.Helper()
	dir, err := fsys.OpenDir(path)
	must(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want one that is %v", err, want)
	}
}

// create makes a file with these bytes. It does not sync the file, and leaves
// it open.
func create(t *testing.T, dir vfs.Dir, name, content string) vfs.File {
	t.Helper()
	f, err := dir.Create(name)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	write(t, f, 0, content)
	return f
}

func write(t *testing.T, f vfs.File, off int64, content string) {
	t.Helper()
	n, err := f.WriteAt([]byte(content), off)
	if err != nil || n != len(content) {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// content reads a whole file through a new handle.
func content(t *testing.T, dir vfs.Dir, name string) string {
	t.Helper()
	f, err := dir.OpenRead(name)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, size), b)
	must(t, err)
	return string(b)
}

func wantContent(t *testing.T, dir vfs.Dir, name, want string) {
	t.Helper()
	if got := content(t, dir, name); got != want {
		t.Fatalf("%s holds %.80q, want %.80q", name, got, want)
	}
}

func wantNames(t *testing.T, dir vfs.Dir, want ...string) {
	t.Helper()
	names, err := dir.List()
	must(t, err)
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Fatalf("names %q, want %q", names, want)
	}
}

func TestBothMakeAndOpenDirectories(t *testing.T) {
	onBoth(t, func(t *testing.T, fsys vfs.FS, base string) {
		path := filepath.Join(base, "a")
		_, err := fsys.OpenDir(path)
		wantErr(t, err, fs.ErrNotExist)
		wantErr(t, fsys.SyncParent(filepath.Join(path, "b")), fs.ErrNotExist)
		wantErr(t, fsys.Mkdir(filepath.Join(path, "b")), fs.ErrNotExist)
		must(t, fsys.Mkdir(path))
		wantErr(t, fsys.Mkdir(path), fs.ErrExist)
		must(t, fsys.SyncParent(path))
		wantNames(t, openDir(t, fsys, path))
		wantNames(t, openDir(t, fsys, base), "a")
	})
}

func TestBothRefuseAFileAsADirectory(t *testing.T) {
	onBoth(t, func(t *testing.T, fsys vfs.FS, base string) {
		create(t, openDir(t, fsys, base), "file", "x")
		path := filepath.Join(base, "file")
		wantErr(t, fsys.Mkdir(path), fs.ErrExist)
		if _, err := fsys.OpenDir(path); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open a file as a directory: %v", err)
		}
		if err := fsys.Mkdir(filepath.Join(path, "below")); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("create a directory below a file: %v", err)
		}
	})
}

func TestBothCreateAndOpenFiles(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		_, err := dir.Open("a")
		wantErr(t, err, fs.ErrNotExist)
		_, err = dir.OpenRead("a")
		wantErr(t, err, fs.ErrNotExist)
		create(t, dir, "a", "long content")
		wantContent(t, dir, "a", "long content")

		f, err := dir.Open("a")
		must(t, err)
		write(t, f, 5, "C")
		wantContent(t, dir, "a", "long Content") // through another handle, before any sync
		must(t, f.Sync())
		must(t, f.Close())

		create(t, dir, "a", "new") // empties the existing file
		wantContent(t, dir, "a", "new")
		wantNames(t, dir, "a")
		must(t, dir.Sync())
	})
}

func TestBothRenameOver(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		wantErr(t, dir.Rename("a", "b"), fs.ErrNotExist)
		f := create(t, dir, "a", "new")
		old := create(t, dir, "b", "old")
		must(t, dir.Rename("a", "b"))
		wantNames(t, dir, "b")
		wantContent(t, dir, "b", "new")
		write(t, f, 3, "er")    // the handle stays with the file, not with its name
		write(t, old, 0, "OLD") // the file of this handle has no name any more
		wantContent(t, dir, "b", "newer")
	})
}

func TestBothRemove(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		wantErr(t, dir.Remove("a"), fs.ErrNotExist)
		create(t, dir, "a", "x")
		create(t, dir, "b", "y")
		must(t, dir.Remove("a"))
		wantNames(t, dir, "b")
		wantErr(t, dir.Remove("a"), fs.ErrNotExist)
		_, err := dir.Open("a")
		wantErr(t, err, fs.ErrNotExist)
	})
}

func TestBothReadAndWriteByOffset(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		f := create(t, dir, "a", "0123456789")
		for _, c := range []struct {
			off  int64
			n    int
			want string
			err  error
		}{
			{0, 10, "0123456789", nil}, // reading up to the end is not io.EOF
			{4, 3, "456", nil},
			{8, 4, "89", io.EOF},
			{10, 1, "", io.EOF},
			{11, 1, "", io.EOF},
		} {
			b := make([]byte, c.n)
			n, err := f.ReadAt(b, c.off)
			if string(b[:n]) != c.want || !errors.Is(err, c.err) {
				t.Errorf("read %d bytes at %d: %q, %v; want %q, %v", c.n, c.off, b[:n], err, c.want, c.err)
			}
		}
		write(t, f, 1500, "far") // the gap is zeros
		wantContent(t, dir, "a", "0123456789"+string(make([]byte, 1490))+"far")
		b := []byte("xyz")
		write(t, f, 0, string(b))
		b[0] = '!' // the file has its own copy
		wantContent(t, dir, "a", "xyz3456789"+string(make([]byte, 1490))+"far")
	})
}

func TestBothAllocate(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		f := create(t, dir, "a", "head")
		for _, c := range []struct{ ask, want int64 }{{4096, 4096}, {100, 4096}, {8192, 8192}} {
			must(t, f.Allocate(c.ask))
			if size, err := f.Size(); err != nil || size != c.want {
				t.Fatalf("size %d, %v after Allocate(%d), want %d", size, err, c.ask, c.want)
			}
		}
		wantContent(t, dir, "a", "head"+string(make([]byte, 8188)))
	})
}

func TestBothTruncate(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		f := create(t, dir, "a", "0123456789")
		for _, size := range []int64{10, 4, 4} {
			must(t, f.Truncate(size))
			wantContent(t, dir, "a", "0123456789"[:size])
		}
		write(t, f, 6, "x")
		must(t, f.Sync())
		wantContent(t, dir, "a", "0123\x00\x00x")
		must(t, f.Truncate(0))
		wantContent(t, dir, "a", "")
	})
}

func TestBothLock(t *testing.T) {
	onBoth(t, func(t *testing.T, fsys vfs.FS, base string) {
		dir, other := openDir(t, fsys, base), openDir(t, fsys, base)
		lock := func(d vfs.Dir, shared bool) vfs.Lock {
			t.Helper()
			l, err := d.Lock("LOCK", shared)
			must(t, err)
			return l
		}
		refused := func(d vfs.Dir, shared bool) *vfs.LockedError {
			t.Helper()
			_, err := d.Lock("LOCK", shared)
			locked, ok := errors.AsType[*vfs.LockedError](err)
			if !ok {
				t.Fatalf("lock: %v, want a LockedError", err)
			}
			return locked
		}
		early := lock(dir, true)
		wantNames(t, dir) // a shared lock needs no file, and creates none
		_ = refused(other, false)
		wantNames(t, dir)
		must(t, early.Close())

		writer := lock(dir, false)
		wantNames(t, dir, "LOCK")
		for _, d := range []vfs.Dir{dir, other} {
			for _, shared := range []bool{false, true} {
				if e := refused(d, shared); e.PID != os.Getpid() && runtime.GOOS != "windows" {
					t.Fatalf("holder is process %d, want %d", e.PID, os.Getpid())
				}
			}
		}
		must(t, writer.Close())
		wantNames(t, dir, "LOCK") // never removed: another opener may have opened it already

		one, two := lock(dir, true), lock(other, true)
		_ = refused(dir, false)
		must(t, one.Close())
		_ = refused(dir, false)
		must(t, two.Close())
		must(t, lock(other, false).Close())
	})
}

// Mem must refuse what the operating system refuses, because a crash test
// cannot find what Mem tolerates.
func TestBothRefuseMisuseOfAHandle(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		f := create(t, dir, "a", "x")
		must(t, f.Close())
		uses := map[string]func(f vfs.File) error{
			"read":     func(f vfs.File) error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
			"write":    func(f vfs.File) error { _, err := f.WriteAt([]byte("y"), 0); return err },
			"size":     func(f vfs.File) error { _, err := f.Size(); return err },
			"allocate": func(f vfs.File) error { return f.Allocate(10) },
			"truncate": func(f vfs.File) error { return f.Truncate(0) },
			"sync":     func(f vfs.File) error { return f.Sync() },
			"close":    func(f vfs.File) error { return f.Close() },
		}
		for name, use := range uses {
			if err := use(f); err == nil {
				t.Errorf("%s on a closed file succeeds", name)
			}
		}
		reader, err := dir.OpenRead("a")
		must(t, err)
		for _, name := range []string{"write", "allocate", "truncate"} {
			if err := uses[name](reader); err == nil {
				t.Errorf("%s on a file opened for reading succeeds", name)
			}
		}
		must(t, reader.Close())
		wantContent(t, dir, "a", "x")
	})
}

func TestIsExhausted(t *testing.T) {
	for err, want := range map[error]bool{
		fmt.Errorf("wrapped: %w", syscall.ENOSPC):              true,
		&fs.PathError{Op: "write", Err: syscall.ENOSPC}:        true,
		&vfs.ShortWrite{Bytes: 1, Err: syscall.ENOSPC}:         true,
		errors.Join(errors.New("and another"), syscall.ENOSPC): true,
		&fs.PathError{Op: "write", Err: syscall.EIO}:           false,
		fmt.Errorf("no space left on device: 1"):               false,
	} {
		if got := vfs.IsExhausted(err); got != want {
			t.Errorf("IsExhausted(%v) is %v", err, got)
		}
	}
	if vfs.IsExhausted(nil) {
		t.Error("nil is exhausted")
	}
}

// The other tests are about Mem alone: how it crashes and how it fails.

// newMem returns a Mem with an empty, durable directory. With a nil pick, a
// power cut loses everything that it may lose.
func newMem(t *testing.T, pick func(int) int) (*vfs.Mem, vfs.Dir) {
	t.Helper()
	m := vfs.NewMem(pick)
	must(t, m.Mkdir("/d"))
	must(t, m.SyncParent("/d"))
	return m, openDir(t, m, "/d")
}

// durable makes a file with these bytes that survives a power cut.
func durable(t *testing.T, dir vfs.Dir, name, content string) vfs.File {
	t.Helper()
	f := create(t, dir, name, content)
	must(t, f.Sync())
	must(t, dir.Sync())
	return f
}

func TestMemKillKeepsTheCache(t *testing.T) {
	m, dir := newMem(t, nil)
	durable(t, dir, "b", "x")
	f := create(t, dir, "a", "not synced")
	must(t, dir.Rename("b", "c"))
	_, err := dir.Lock("LOCK", false)
	must(t, err)
	m.Kill()

	for name, err := range map[string]error{
		"write":  func() error { _, err := f.WriteAt([]byte("!"), 0); return err }(),
		"read":   func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err }(),
		"sync":   f.Sync(),
		"list":   func() error { _, err := dir.List(); return err }(),
		"rename": dir.Rename("c", "d"),
		"remove": dir.Remove("c"),
		"create": func() error { _, err := dir.Create("e"); return err }(),
		"fsync":  dir.Sync(),
	} {
		if !errors.Is(err, vfs.ErrCrashed) {
			t.Errorf("%s on a handle of a dead process: %v", name, err)
		}
	}
	dir = openDir(t, m, "/d")
	wantNames(t, dir, "LOCK", "a", "c")
	wantContent(t, dir, "a", "not synced")
	lock, err := dir.Lock("LOCK", false)
	must(t, err)
	must(t, lock.Close())

	m.PowerCut() // Kill makes nothing durable either
	dir = openDir(t, m, "/d")
	wantNames(t, dir, "b")
}

// Closing the lock of a dead process must not free the lock of a living
// process.
func TestMemOldLockFreesNothing(t *testing.T) {
	m, dir := newMem(t, nil)
	old, err := dir.Lock("LOCK", false)
	must(t, err)
	m.Kill()
	dir = openDir(t, m, "/d")
	_, err = dir.Lock("LOCK", false)
	must(t, err)
	must(t, old.Close())
	if _, err := dir.Lock("LOCK", false); err == nil {
		t.Fatal("two locks at once")
	}
}

func TestMemPowerCutKeepsWhatWasSynced(t *testing.T) {
	m, dir := newMem(t, nil)
	f := durable(t, dir, "a", "synced")
	write(t, f, 0, "SYNCED and longer")
	g := create(t, dir, "b", "synced, but has no durable name")
	must(t, g.Sync())
	durable(t, dir, "c", "removed")
	must(t, dir.Remove("c"))
	durable(t, dir, "d", "renamed")
	must(t, dir.Sync()) // makes the name b and the removal of c durable
	must(t, dir.Rename("d", "e"))
	create(t, dir, "f", "")
	must(t, m.Mkdir("/x"))
	m.PowerCut()

	dir = openDir(t, m, "/d")
	wantNames(t, dir, "a", "b", "d")
	wantContent(t, dir, "a", "synced")
	wantContent(t, dir, "b", "synced, but has no durable name")
	wantContent(t, dir, "d", "renamed")
	_, err := m.OpenDir("/x")
	wantErr(t, err, fs.ErrNotExist)
}

func TestMemNameWithoutContent(t *testing.T) {
	m, dir := newMem(t, nil)
	create(t, dir, "a", "content")
	must(t, dir.Sync())
	m.PowerCut()
	wantContent(t, openDir(t, m, "/d"), "a", "")
}

func TestMemSyncIsOfOneFile(t *testing.T) {
	m, dir := newMem(t, nil)
	f, g := durable(t, dir, "a", "old"), durable(t, dir, "b", "old")
	write(t, f, 0, "new")
	write(t, g, 0, "new")
	must(t, g.Sync())
	m.PowerCut()
	dir = openDir(t, m, "/d")
	wantContent(t, dir, "a", "old")
	wantContent(t, dir, "b", "new")
}

// Bytes that Create has removed must not return when the file grows again.
func TestMemEmptiedFileStaysEmpty(t *testing.T) {
	m, dir := newMem(t, nil)
	durable(t, dir, "a", "old content")
	f := create(t, dir, "a", "")
	must(t, f.Allocate(11))
	must(t, f.Sync())
	wantContent(t, dir, "a", string(make([]byte, 11)))
	m.PowerCut()
	wantContent(t, openDir(t, m, "/d"), "a", string(make([]byte, 11)))
}

// A length is durable after Sync. Bytes that were cut off do not return.
func TestMemTruncatedFile(t *testing.T) {
	m, dir := newMem(t, nil)
	f := durable(t, dir, "a", "old content")
	must(t, f.Truncate(3))
	m.PowerCut()
	wantContent(t, openDir(t, m, "/d"), "a", "old content")

	m, dir = newMem(t, nil)
	f = durable(t, dir, "a", "old content")
	must(t, f.Truncate(3))
	must(t, f.Allocate(11))
	must(t, f.Sync())
	m.PowerCut()
	wantContent(t, openDir(t, m, "/d"), "a", "old"+string(make([]byte, 8)))
}

// sectors returns n sectors of 512 bytes, filled with b.
func sectors(n int, b byte) string { return string(bytes.Repeat([]byte{b}, n*512)) }

func TestMemPowerCutKeepsAnySubset(t *testing.T) {
	// Over many power cuts, each of two sectors must be seen old, new, of the
	// version in between, and torn, independently of the other, and never in
	// any other state.
	rng := testseed.Rand(t)
	seen := map[[2]string]bool{}
	for range 2000 {
		m, dir := newMem(t, rng.IntN)
		f := durable(t, dir, "a", sectors(2, 'o'))
		write(t, f, 0, sectors(2, 'm'))
		write(t, f, 0, sectors(2, 'n'))
		m.PowerCut()
		got := content(t, openDir(t, m, "/d"), "a")
		if len(got) != 1024 {
			t.Fatalf("%d bytes, want 1024: no write changed the size", len(got))
		}
		seen[[2]string{stateOf(t, got[:512]), stateOf(t, got[512:])}] = true
	}
	states := []string{"o", "m", "n", "torn"}
	for _, a := range states {
		for _, b := range states {
			if !seen[[2]string{a, b}] {
				t.Errorf("never seen: first sector %s, second %s", a, b)
			}
		}
	}
}

// stateOf names the state of a sector in TestMemPowerCutKeepsAnySubset.
func stateOf(t *testing.T, sector string) string {
	t.Helper()
	for _, b := range []byte(sector) {
		if !slices.Contains([]byte("omn"), b) {
			t.Fatalf("byte %q was never written", b)
		}
		if b != sector[0] {
			return "torn"
		}
	}
	return sector[:1]
}

func TestMemPowerCutKeepsAnySizesAndNames(t *testing.T) {
	rng := testseed.Rand(t)
	sizes, names := map[int]bool{}, map[string]bool{}
	for range 500 {
		m, dir := newMem(t, rng.IntN)
		f := durable(t, dir, "a", "12")
		must(t, f.Allocate(20))
		must(t, f.Allocate(3000))
		create(t, dir, "b", "")
		must(t, dir.Rename("b", "c"))
		m.PowerCut()
		sizes[len(content(t, openDir(t, m, "/d"), "a"))] = true
		names[fmt.Sprint(m.Names("/d"))] = true
	}
	for _, size := range []int{2, 20, 3000} {
		if !sizes[size] {
			t.Errorf("size %d never survived", size)
		}
	}
	for _, want := range []string{"[a]", "[a b]", "[a c]"} {
		if !names[want] {
			t.Errorf("names %s never survived", want)
		}
	}
	if len(sizes) != 3 || len(names) != 3 {
		t.Errorf("sizes %v, names %v: more than there ever were", sizes, names)
	}
}

// This is why a failed fsync is sticky: the kernel keeps the new bytes in its
// cache and marks them clean, so that a second fsync succeeds and writes
// nothing. A failed write-back does the same.
func TestMemFailedSyncLeavesPagesClean(t *testing.T) {
	for kind, call := range map[vfs.OpKind]func(vfs.File) error{
		vfs.OpSync:       vfs.File.Sync,
		vfs.OpWriteBack:  func(f vfs.File) error { return f.WriteBack(0, 3) },
		vfs.OpStartWrite: func(f vfs.File) error { return f.StartWrite(0, 3) },
		vfs.OpStartSync:  func(f vfs.File) error { f.StartSync(); return f.Sync() },
	} {
		m, dir := newMem(t, nil)
		f := durable(t, dir, "a", "old")
		write(t, f, 0, "new")
		m.SetHook(failOn(kind, syscall.EIO))
		wantErr(t, call(f), syscall.EIO)
		m.SetHook(nil)
		wantContent(t, dir, "a", "new")
		must(t, f.Sync())
		wantContent(t, dir, "a", "new")
		m.PowerCut()
		dir = openDir(t, m, "/d")
		wantContent(t, dir, "a", "old")

		// A new write makes the pages dirty again, even with the same bytes.
		f, err := dir.Open("a")
		must(t, err)
		write(t, f, 0, "new")
		m.SetHook(failOn(kind, syscall.EIO))
		wantErr(t, call(f), syscall.EIO)
		m.SetHook(nil)
		write(t, f, 0, "new")
		must(t, f.Sync())
		m.PowerCut()
		wantContent(t, openDir(t, m, "/d"), "a", "new")
	}
}

// WriteBack, StartWrite and StartSync make nothing durable and change nothing
// for readers.
func TestMemWriteBackIsNoSync(t *testing.T) {
	m, dir := newMem(t, nil)
	f := durable(t, dir, "a", "old")
	write(t, f, 0, "new")
	must(t, f.StartWrite(0, 3))
	must(t, f.WriteBack(0, 3))
	f.StartSync()
	wantContent(t, dir, "a", "new")
	m.PowerCut()
	wantContent(t, openDir(t, m, "/d"), "a", "old")
}

// After Forget the file is read from disk again. After a failed sync that is
// not what was in the cache.
func TestMemForget(t *testing.T) {
	m, dir := newMem(t, nil)
	f := durable(t, dir, "a", "old")
	write(t, f, 0, "new")
	must(t, f.Forget())
	wantContent(t, dir, "a", "new")
	m.SetHook(failOn(vfs.OpSync, syscall.EIO))
	wantErr(t, f.Sync(), syscall.EIO)
	m.SetHook(nil)
	wantContent(t, dir, "a", "new")
	must(t, f.Forget())
	wantContent(t, dir, "a", "old")
}

func TestBothForget(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		f := create(t, dir, "a", "0123456789")
		must(t, f.Forget())
		wantContent(t, dir, "a", "0123456789")
		must(t, f.Sync())
		must(t, f.Forget())
		wantContent(t, dir, "a", "0123456789")
	})
}

func TestBothStartSync(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		f := create(t, dir, "a", "0123456789")
		for range 3 {
			f.StartSync()
			f.StartSync()
			must(t, f.Sync())
			must(t, f.Sync())
			f.StartSync()
			write(t, f, 3, "x")
			must(t, f.Sync())
		}
		f.StartSync()
		wantContent(t, dir, "a", "012x456789")
		must(t, f.Close())
		f.StartSync()
		if f.Sync() == nil {
			t.Error("a closed file has been synced")
		}
	})
}

func TestBothStartWriteAndWriteBack(t *testing.T) {
	inDir(t, func(t *testing.T, dir vfs.Dir) {
		f := create(t, dir, "a", "0123456789")
		must(t, f.StartWrite(3, 4))
		must(t, f.StartWrite(8, 100))
		must(t, f.WriteBack(4, 3))
		must(t, f.WriteBack(8, 100))
		wantContent(t, dir, "a", "0123456789")
	})
}

func failOn(kind vfs.OpKind, err error) func(vfs.Op) error {
	return func(op vfs.Op) error {
		if op.Kind == kind {
			return err
		}
		return nil
	}
}

// A failing sync writes any subset: with a pick that always takes the newest
// version, everything.
func TestMemFailedSyncMayHaveWritten(t *testing.T) {
	m, dir := newMem(t, func(n int) int { return min(n-1, 1) })
	f := durable(t, dir, "a", "old")
	write(t, f, 0, "new")
	m.SetHook(failOn(vfs.OpSync, syscall.EIO))
	wantErr(t, f.Sync(), syscall.EIO)
	m.SetHook(nil)
	m.PowerCut()
	wantContent(t, openDir(t, m, "/d"), "a", "new")
}

func TestMemFailedDirectorySync(t *testing.T) {
	m, dir := newMem(t, nil)
	create(t, dir, "a", "")
	m.SetHook(failOn(vfs.OpSyncDir, syscall.EIO))
	wantErr(t, dir.Sync(), syscall.EIO)
	m.SetHook(nil)
	wantNames(t, dir, "a")
	must(t, dir.Sync()) // unlike a file's, a directory's later fsync is assumed to persist its names
	m.PowerCut()
	wantNames(t, openDir(t, m, "/d"), "a")
}

func TestMemShortWrite(t *testing.T) {
	m, dir := newMem(t, nil)
	f := create(t, dir, "a", "0123456789")
	m.SetHook(failOn(vfs.OpWrite, &vfs.ShortWrite{Bytes: 3, Err: syscall.ENOSPC}))
	n, err := f.WriteAt([]byte("abcdef"), 2)
	wantErr(t, err, syscall.ENOSPC)
	if n != 3 {
		t.Fatalf("wrote %d bytes, want 3", n)
	}
	m.SetHook(failOn(vfs.OpWrite, syscall.EIO))
	if n, err := f.WriteAt([]byte("xyz"), 0); n != 0 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("failed write: %d, %v", n, err)
	}
	wantContent(t, dir, "a", "01abc56789")
}

// An operation that fails has no effect. The hook gets the kind and the name of
// the operation.
func TestMemHookSeesAndFailsEachOperation(t *testing.T) {
	m, dir := newMem(t, nil)
	f := create(t, dir, "a", "x")
	boom := errors.New("boom")
	var op vfs.Op
	m.SetHook(func(o vfs.Op) error { op = o; return boom })
	for _, c := range []struct {
		want vfs.Op
		do   func() error
	}{
		{vfs.Op{Kind: vfs.OpMkdir, Name: "/e"}, func() error { return m.Mkdir("/e") }},
		{vfs.Op{Kind: vfs.OpSyncParent, Name: "/d"}, func() error { return m.SyncParent("/d") }},
		{vfs.Op{Kind: vfs.OpOpenDir, Name: "/d"}, func() error { _, err := m.OpenDir("/d"); return err }},
		{vfs.Op{Kind: vfs.OpCreate, Name: "b"}, func() error { _, err := dir.Create("b"); return err }},
		{vfs.Op{Kind: vfs.OpOpen, Name: "a"}, func() error { _, err := dir.Open("a"); return err }},
		{vfs.Op{Kind: vfs.OpOpen, Name: "a"}, func() error { _, err := dir.OpenRead("a"); return err }},
		{vfs.Op{Kind: vfs.OpRename, Name: "a"}, func() error { return dir.Rename("a", "b") }},
		{vfs.Op{Kind: vfs.OpRemove, Name: "a"}, func() error { return dir.Remove("a") }},
		{vfs.Op{Kind: vfs.OpList}, func() error { _, err := dir.List(); return err }},
		{vfs.Op{Kind: vfs.OpLock, Name: "LOCK"}, func() error { _, err := dir.Lock("LOCK", false); return err }},
		{vfs.Op{Kind: vfs.OpRead, Name: "a", Offset: 1, Bytes: 2}, func() error {
			_, err := f.ReadAt(make([]byte, 2), 1)
			return err
		}},
		{vfs.Op{Kind: vfs.OpWrite, Name: "a", Offset: 3, Bytes: 1}, func() error {
			_, err := f.WriteAt([]byte("y"), 3)
			return err
		}},
		{vfs.Op{Kind: vfs.OpSize, Name: "a"}, func() error { _, err := f.Size(); return err }},
		{vfs.Op{Kind: vfs.OpAllocate, Name: "a", Bytes: 99}, func() error { return f.Allocate(99) }},
		{vfs.Op{Kind: vfs.OpTruncate, Name: "a", Bytes: 1}, func() error { return f.Truncate(1) }},
		{vfs.Op{Kind: vfs.OpStartWrite, Name: "a", Offset: 6, Bytes: 3}, func() error { return f.StartWrite(6, 3) }},
		{vfs.Op{Kind: vfs.OpWriteBack, Name: "a", Offset: 5, Bytes: 4}, func() error { return f.WriteBack(5, 4) }},
		{vfs.Op{Kind: vfs.OpSync, Name: "a"}, func() error { return f.Sync() }},
		{vfs.Op{Kind: vfs.OpStartSync, Name: "a"}, func() error { f.StartSync(); return f.Sync() }},
		{vfs.Op{Kind: vfs.OpForget, Name: "a"}, func() error { return f.Forget() }},
	} {
		if err := c.do(); !errors.Is(err, boom) || op != c.want {
			t.Errorf("%v: hook saw %+v, error %v", c.want, op, err)
		}
	}
	m.SetHook(nil)
	wantNames(t, dir, "a")
	wantContent(t, dir, "a", "x")
}

// A hook that blocks stalls only its own operation. If the process dies
// meanwhile, the operation has not happened.
func TestMemHookMayBlockAndCrash(t *testing.T) {
	m, dir := newMem(t, nil)
	f, g := durable(t, dir, "a", "old"), durable(t, dir, "b", "old")
	entered, release := make(chan struct{}), make(chan struct{})
	m.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && op.Name == "a" {
			close(entered)
			<-release
		}
		return nil
	})
	failed := make(chan error)
	go func() {
		_, err := f.WriteAt([]byte("new"), 0)
		failed <- err
	}()
	<-entered
	write(t, g, 0, "new")
	must(t, g.Sync())
	m.Kill()
	close(release)
	wantErr(t, <-failed, vfs.ErrCrashed)
	m.SetHook(nil)
	dir = openDir(t, m, "/d")
	wantContent(t, dir, "a", "old")
	wantContent(t, dir, "b", "new")
}

func TestMemFilesFromOutside(t *testing.T) {
	m, dir := newMem(t, nil)
	create(t, dir, "a", "cached")
	if b, ok := m.ReadFile("/d/a"); !ok || string(b) != "cached" {
		t.Fatalf("%q, %v", b, ok)
	}
	for _, path := range []string{"/d/none", "/none/a", "/d"} {
		if b, ok := m.ReadFile(path); ok {
			t.Fatalf("%s: %q", path, b)
		}
	}
	must(t, m.WriteFile("/d/b", []byte("put there")))
	must(t, dir.Sync())
	must(t, m.RemoveFile("/d/a"))
	m.PowerCut()
	dir = openDir(t, m, "/d")
	wantNames(t, dir, "b")
	wantContent(t, dir, "b", "put there")
	if got := m.Names("/none"); got != nil {
		t.Fatalf("names of no directory: %q", got)
	}
}

func TestMemCountsHandles(t *testing.T) {
	m, dir := newMem(t, nil)
	want := func(n int) {
		t.Helper()
		if got := m.Handles(); got != n {
			t.Fatalf("%d handles, want %d", got, n)
		}
	}
	want(1)
	f, g := durable(t, dir, "a", ""), durable(t, dir, "b", "")
	reader, err := dir.OpenRead("a")
	must(t, err)
	_, err = dir.Open("none")
	wantErr(t, err, fs.ErrNotExist)
	lock, err := dir.Lock("LOCK", false)
	must(t, err)
	_, err = dir.Lock("LOCK", false)
	if err == nil {
		t.Fatal("two locks at once")
	}
	want(5)
	for i, c := range []io.Closer{f, reader, lock} {
		must(t, c.Close())
		want(4 - i)
		if err := c.Close(); err == nil {
			t.Fatal("closed twice")
		}
		want(4 - i)
	}
	m.Kill() // closes the other handles
	want(0)
	_ = g.Close()
	_ = dir.Close()
	want(0)
}

// A clone has the state of the original, including what a power cut would leave
// of it, and is independent of the original.
func TestMemClone(t *testing.T) {
	m, dir := newMem(t, nil)
	f := durable(t, dir, "a", "old")
	write(t, f, 0, "new")
	create(t, dir, "b", "")
	must(t, dir.Rename("b", "c"))
	must(t, m.Mkdir("/d/e"))

	live, cut := m.Clone(nil), m.Clone(nil)
	cut.PowerCut()
	write(t, f, 0, "NEW")
	must(t, f.Sync())
	must(t, dir.Remove("c"))
	must(t, dir.Sync())

	d := openDir(t, live, "/d")
	wantNames(t, d, "a", "c", "e")
	wantContent(t, d, "a", "new")
	g, err := d.Open("a")
	must(t, err)
	write(t, g, 0, "own")
	must(t, g.Sync())
	must(t, d.Sync())
	live.PowerCut()
	d = openDir(t, live, "/d")
	wantNames(t, d, "a", "c", "e")
	wantContent(t, d, "a", "own")

	d = openDir(t, cut, "/d")
	wantNames(t, d, "a")
	wantContent(t, d, "a", "old")
	wantContent(t, dir, "a", "NEW")
	m.PowerCut()
	d = openDir(t, m, "/d")
	wantNames(t, d, "a", "e")
	wantContent(t, d, "a", "NEW")
}

// A writer that is refused because of readers must not get the process id of an
// earlier writer.
func TestOSNamesNoWriterForReaders(t *testing.T) {
	dir, err := vfs.OS{}.OpenDir(t.TempDir())
	must(t, err)
	f, err := dir.Create("LOCK")
	must(t, err)
	_, err = f.WriteAt([]byte("4242\n"), 0)
	must(t, errors.Join(err, f.Close()))
	reader, err := dir.Lock("LOCK", true)
	must(t, err)
	_, err = dir.Lock("LOCK", false)
	if locked, ok := errors.AsType[*vfs.LockedError](err); !ok || locked.PID != 0 {
		t.Fatalf("%v, want a LockedError without a process id", err)
	}
	must(t, errors.Join(reader.Close(), dir.Close()))
}
