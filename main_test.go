package kvstore_test

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks after all tests that no goroutine of any store is left.
// Stores without a Logger are silent, since many of them fail as they should.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}
