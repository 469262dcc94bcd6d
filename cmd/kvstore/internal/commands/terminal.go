package commands

import (
	"os"

	"golang.org/x/term"
)

// isTerminal reports whether stream, one of the process's, is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// hasColour reports whether stream is to have colour: https://no-color.org.
func hasColour(stream any) bool {
	return isTerminal(stream) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// isFile reports whether stream is a file in the narrow sense, neither a terminal nor a pipe.
func isFile(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}
