package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"kvstore"
)

// The exit codes, which scripts may rely on.
const (
	exitDone        = 0
	exitNotFound    = 1
	exitUsage       = 2
	exitCorrupt     = 3
	exitLocked      = 4
	exitIO          = 5
	exitInterrupted = 130 // as of a process that SIGINT ended
	exitPipe        = 141 // as of one that SIGPIPE ended
)

// usageError is an error of who called: no attempt was made.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// errInterrupted is what ends a command that was asked to stop, when it has stopped.
var errInterrupted = errors.New("interrupted")

// usagef is fmt.Errorf for a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// notFoundError says which key is absent.
type notFoundError struct{ key string }

func (e notFoundError) Error() string { return fmt.Sprintf("not found: %q", e.key) }

// run executes a command line and returns the exit code.
func (a *app) run(args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil {
		return exitDone
	}
	if !a.running {
		err = usageError{err}
	}
	code := exitCode(err)
	if code == exitPipe {
		return code // nobody listens
	}
	a.complain(err)
	if !a.running {
		a.tell("usage: %s\nSee '%s --help'.", cmd.UseLine(), cmd.CommandPath())
	}
	return code
}

// exitCode classifies an error. A usageError may wrap one of the others, so it comes first.
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
	case isOneOf(err, kvstore.ErrKeyTooLarge, kvstore.ErrValueTooLarge, kvstore.ErrBatchTooLarge, kvstore.ErrInvalidConfig, fs.ErrExist):
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

// complain prints an error as the command's own, whoever it comes from. Joined errors have a line each.
func (a *app) complain(err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		a.warn("%s", strings.TrimPrefix(line, "kvstore: "))
	}
}

// warn prints a line on the standard error, with the program's name.
func (a *app) warn(format string, args ...any) { a.tell("kvstore: "+format, args...) }

// tell prints a line on the standard error.
func (a *app) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, format+"\n", args...) // there is nobody to tell that nobody can be told
}
