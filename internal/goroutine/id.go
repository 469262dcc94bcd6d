// Package goroutine tells goroutines apart. Go has no call for that, on
// purpose: nothing that a program does may depend on it. The store uses it to
// explain a mistake, and works without.
package goroutine

import (
	"bytes"
	"runtime"
	"strconv"
)

// ID returns the number of the calling goroutine, which no other goroutine has
// or will have; 0 if it cannot be found out. It takes about a microsecond: the
// number is in the first line of a stack trace ("goroutine 1 [running]:").
func ID() uint64 {
	var trace [64]byte
	fields := bytes.Fields(trace[:runtime.Stack(trace[:], false)])
	if len(fields) < 2 {
		return 0
	}
	id, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return id
}
