//go:build !linux || !(amd64 || arm64)

package vfs

// Forget does nothing: there is no way to ask for it, or none worth its code.
func (f osFile) Forget() error { return nil }
