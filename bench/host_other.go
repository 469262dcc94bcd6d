//go:build !linux

package main

import (
	"errors"
	"os"
	"runtime"
	"time"
)

// Elsewhere the benchmarks run, but know less about the machine, and do not
// notice a disk that is none.

func datasync(f *os.File) error { return f.Sync() }

func refuseMemory(string) error { return nil }

func cpuTime() (time.Duration, bool) { return 0, false }

func residentBytes() (uint64, error) { return 0, errors.ErrUnsupported }

func hostFacts(string) []fact {
	return []fact{{"CPU", runtime.GOARCH}, {"kernel", runtime.GOOS}, {"disk and file system", unknown}}
}
