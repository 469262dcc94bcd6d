package vfs

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"

	"kvstore/internal/tuning"
)

// OS is the operating system's file system.
type OS struct {
	// FileMode is the mode of new files, less the umask; 0 means 0600. New
	// directories have it too, with the permission to search them for all users
	// that may read them.
	FileMode fs.FileMode
}

// fileMode returns the mode of new files.
func (o OS) fileMode() fs.FileMode { return cmp.Or(o.FileMode, 0o600) }

// Mkdir implements [FS].
func (o OS) Mkdir(path string) error {
	const read, toSearch = 0o444, 2 // bits, and by how many they are shifted
	mode := o.fileMode()
	return os.Mkdir(path, mode|mode&read>>toSearch)
}

// RemoveDir implements [FS].
func (OS) RemoveDir(path string) error { return os.Remove(path) }

// SyncParent implements [FS].
func (OS) SyncParent(path string) error {
	// filepath.Join would resolve ".." by text and miss where a symbolic link
	// leads.
	parent, err := os.Open(path + string(filepath.Separator) + "..")
	if err != nil {
		return err
	}
	err = syncDir(parent)
	if errors.Is(err, errNoSync) {
		err = nil
	}
	return errors.Join(err, parent.Close())
}

// OpenDir implements [FS].
func (o OS) OpenDir(path string) (Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		if info, statErr := os.Stat(path); statErr == nil && !info.IsDir() {
			err = &os.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR} // OpenRoot's own has no code
		}
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return osDir{root: root, self: self, fileMode: o.fileMode(), unsynced: new(atomic.Bool)}, nil
}

// osDir is an open directory. It works through a descriptor and never through
// the directory's path.
type osDir struct {
	root *os.Root
	self *os.File // the directory too, so that Sync works when the process has no descriptors left

	fileMode fs.FileMode
	unsynced *atomic.Bool // Sync has found that the file system has no such call
}

// errNoSync is the error of syncDir if the file system has no fsync for
// directories.
var errNoSync = errors.New("vfs: no fsync for directories")

func (d osDir) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d osDir) Open(name string) (File, error) { return d.open(name, os.O_RDWR) }

func (d osDir) OpenRead(name string) (File, error) { return d.open(name, os.O_RDONLY) }

func (d osDir) open(name string, flag int) (File, error) {
	f, err := openFile(d.root, name, flag, d.fileMode)
	if err != nil {
		return nil, err
	}
	return newOSFile(f), nil
}

// OpenRead opens a file in root as [Dir].OpenRead of [OS] does, and refuses
// what that refuses. It is for tools that look at a store without opening it.
func OpenRead(root *os.Root, name string) (*os.File, error) {
	return openFile(root, name, os.O_RDONLY, 0)
}

// errNotRegular is the cause for refusing a directory, a FIFO or a device where
// a file of the store belongs.
var errNotRegular = errors.New("not a regular file")

// openFile opens a regular file in root, and refuses everything else. It does
// not wait for the writer of a FIFO. A new file gets this mode.
func openFile(root *os.Root, name string, flag int, mode fs.FileMode) (*os.File, error) {
	if flag == os.O_RDONLY {
		flag |= nonblock
	}
	f, err := root.OpenFile(name, flag, mode)
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

func (d osDir) Sync() error {
	err := syncDir(d.self)
	if errors.Is(err, errNoSync) {
		d.unsynced.Store(true)
		return nil
	}
	return err
}

func (d osDir) SyncsNames() bool { return !d.unsynced.Load() }

func (d osDir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

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

// Truncate implements [File].
func (f osFile) Truncate(size int64) error {
	f.started.changed()
	return f.File.Truncate(size)
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
