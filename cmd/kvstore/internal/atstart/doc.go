// Package atstart knows which of the process's standard streams were closed
// when it started.
//
// Before main, Go's runtime opens /dev/null in the place of a standard stream
// that is closed. Nothing that runs later can tell that from a /dev/null which
// the starter has opened, as Python's subprocess.DEVNULL does. Only code in C
// runs early enough.
package atstart
