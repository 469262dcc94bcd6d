//go:build !linux || !(amd64 || arm64)

package vfs

// Forget is a no-op: this system has no way to ask for it, or none worth its
// code.
func (f osFile) Forget() error { return nil }
