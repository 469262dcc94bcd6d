//go:build !unix

package commands

import (
	"io/fs"
	"os"
)

// inherit gives f the mode of the file that it replaces.
func inherit(f *os.File, old fs.FileInfo) error { return f.Chmod(old.Mode().Perm()) }
