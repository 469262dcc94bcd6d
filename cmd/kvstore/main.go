// Command kvstore works with a store from the shell: it reads and writes keys,
// loads and dumps them, makes backups, inspects files and measures.
//
//	kvstore --dir DIR COMMAND
//
// See docs/CLI.md, or run kvstore help.
package main

import (
	"os"

	"kvstore/cmd/kvstore/internal/commands"
)

func main() {
	os.Exit(commands.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
