package vfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	errSharingViolation syscall.Errno = 32
	errHandleDiskFull   syscall.Errno = 39
	errDiskFull         syscall.Errno = 112
)

// exhausted lists the errors for a resource that ran out.
var exhausted = []error{syscall.ENOSPC, errHandleDiskFull, errDiskFull}

// lockFile opens the file with share mode 0, or for a shared lock with a mode
// that admits only readers. Windows enforces the mode and ends it with the
// process. The holder's process id cannot be read through it.
func lockFile(root *os.Root, name string, shared bool) (*os.File, error) {
	path := filepath.Join(root.Name(), name)
	path16, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	access, share, mode := uint32(syscall.GENERIC_READ|syscall.GENERIC_WRITE), uint32(0), uint32(syscall.OPEN_ALWAYS)
	if shared {
		access, share, mode = syscall.GENERIC_READ, syscall.FILE_SHARE_READ, syscall.OPEN_EXISTING
	}
	h, err := syscall.CreateFile(path16, access, share, nil, mode, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case err == nil:
		return os.NewFile(uintptr(h), path), nil
	case errors.Is(err, errSharingViolation):
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
	if errors.Is(err, errDiskFull) || errors.Is(err, errHandleDiskFull) {
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return err
}
