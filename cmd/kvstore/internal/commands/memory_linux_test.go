//go:build !race

package commands

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kvstore"
)

// TestLoadMemory: the peak of load, with the value in the store, is at most
// three times a line that is very long, and what a process takes anyway. For a
// line of 32 MiB or more that is at most four times the line. See docs/CLI.md.
func TestLoadMemory(t *testing.T) {
	const most, base = 3, 32 << 20
	const text = "0123456789abcde\n"
	for _, row := range []struct {
		name  string
		size  int // of the line, about
		write func(dst []byte, size int) []byte
	}{
		{"plain.ndjson", 100 << 20, func(dst []byte, size int) []byte {
			dst = append(dst, `{"key":"k","value":"`...)
			return append(append(dst, strings.Repeat(`0123456789abcde\n`, size/17)...), "\"}\n"...)
		}},
		{"base64.ndjson", 40 << 20, func(dst []byte, size int) []byte {
			dst = append(dst, `{"key":"k","value64":"`...)
			return append(base64.StdEncoding.AppendEncode(dst, bytes.Repeat([]byte(text), size/4*3/16)), "\"}\n"...)
		}},
		{"plain.tsv", 40 << 20, func(dst []byte, size int) []byte {
			return append(append(append(dst, "k\t"...), strings.Repeat(`0123456789abcde\n`, size/17)...), '\n')
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, row.name)
			if err := os.WriteFile(file, row.write(nil, row.size), 0o600); err != nil {
				t.Fatal(err)
			}
			peak := peakOf(t, "load", "--quiet", "--dir", filepath.Join(dir, "data"), file)
			if peak > int64(most*row.size+base) {
				t.Errorf("%d MiB for a line of %d MiB", peak>>20, row.size>>20)
			}
			t.Logf("%d MiB, %.1f times the line", peak>>20, float64(peak)/float64(row.size))
		})
	}
}

// TestInspectMemory: verify, log and salvage hold one segment in memory, as
// well as garbage of its size before the collector comes, and some bytes for
// each key of a snapshot. salvage also makes a store, with two copies of a
// large value.
func TestInspectMemory(t *testing.T) {
	const (
		base    = 32 << 20 // what a process takes anyway
		segment = 64 << 20
		keys    = 1_000_000
	)
	dir := filepath.Join(t.TempDir(), "data")
	store, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }() // the commands read beside it
	var b kvstore.Batch
	for i := range keys {
		b.Set(fmt.Sprintf("%016d", i), nil)
	}
	if err := errors.Join(store.Apply(t.Context(), &b), store.Snapshot(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := store.Set("large", make([]byte, segment)); err != nil { // in a segment of its own
		t.Fatal(err)
	}
	table := store.Stats().MemoryMapped
	for _, row := range []struct {
		args []string
		most int64
	}{
		{[]string{"verify"}, 2*segment + 24*keys + base},
		{[]string{"log"}, 2*segment + base},
		{[]string{"salvage", dir, filepath.Join(t.TempDir(), "saved")}, 2*segment + 32*keys + table + base},
	} {
		peak := peakOf(t, append([]string{"--dir", dir}, row.args...)...)
		t.Logf("%s: %d MiB, at most %d", row.args[0], peak>>20, row.most>>20)
		if peak > row.most {
			t.Errorf("%s: %d bytes, want at most %d", row.args[0], peak, row.most)
		}
	}
}

// peakOf runs a command, which must succeed, and returns the most memory that
// was resident, in bytes.
func peakOf(t *testing.T, args ...string) int64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kvstore", args...)
	cmd.Env = append(os.Environ(), peakEnv+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	var peak int64
	if _, err := fmt.Sscanf(strings.TrimSpace(stderr.String()), "VmHWM: %d kB", &peak); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return peak << 10
}
