package commands

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isPipe reports whether err is that of a write to a pipe without a reader.
func isPipe(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA)
}
