//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package vfs

import (
	"errors"
	"os"
)

// reserveBehind is not possible on these systems.
func reserveBehind(*os.File, int64) error { return errors.ErrUnsupported }
