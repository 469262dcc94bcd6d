// Package commands is the command line of kvstore: its subcommands, flags, exit
// codes and signals.
package commands

import "io"

// Run executes a command line, without the program's name, and returns the exit
// code. It prints errors to stderr.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) (exitCode int) {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	return a.run(args)
}

// app is what all commands share: the streams of the process, and the flags of the root.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	dir     string // --dir; see dataDir
	running bool   // a command's own code has begun: an error from now on is no error of usage
}
