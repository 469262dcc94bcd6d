package commands

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPhases reports the time that load, verify and salvage take for each
// key, and the processor time in it, with the opening and closing of stores. An
// iteration is a whole store, so run it with -benchtime 3x. See
// docs/OPERATIONS.md. KVSTORE_BENCH_DIR names the directory, by default the
// system's one for temporary files.
func BenchmarkPhases(b *testing.B) {
	const keys = 1_000_000
	top, err := os.MkdirTemp(os.Getenv("KVSTORE_BENCH_DIR"), "kvstore-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(top) }() // the system's temporary directory is cleaned anyway
	var input bytes.Buffer
	for i := range keys {
		fmt.Fprintf(&input, "%016d\t%0128d\n", i, i)
	}
	file := filepath.Join(top, "input.tsv")
	if err := os.WriteFile(file, input.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	store := filepath.Join(top, "store")
	for _, args := range [][]string{
		{"load", "--quiet", "--dir", store, file},
		{"verify", "--dir", store},
		{"salvage", store},
	} {
		b.Run(args[0], func(b *testing.B) {
			begun := processorTime(b)
			for b.Loop() {
				args := slices.Clone(args)
				switch args[0] {
				case "load":
					if err := os.RemoveAll(store); err != nil {
						b.Fatal(err)
					}
				case "salvage":
					args = append(args, filepath.Join(top, fmt.Sprint("saved ", time.Now().UnixNano())))
				}
				var stderr bytes.Buffer
				if code := Run(args, nil, io.Discard, &stderr); code != exitDone {
					b.Fatalf("exit code %d: %s", code, &stderr)
				}
			}
			all := float64(b.N) * keys
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/all, "ns/key")
			b.ReportMetric(float64((processorTime(b)-begun).Nanoseconds())/all, "processor-ns/key")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// processorTime returns the time for which this process has had a processor, in
// the kernel too.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
