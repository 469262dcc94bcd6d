package commands

import (
	"io"
	"io/fs"
	"os"
	"syscall"

	"kvstore/cmd/kvstore/internal/atstart"
)

// closedFile stands for a standard stream that was closed when the process
// started. Without it, results would vanish, and an absent input would be an
// empty one: see package atstart.
type closedFile struct{ name string }

func (f closedFile) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.name, Err: syscall.EBADF}
}

func (f closedFile) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EBADF}
}

// openAtStart returns stdin, or a closedFile.
func openAtStart(stdin io.Reader) io.Reader {
	if stdin == io.Reader(os.Stdin) && atstart.Closed(0) {
		return closedFile{"standard input"}
	}
	return stdin
}

// writableAtStart returns stdout, or a closedFile.
func writableAtStart(stdout io.Writer) io.Writer {
	if stdout == io.Writer(os.Stdout) && atstart.Closed(1) {
		return closedFile{"standard output"}
	}
	return stdout
}
