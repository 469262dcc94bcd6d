//go:build !linux

package vfs

// Sync implements [File] with os.File.Sync: fsync, F_FULLFSYNC on macOS,
// FlushFileBuffers on Windows.
func (f osFile) Sync() error { return f.File.Sync() }

// Allocate implements [File] by writing zeros, the only way to reserve space
// that works everywhere.
func (f osFile) Allocate(size int64) error { return namedExhausted(writeZeros(f.File, size)) }
