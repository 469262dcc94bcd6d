//go:build !linux

package vfs

// Forget is a no-op: this system has no call for it, or none worth its code.
func (f osFile) Forget() error { return nil }
