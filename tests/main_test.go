// Package tests uses a store as its users do, through the public API alone, and
// attacks it through the operating system: SIGKILL, power cuts of a real file
// system, and the limits of disks, files and descriptors.
//
// A test that needs root, a loop device or a mount is skipped without it, and
// says so. With KVSTORE_REQUIRE_LAYERS=1 it fails instead.
package tests

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

// TestMain does the work of a child process if this is one. Otherwise it runs
// the tests and checks that no goroutine of a store is left.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // stores that fail as they should are no news
	if runCrashChild() {
		return
	}
	goleak.VerifyTestMain(m)
}
