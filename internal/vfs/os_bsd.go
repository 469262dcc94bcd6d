//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package vfs

// namedExhausted returns err: on these systems a full disk is ENOSPC already.
func namedExhausted(err error) error { return err }
