package vfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// exhausted lists the errors for a resource that ran out.
var exhausted = []error{syscall.ENOSPC, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_FULL}

// nonblock is 0: there are no FIFOs in a directory of Windows.
const nonblock = 0

// lockFile opens the file with share mode 0, or for a shared lock with a mode
// that admits only readers. Windows enforces the mode and ends it with the
// process. The holder's process id cannot be read through it.
func lockFile(root *os.Root, name string, shared bool) (*os.File, error) {
	path := filepath.Join(root.Name(), name)
	path16, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	access, share, mode := uint32(windows.GENERIC_READ|windows.GENERIC_WRITE), uint32(0), uint32(windows.OPEN_ALWAYS)
	if shared {
		access, share, mode = windows.GENERIC_READ, windows.FILE_SHARE_READ, windows.OPEN_EXISTING
	}
	h, err := windows.CreateFile(path16, access, share, nil, mode, windows.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case err == nil:
		return os.NewFile(uintptr(h), path), nil
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION):
		return nil, &LockedError{}
	default:
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
}

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
