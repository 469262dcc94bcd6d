//go:build !linux

package kvstore_test

import "testing"

// onTmpfs knows only Linux's.
func onTmpfs(*testing.B, string) bool { return false }
