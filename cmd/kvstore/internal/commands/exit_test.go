package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"kvstore"
)

// Errors of all kinds have their exit code, including those that no script can
// cause.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{notFoundError{"a"}, exitNotFound},
		{usagef("no"), exitUsage},
		{usagef("line 3: %w", kvstore.ErrCorrupt), exitUsage},
		{kvstore.ErrKeyTooLarge, exitUsage},
		{kvstore.ErrValueTooLarge, exitUsage},
		{kvstore.ErrDeadline, exitUsage},
		{fs.ErrExist, exitUsage},
		{&kvstore.CorruptError{File: "wal"}, exitCorrupt},
		{kvstore.ErrVersion, exitCorrupt},
		{kvstore.ErrLocked, exitLocked},
		{kvstore.ErrFailed, exitIO},
		{kvstore.ErrStoreFull, exitIO},
		{syscall.ENOSPC, exitIO},
		{fs.ErrNotExist, exitIO},
		{errInterrupted, exitInterrupted},
	} {
		if got := exitCode(errors.Join(fmt.Errorf("kvstore: %w", c.err), errors.New("and Close"))); got != c.code {
			t.Errorf("%v exits with %d, want %d", c.err, got, c.code)
		}
	}
}
