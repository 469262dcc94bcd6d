//go:build !linux

package host

import "os"

// InMemory reports whether dir is on a file system in memory. It is false on
// systems other than Linux, where that is not known.
func InMemory(string) (bool, error) { return false, nil }

// Datasync makes f durable.
func Datasync(f *os.File) error { return f.Sync() }
