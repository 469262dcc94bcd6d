package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"kvstore"
)

// The exit codes. Scripts may rely on them.
const (
	exitDone        = 0
	exitNotFound    = 1
	exitUsage       = 2
	exitCorrupt     = 3
	exitLocked      = 4
	exitIO          = 5
	exitInterrupted = 130 // what shells report for a process that SIGINT ended
	exitPipe        = 141 // likewise for SIGPIPE
)

// usageError is an error in the arguments or the input.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef is fmt.Errorf for a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// notFoundError is returned for a key that is absent.
type notFoundError struct{ key string }

func (e notFoundError) Error() string { return fmt.Sprintf("not found: %q", e.key) }

// errInterrupted is returned by a command that a signal has stopped.
var errInterrupted = errors.New("interrupted")

// interrupted replaces the error of a canceled context by errInterrupted.
func interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	return err
}

// exitCode classifies an error. A usageError may wrap one of the others, so it
// comes first.
func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[notFoundError](err); ok {
		return exitNotFound
	}
	switch {
	case isPipe(err):
		return exitPipe
	case isOneOf(err, kvstore.ErrCorrupt, kvstore.ErrVersion):
		return exitCorrupt
	case errors.Is(err, kvstore.ErrLocked):
		return exitLocked
	case isOneOf(err, kvstore.ErrKeyTooLarge, kvstore.ErrValueTooLarge, kvstore.ErrBatchTooLarge,
		kvstore.ErrDeadline, kvstore.ErrInvalidConfig, fs.ErrExist):
		return exitUsage
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	default:
		return exitIO
	}
}

func isOneOf(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
