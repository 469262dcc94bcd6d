//go:build !cgo || !unix

package atstart

// Known is whether Closed knows.
const Known = false

// Closed reports whether the standard input (0) or output (1) was closed when
// the process started. Without cgo it returns false.
func Closed(int) bool { return false }
