//go:build !linux || !(amd64 || arm64)

package vfs

// startedSync is never one: there is no way to begin a sync and not to wait for it.
type startedSync struct{}

// StartSync does nothing.
func (f osFile) StartSync() {}

func (*startedSync) changed() {}

func (*startedSync) settle() (done bool, err error) { return false, nil }
