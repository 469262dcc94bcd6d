//go:build !linux

package kvstore_test

import "testing"

// onTmpfs returns false: it knows the tmpfs of Linux only.
func onTmpfs(*testing.B, string) bool { return false }
