// Package commands is the command line of kvstore: its subcommands, flags, exit
// codes, signals and streams.
package commands

import (
	"fmt"
	"io"
	"strings"

	"kvstore/cmd/kvstore/internal/lines"
)

// Run executes a command line, without the program's name, and returns the exit
// code. It prints errors to stderr.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) (exitCode int) {
	return newApp(stdin, stdout, stderr).run(args)
}

// app is what all commands share: the streams of the process, its signals, and
// the flags of the root. It is for one goroutine.
type app struct {
	stdin  io.Reader // immutable
	stdout *stream   // immutable
	stderr *stream   // immutable

	interruption
	dir     string   // --dir; see dataDir
	wait    waitFlag // --wait
	started bool     // a command's own code has begun, so an error is no usage error
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	a := &app{interruption: newInterruption()}
	a.stdin = openAtStart(stdin)
	a.stdout = &stream{w: writableAtStart(stdout), ctx: a.ctx, patience: patience}
	a.stderr = &stream{w: stderr, ctx: a.ctx, patience: patience}
	return a
}

func (a *app) run(args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil || a.stdout.err != nil {
		err = a.stdout.err // of help as well, which reports no error
	} else if !a.started {
		err = usageError{err}
	}
	if err == nil {
		return exitDone
	}
	code := exitCode(err)
	if code == exitPipe {
		return code // the reader has gone, and wants no message
	}
	a.printError(err)
	if code == exitUsage && !a.started {
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

// printf prints lines to the standard error. What a terminal might obey, such
// as an escape sequence in a file's name, is escaped.
func (a *app) printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for line := range strings.SplitSeq(text, "\n") {
		_, _ = a.stderr.Write([]byte(lines.Printable(line) + "\n")) // there is no other place to report to
	}
}
