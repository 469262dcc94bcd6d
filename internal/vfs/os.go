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

// OS is the operating system's file system. It creates directories with mode
// 0700 and files with mode 0600, less the umask.
type OS struct{}

// Mkdir implements [FS].
func (OS) Mkdir(path string) error { return os.Mkdir(path, 0o700) }

// SyncParent implements [FS].
func (OS) SyncParent(path string) error {
	// filepath.Join would resolve ".." by text and miss where a symbolic link
	// leads.
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

// osDir is an open directory. It works through a descriptor and never through
// the directory's path.
type osDir struct {
	root *os.Root
	self *os.File // the directory too, so that Sync works when the process has no descriptors left
}

func (d osDir) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d osDir) Open(name string) (File, error) { return d.open(name, os.O_RDWR) }

func (d osDir) OpenRead(name string) (File, error) { return d.open(name, os.O_RDONLY) }

func (d osDir) open(name string, flag int) (File, error) {
	f, err := openFile(d.root, name, flag)
	if err != nil {
		return nil, err
	}
	return newOSFile(f), nil
}

// OpenRead opens a file in root as [Dir].OpenRead of [OS] does, and refuses
// what that refuses. It is for tools that look at a store without opening it.
func OpenRead(root *os.Root, name string) (*os.File, error) {
	return openFile(root, name, os.O_RDONLY)
}

// errNotRegular is the cause for refusing a directory, a FIFO or a device where
// a file of the store belongs.
var errNotRegular = errors.New("not a regular file")

// openFile opens a regular file in root, and refuses everything else. It does
// not wait for the writer of a FIFO.
func openFile(root *os.Root, name string, flag int) (*os.File, error) {
	if flag == os.O_RDONLY {
		flag |= nonblock
	}
	f, err := root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
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

// Lock implements [Dir] with the platform's lockFile.
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

// readPID returns the process id that the holder has written to the lock file,
// 0 if there is none.
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

// yieldFirst must be called before a system call that may take long and that
// callers usually do not wait for. A goroutine in a system call keeps its
// processor, and with it the goroutines queued there, until Go's monitor
// retakes the processor, which takes up to 20 ms on a machine with few
// processors. So yieldFirst lets those goroutines run first.
func yieldFirst() {
	if tuning.YieldFirst {
		runtime.Gosched()
	}
}

// SyncAside is Sync for a goroutine that no caller waits for. It lets
// goroutines that are ready run first.
func SyncAside(file File) error {
	yieldFirst()
	return file.Sync()
}

// osFile is an *os.File with the platform's best Sync and Allocate.
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

// Close implements [File]. It waits for a sync that was begun and not waited
// for.
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

// writeZeros makes the file size bytes long by writing zeros after its end, for
// systems that cannot reserve space in another way.
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
