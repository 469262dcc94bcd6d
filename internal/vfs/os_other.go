//go:build !linux

package vfs

// Sync is os.File's: fsync, F_FULLFSYNC on macOS, FlushFileBuffers on Windows.
func (f osFile) Sync() error { return f.File.Sync() }

// Allocate writes zeros, the one way to reserve space that works everywhere.
func (f osFile) Allocate(size int64) error { return namedExhausted(writeZeros(f.File, size)) }
