// Package vfs is the narrow interface between the engine and the file system.
// It has only the operations that the engine calls, so that one test double can
// crash, fail and be inspected at each of them. [OS] is the operating system's
// file system, and [Mem] is the test double.
package vfs

import (
	"errors"
	"io"
)

// FS gives access to directories by path.
type FS interface {
	// Mkdir creates one directory. Its parent must exist. The new name is
	// durable after SyncParent(path).
	Mkdir(path string) error

	// RemoveDir removes an empty directory. If something is in it, the error is
	// fs.ErrExist.
	RemoveDir(path string) error

	// SyncParent makes the names in the directory that contains path durable.
	// It follows a symbolic link at path.
	SyncParent(path string) error

	// OpenDir opens an existing directory. The handle stays on the same
	// directory if its path is renamed, a link on the path changes, or the
	// process changes its working directory.
	OpenDir(path string) (Dir, error)
}

// Dir is an open directory. Names are base names in it. Several goroutines may
// call its methods.
type Dir interface {
	// Create creates a file, or empties an existing one, and opens it for
	// reading and writing.
	Create(name string) (File, error)

	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)

	// OpenRead opens an existing file for reading.
	OpenRead(name string) (File, error)

	// Rename replaces newName atomically. It is durable after Sync.
	Rename(oldName, newName string) error

	// Remove removes a file. It is durable after Sync.
	Remove(name string) error

	// Lost returns what has happened to an open file if this name no longer
	// leads to it, or leads to fewer than size bytes: then a restart would not
	// find its bytes. It is "" if nothing has, and where the system cannot
	// tell. Lost does no I/O.
	Lost(name string, file File, size int64) string

	// List returns the names in the directory, in no order.
	List() ([]string, error)

	// Sync makes creations, renames and removals durable. It is a no-op on
	// Windows and on file systems that have no such call.
	Sync() error

	// SyncsNames reports whether Sync does anything, as far as is known: it
	// turns false when a Sync finds that the file system has no such call.
	SyncsNames() bool

	// Lock locks the directory against other openers until the returned lock is
	// closed or the process ends. It locks the directory itself, where the
	// system can, and a file in it with this name. An exclusive lock creates
	// the file and writes the process id into it. A shared lock needs no file
	// and writes nothing. If the lock is held elsewhere, in this process too,
	// Lock fails at once with a *LockedError.
	Lock(name string, shared bool) (Lock, error)

	// Close closes the directory, but not the files opened from it.
	Close() error
}

// File is an open file that is read and written by offset.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Size returns the file's length in bytes.
	Size() (int64, error)

	// Allocate makes the file size bytes long and reserves space for each byte.
	// New bytes are zeros. If there is no space, it returns an error that
	// [IsExhausted].
	Allocate(size int64) error

	// Truncate cuts off what lies behind the first size bytes, which must be
	// there. Bytes that come in its place later are zeros until they are
	// written. The length is durable after Sync.
	Truncate(size int64) error

	// StartWrite lets the disk begin to write the n bytes from off on, and does
	// not wait. It is advice that shortens the next Sync. It makes nothing
	// durable. If the write fails later, the next Sync returns the error.
	StartWrite(off, n int64) error

	// StartSync lets the system begin a Sync, and does not wait. It is advice
	// that shortens the next Sync. It makes nothing durable, and the next Sync
	// returns its error. The next Sync also covers what is written in between.
	StartSync()

	// WriteBack hands the n bytes from off on to the disk and waits until the
	// disk has taken them. It does not delay writes and syncs of other files.
	// It makes nothing durable, but a later Sync has less to do.
	WriteBack(off, n int64) error

	// Sync makes the file's bytes and its length durable.
	Sync() error

	// Forget lets the system drop the file's clean pages from the page cache.
	// It is advice about a file that will not be read again soon. Pages that
	// are not on disk yet stay. Forget may take a while, and costs other
	// goroutines little.
	Forget() error
}

// ForgetFile calls Forget of a file in dir.
func ForgetFile(dir Dir, name string) error {
	file, err := dir.OpenRead(name)
	if err != nil {
		return err
	}
	return errors.Join(file.Forget(), file.Close())
}

// What [Dir] Lost returns.
const (
	wasRemoved   = "was removed"
	wasReplaced  = "was replaced"
	wasTruncated = "was truncated"
)

// IsExhausted reports whether err says that a resource ran out (space, quota,
// file size limit, open files). Nothing is broken then, and the call may
// succeed later.
func IsExhausted(err error) bool {
	for _, e := range exhausted {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
