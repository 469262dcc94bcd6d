package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Lock is a lock on a directory, see [Dir].
type Lock interface {
	// Check returns an error if another opener may have locked the directory
	// meanwhile. That can happen only if the directory itself cannot be locked
	// on its file system, and the lock file was removed or replaced.
	Check() error

	// Reserve makes the lock file take n bytes of the disk beyond what is in
	// it, or none if n is 0. They stay reserved when the lock is closed, or the
	// process ends. On systems and file systems that cannot do that, Reserve
	// returns an error.
	Reserve(n int64) error

	// Close releases the lock, even while a child process holds a copy of its
	// descriptors.
	Close() error

	// PutBack gives the lock file the content that it had before this lock. An
	// opener that fails calls it before Abandon. It frees what is reserved.
	PutBack()

	// Abandon is Close for an opener that leaves no store behind: it also
	// removes the lock file if this lock has made it.
	Abandon() error
}

// LockedError is the error of [Dir] Lock if another opener holds the lock.
type LockedError struct {
	PID int // of the holder, 0 if unknown
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return "locked by another opener"
	}
	return fmt.Sprintf("locked by process %d", e.PID)
}

// maxLockBytes is how much of a lock file is put back. A process id takes less.
const maxLockBytes = 4 << 10

// writePID writes the process id into the lock file, for the messages of other
// openers, and returns what was there before.
func writePID(f *os.File) (before []byte) {
	before, _ = io.ReadAll(io.NewSectionReader(f, 0, maxLockBytes)) // what cannot be read is not put back
	overwriteLock(f, fmt.Appendln(nil, os.Getpid()))
	return before
}

// overwriteLock gives the lock file another content, nil for none. It ignores
// errors: on a full disk there is no room for the id, and the lock holds
// without it. A shared lock has no file, or one that it cannot write to.
func overwriteLock(f *os.File, content []byte) {
	if f != nil && f.Truncate(0) == nil {
		_, _ = f.WriteAt(content, 0)
	}
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
