// Package tests uses a store as its users do, through the public API alone, and
// attacks it by means of the operating system: SIGKILL, power cuts of a real file
// system, and the limits that a system sets to disks, files and descriptors.
//
// Tests that need root, a loop device or a mount are skipped without it, and say
// so. With KVSTORE_REQUIRE_LAYERS=1 they fail instead.
package tests

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain does the work of a child process, if this is one. Otherwise it runs
// the tests, and checks that they leave no goroutine of any store.
func TestMain(m *testing.M) {
	if runCrashChild() {
		return
	}
	goleak.VerifyTestMain(m)
}
