package commands

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

// TestLoadOverwrites: of two lines with the same key, the later one counts,
// however many batches are between them and behind them.
func TestLoadOverwrites(t *testing.T) {
	const keys = 30
	value := strings.Repeat("x", batchBytes/10) // ten lines are a batch
	var input bytes.Buffer
	for _, round := range []string{"old", "new"} {
		for i := range keys {
			fmt.Fprintf(&input, "%02d\t%s%s\n", i, round, value)
		}
	}
	dir := filepath.Join(t.TempDir(), "data")
	var stderr bytes.Buffer
	a := &app{stdin: &input, stdout: io.Discard, stderr: &stderr}
	if code := a.run([]string{"load", "--dir", dir, "--format", "tsv", "-"}); code != exitDone {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	if want := fmt.Sprintf("%d keys loaded from %d lines", 2*keys, 2*keys); !strings.Contains(stderr.String(), want) {
		t.Errorf("got %q, want %q", &stderr, want)
	}
	store, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if got, _ := store.Get(fmt.Sprintf("%02d", i)); string(got) != "new"+value {
			t.Errorf("key %02d has %.3q and %d bytes more", i, got, len(got)-3)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLoadDoesNotWait: lines that have come are handed on, although there are
// too few for a batch and the input has not ended.
func TestLoadDoesNotWait(t *testing.T) {
	in, input := io.Pipe()
	r := newLoadReader(in, lines.TSV{}, 1, math.MaxInt64)
	go r.run()
	for n := range int64(3) {
		if _, err := fmt.Fprintf(input, "a\t%d\n", n); err != nil {
			t.Fatal(err)
		}
		batch := <-r.full
		if batch.writes.Len() != 1 || batch.line != n+1 {
			t.Errorf("%d writes up to line %d, want one up to line %d", batch.writes.Len(), batch.line, n+1)
		}
		r.recycle(batch)
	}
	if err := input.Close(); err != nil {
		t.Fatal(err)
	}
	for batch := range r.full {
		if n := batch.writes.Len(); n > 0 {
			t.Errorf("%d writes that were not in the input", n)
		}
	}
	if r.err != nil {
		t.Error(r.err)
	}
}
