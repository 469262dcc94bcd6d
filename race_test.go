//go:build race

package kvstore_test

// raceEnabled tells tests that count, or that would take too long, that the race detector is on.
const raceEnabled = true
