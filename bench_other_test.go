//go:build !linux

package kvstore_test

import (
	"testing"
	"time"
)

// onTmpfs returns false: it knows the tmpfs of Linux only.
func onTmpfs(*testing.B, string) bool { return false }

// processorTime returns 0 where the system is not asked.
func processorTime(testing.TB) time.Duration { return 0 }
