//go:build !linux

package commands

import "os"

// isMemory reports whether dir is not on a disk. Elsewhere than on Linux that is not found out.
func isMemory(string) (bool, error) { return false, nil }

func datasync(f *os.File) error { return f.Sync() }
