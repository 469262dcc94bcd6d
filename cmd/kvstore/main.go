// Command kvstore works with a store from the shell: it reads and writes keys, loads and dumps, makes backups and measures.
//
//	kvstore --dir DIR COMMAND
//
// See docs/CLI.md, or kvstore help.
package main

import (
	"io"
	"os"
)

func main() {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(a.run(os.Args[1:]))
}

// app is what all commands share: the streams of the process, and the flags of the root.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	dir     string // --dir; see dataDir
	running bool   // a command's own code has begun: an error from now on is no error of usage
}
