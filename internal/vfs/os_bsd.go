//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package vfs

// namedExhausted has nothing to do where a full disk is ENOSPC already.
func namedExhausted(err error) error { return err }
