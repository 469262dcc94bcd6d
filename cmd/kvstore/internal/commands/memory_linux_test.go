//go:build !race

package commands

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLoadMemory: the peak of load, with the store in it, is at most four times
// a line that is very long. See docs/CLI.md.
func TestLoadMemory(t *testing.T) {
	const size, most, base = 64 << 20, 4, 32 << 20 // base is what a process takes anyway
	plain := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
	for name, write := range map[string]func(dst []byte) []byte{
		"plain.ndjson": func(dst []byte) []byte {
			text := bytes.ReplaceAll(plain[:size*16/17], []byte("\n"), []byte(`\n`))
			return append(append(append(dst, `{"key":"k","value":"`...), text...), "\"}\n"...)
		},
		"base64.ndjson": func(dst []byte) []byte {
			dst = append(dst, `{"key":"k","value64":"`...)
			return append(base64.StdEncoding.AppendEncode(dst, plain[:size/4*3]), "\"}\n"...)
		},
		"plain.tsv": func(dst []byte) []byte {
			text := bytes.ReplaceAll(plain[:size*16/17], []byte("\n"), []byte(`\n`))
			return append(append(append(dst, "k\t"...), text...), '\n')
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, write(nil), 0o600); err != nil {
				t.Fatal(err)
			}
			peak := peakOf(t, "load", "--quiet", "--dir", filepath.Join(dir, "data"), file)
			if peak > most*size+base {
				t.Errorf("%d MiB for a line of %d MiB", peak>>20, size>>20)
			}
			t.Logf("%d MiB, %.1f times the line", peak>>20, float64(peak)/size)
		})
	}
}

// peakOf runs a command, which must succeed, and returns the most memory that
// was resident, in bytes.
func peakOf(t *testing.T, args ...string) int64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kvstore", args...)
	cmd.Env = append(os.Environ(), peakEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var peak int64
	if _, err := fmt.Sscanf(strings.TrimSpace(string(out)), "VmHWM: %d kB", &peak); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return peak << 10
}
