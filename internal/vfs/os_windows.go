package vfs

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// exhausted lists the errors for a resource that ran out.
var exhausted = []error{
	syscall.ENOSPC, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_FULL, windows.ERROR_TOO_MANY_OPEN_FILES,
}

// nonblock is 0: there are no FIFOs in a directory of Windows.
const nonblock = 0

// syncDir does nothing: Windows has no fsync of a directory.
func syncDir(*os.File) error { return nil }

// namedExhausted makes the errors for a full disk match syscall.ENOSPC, which
// Windows itself never returns.
func namedExhausted(err error) error {
	if errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) {
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return err
}

// Lost implements [Dir]. An open file cannot be removed or replaced on Windows.
func (osDir) Lost(string, File, int64) string { return "" }
