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
	code := Run([]string{"load", "--dir", dir, "--format", "tsv", "-"}, &input, io.Discard, &stderr)
	if code != exitDone {
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

// TestLoadLargeValues: values that are too large to be copied into a batch
// arrive as well, in all formats, between others and one after the other,
// although they lie in the memory of their lines.
func TestLoadLargeValues(t *testing.T) {
	large := func(c string) string { return strings.Repeat(c, largeBytes+1) }
	values := []string{"1", large("a"), large("\\"), "2", "3", "4", "5"}
	for _, format := range []lines.Codec{
		lines.NDJSON{}, lines.NDJSON{Encoding: lines.Base64}, lines.TSV{}, lines.TSV{Encoding: lines.Hex},
	} {
		var input []byte
		for i, value := range values {
			input = append(format.Append(input, fmt.Append(nil, i%6), []byte(value)), '\n')
		}
		dir := filepath.Join(t.TempDir(), "data")
		store, err := kvstore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		l := &loader{app: newApp(nil, io.Discard, io.Discard), fromLine: 1, quiet: true, progress: &progress{}}
		if err := l.load(store, bytes.NewReader(input), format); err != nil {
			t.Fatal(err)
		}
		if l.keys != int64(len(values)) || l.line != int64(len(values)) {
			t.Errorf("%T: %d keys, %d lines", format, l.keys, l.line)
		}
		for i, value := range values {
			if got, _ := store.Get(fmt.Sprint(i)); i > 0 && i < 6 && string(got) != value {
				t.Errorf("%+v: key %d has %.10q…, %d bytes", format, i, got, len(got))
			}
		}
		if got, _ := store.Get("0"); string(got) != "5" {
			t.Errorf("%+v: the last value is %.10q", format, got)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLoadRefusesOtherEncodings: nothing is stored of UTF-16 and UTF-32,
// however many bad lines are tolerated.
func TestLoadRefusesOtherEncodings(t *testing.T) {
	for _, input := range []string{
		"\xff\xfek\x00\t\x00v\x00\n\x00", "\xfe\xff\x00k\x00\t\x00v\x00\n",
		"\xff\xfe\x00\x00", "\x00\x00\xfe\xff\x00",
	} {
		for _, format := range dumpFormats {
			dir := filepath.Join(t.TempDir(), "data")
			var stderr bytes.Buffer
			args := []string{"load", "--dir", dir, "--format", format, "--max-errors", "-1", "-"}
			if code := Run(args, strings.NewReader(input), io.Discard, &stderr); code != exitUsage ||
				!strings.Contains(stderr.String(), "UTF-16") {
				t.Errorf("%q: exit code %d, %s", input, code, &stderr)
			}
			var count bytes.Buffer
			code := Run([]string{"count", "--dir", dir}, nil, &count, io.Discard)
			if code != exitDone || count.String() != "0\n" {
				t.Errorf("%q: exit code %d, %s keys", input, code, &count)
			}
		}
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
