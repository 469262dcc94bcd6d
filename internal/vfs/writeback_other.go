//go:build !linux || arm

package vfs

// StartWrite does nothing: there is no way to ask for it.
func (f osFile) StartWrite(int64, int64) error { return nil }

// WriteBack is Sync: there is nothing that does less.
func (f osFile) WriteBack(int64, int64) error { return SyncAside(f) }
