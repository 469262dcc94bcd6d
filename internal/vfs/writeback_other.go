//go:build !linux

package vfs

// StartWrite is a no-op: this system has no call for it.
func (f osFile) StartWrite(int64, int64) error { return nil }

// WriteBack is Sync: this system has no call that does less.
func (f osFile) WriteBack(int64, int64) error { return SyncAside(f) }
