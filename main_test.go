package kvstore_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks after all tests that no goroutine of any store is left.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}
