//go:build !linux

package host

import "runtime"

// ResidentBytes returns about the resident memory of this process: what the Go
// runtime has obtained from the system and not returned.
func ResidentBytes() (int64, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased), nil
}
