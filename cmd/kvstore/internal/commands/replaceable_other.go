//go:build !linux

package commands

// replaceable does nothing on this system: that a file must not be replaced
// shows when it is.
func replaceable(string) error { return nil }
