//go:build race

package table

// raceEnabled is for tests that count, or that would take too long under the
// race detector.
const raceEnabled = true
