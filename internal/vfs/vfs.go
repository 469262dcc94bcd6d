// Package vfs is the narrow seam between the engine and the file system: just the operations the engine calls,
// so that one test double can crash, fail and be inspected at each of them. [OS] is the real thing, [Mem] the
// test double.
package vfs

import (
	"errors"
	"fmt"
	"io"
)

// FS reaches directories by path.
type FS interface {
	// Mkdir creates one directory; its parent must exist. The new name is durable after SyncParent(path).
	Mkdir(path string) error

	// SyncParent makes the names in the directory that holds path durable. A symbolic link at path is followed.
	SyncParent(path string) error

	// OpenDir opens an existing directory. What is opened stays the same directory when the path is later
	// renamed, a link on it changes, or the process changes its working directory.
	OpenDir(path string) (Dir, error)
}

// Dir is an open directory; names are base names in it. Methods may be called from several goroutines.
type Dir interface {
	// Create creates or empties a file and opens it for reading and writing.
	Create(name string) (File, error)

	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)

	// OpenRead opens an existing file for reading.
	OpenRead(name string) (File, error)

	// Rename replaces newName atomically. It is durable after Sync.
	Rename(oldName, newName string) error

	// Remove removes a file. It is durable after Sync.
	Remove(name string) error

	// List returns the names in the directory, in no order.
	List() ([]string, error)

	// Sync makes creations, renames and removals durable. On Windows, which has no such call, it does nothing.
	Sync() error

	// Lock locks the directory against other openers until the returned handle is closed or the process ends,
	// by way of a file with this name. An exclusive lock creates the file and leaves the process id in it; a
	// shared one takes an existing file (fs.ErrNotExist otherwise) and writes nothing. A lock that is held
	// elsewhere, in this process too, fails at once with a *LockedError.
	Lock(name string, shared bool) (io.Closer, error)

	// Close closes the directory, not the files opened from it.
	Close() error
}

// File is an open file, read and written by offset.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Size returns the file's length in bytes.
	Size() (int64, error)

	// Allocate makes the file size bytes long with space reserved for each byte; new bytes are zeros.
	// It fails with an error that [IsExhausted] when the space is not there.
	Allocate(size int64) error

	// StartWrite has the disk begin to take the n bytes from off on, and waits for nothing: advice, for a Sync that follows to have less
	// to wait for. It makes nothing durable, and what goes wrong with the write later is told by that Sync.
	StartWrite(off, n int64) error

	// StartSync has the system begin what Sync does, and waits for nothing: advice, for a Sync that follows to have less to wait for. It
	// makes nothing durable, and what goes wrong is told by that Sync. What is written in between is synced by that Sync too.
	StartSync()

	// WriteBack hands the n bytes from off on to the disk and waits until it has taken them, at no cost to those who write and
	// sync other files. It makes nothing durable; a later Sync has less to do.
	WriteBack(off, n int64) error

	// Sync makes the file's bytes and its length durable.
	Sync() error

	// Forget has the system give back the memory in which it keeps what the file has on disk: advice, about a file that is not likely to be
	// read again soon. What is not on disk yet stays. It may take a while, and costs others little.
	Forget() error
}

// ForgetFile is Forget of a file in dir.
func ForgetFile(dir Dir, name string) error {
	file, err := dir.OpenRead(name)
	if err != nil {
		return err
	}
	return errors.Join(file.Forget(), file.Close())
}

// LockedError says who holds the lock that [Dir] Lock did not get.
type LockedError struct {
	PID int // 0 when the holder could not be read
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return "locked by another opener"
	}
	return fmt.Sprintf("locked by process %d", e.PID)
}

// IsExhausted reports whether err says that something ran out (space, quota, file size limit, open files) and that
// the call may succeed later, with nothing broken meanwhile.
func IsExhausted(err error) bool {
	for _, e := range exhausted {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
