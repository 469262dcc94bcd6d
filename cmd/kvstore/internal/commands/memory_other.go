//go:build !linux

package commands

import "runtime"

// residentBytes is how much memory this process has: what Go has taken and not given back.
func residentBytes() (int64, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased), nil
}
