//go:build !windows

package commands

import (
	"errors"
	"syscall"
)

// isPipe reports whether err is that of a write to a pipe without a reader.
func isPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
