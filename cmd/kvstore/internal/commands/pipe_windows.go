package commands

import (
	"errors"
	"syscall"
)

// What a write to a pipe returns that nobody reads any more: ERROR_BROKEN_PIPE and ERROR_NO_DATA.
const (
	errorBrokenPipe syscall.Errno = 109
	errorNoData     syscall.Errno = 232
)

// isPipe reports whether err says that who read the output has gone.
func isPipe(err error) bool { return errors.Is(err, errorBrokenPipe) || errors.Is(err, errorNoData) }
