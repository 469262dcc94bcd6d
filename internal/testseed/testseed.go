// Package testseed gives a test the seed of its choices. The test logs it, and
// KVSTORE_SEED repeats it. What the scheduler, the hash of the table and the id
// of a store choose has no seed.
package testseed

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// env names a seed, which then is that of all tests.
const env = "KVSTORE_SEED"

// New returns the seed of a test. It is the same at each call if env names it:
// a test that needs several seeds derives them from one.
func New(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(env); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", env, err)
		}
	}
	t.Logf("%s=%d", env, seed)
	return seed
}

// Rand returns a source of choices that begins with the seed of a test.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(New(t), 0))
}
