package vfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"kvstore/internal/tuning"
)

// OS is the operating system's file system. Directories it creates have mode 0700 and files 0600, less the umask.
type OS struct{}

// Mkdir implements [FS].
func (OS) Mkdir(path string) error { return os.Mkdir(path, 0o700) }

// SyncParent implements [FS].
func (OS) SyncParent(path string) error {
	// Not filepath.Join, which would resolve ".." by text and miss where a symbolic link leads.
	parent, err := os.Open(path + string(filepath.Separator) + "..")
	if err != nil {
		return err
	}
	return errors.Join(syncDir(parent), parent.Close())
}

// OpenDir implements [FS].
func (OS) OpenDir(path string) (Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return osDir{root: root, self: self}, nil
}

// osDir works through an open descriptor of the directory, never through its path.
type osDir struct {
	root *os.Root
	self *os.File // the directory too, for Sync, which thus needs no descriptor when there may be none left
}

func (d osDir) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d osDir) Open(name string) (File, error) { return d.open(name, os.O_RDWR) }

func (d osDir) OpenRead(name string) (File, error) { return d.open(name, os.O_RDONLY) }

func (d osDir) open(name string, flag int) (File, error) {
	f, err := d.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return newOSFile(f), nil
}

func (d osDir) Rename(oldName, newName string) error { return d.root.Rename(oldName, newName) }

func (d osDir) Remove(name string) error {
	yieldFirst()
	return d.root.Remove(name)
}

func (d osDir) List() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

func (d osDir) Sync() error { return syncDir(d.self) }

func (d osDir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// Lock implements [Dir] on top of the platform's lockFile.
func (d osDir) Lock(name string, shared bool) (io.Closer, error) {
	f, err := lockFile(d.root, name, shared)
	if err != nil {
		return nil, err
	}
	if !shared {
		err = writePID(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// readPID returns the process id that the holder left in the lock file, 0 if there is none.
func readPID(f *os.File) int {
	var b [32]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return 0
	}
	return pid
}

// yieldFirst comes before a system call that may take long and that callers do
// not wait for, as a rule. A goroutine in a system call keeps its processor, and
// with it the goroutines in line there, until Go's monitor retakes it: up to
// 20 ms on a machine with few processors. So those have their turn first.
func yieldFirst() {
	if tuning.YieldFirst {
		runtime.Gosched()
	}
}

// SyncAside is Sync for a goroutine that no caller waits for: goroutines that
// are ready to run have their turn first.
func SyncAside(file File) error {
	yieldFirst()
	return file.Sync()
}

// osFile is an *os.File whose Sync and Allocate are the platform's best.
type osFile struct {
	*os.File
	started *startedSync // never nil
}

func newOSFile(f *os.File) osFile { return osFile{File: f, started: &startedSync{}} }

// WriteAt implements [File].
func (f osFile) WriteAt(b []byte, off int64) (int, error) {
	f.started.changed()
	return f.File.WriteAt(b, off)
}

// Close implements [File]. A sync that was begun and that nobody waited for is waited for.
func (f osFile) Close() error {
	_, err := f.started.settle()
	return errors.Join(err, f.File.Close())
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// writeZeros makes the file size bytes long by writing zeros behind its end: for systems that cannot
// reserve space otherwise.
func writeZeros(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, min(size, 1<<20))
	for at := info.Size(); at < size; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
