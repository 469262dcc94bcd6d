//go:build race

package table

// raceEnabled tells tests that count, or that would take too long, that the race detector is on.
const raceEnabled = true
