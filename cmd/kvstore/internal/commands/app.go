// Package commands is the command line of kvstore: its subcommands, flags, exit
// codes and signals.
package commands

import (
	"fmt"
	"io"
	"strings"
)

// Run executes a command line, without the program's name, and returns the exit
// code. It prints errors to stderr.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) (exitCode int) {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	return a.run(args)
}

// app is what all commands share: the streams of the process, and the flags of
// the root. It is for one goroutine.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	dir     string // --dir; see dataDir
	started bool   // a command's own code has begun, so an error is no usage error
}

func (a *app) run(args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil {
		return exitDone
	}
	if !a.started {
		err = usageError{err}
	}
	code := exitCode(err)
	if code == exitPipe {
		return code // the reader has gone, and wants no message
	}
	a.printError(err)
	if !a.started {
		a.printf("usage: %s\nSee '%s --help'.", cmd.UseLine(), cmd.CommandPath())
	}
	return code
}

// printError prints an error with the program's name, each joined error on a
// line. Errors of the library lose their prefix, which is the same.
func (a *app) printError(err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		a.warnf("%s", strings.TrimPrefix(line, "kvstore: "))
	}
}

// warnf prints a line to the standard error, with the program's name.
func (a *app) warnf(format string, args ...any) { a.printf("kvstore: "+format, args...) }

// printf prints a line to the standard error.
func (a *app) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, format+"\n", args...) // there is no other place to report to
}
