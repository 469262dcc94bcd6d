//go:build !windows

package commands

import (
	"errors"
	"syscall"
)

// isPipe reports whether err says that who read the output has gone.
func isPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
