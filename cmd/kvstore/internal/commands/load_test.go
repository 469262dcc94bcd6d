package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		deadline := time.Date(2100, 1, 1, 0, 0, 0, 1, time.UTC)
		if _, isTSV := format.(lines.TSV); isTSV {
			deadline = time.Time{} // it has none
		}
		for i, value := range values {
			p := lines.Pair{Key: fmt.Append(nil, i%6), Value: []byte(value)}
			if i%2 == 1 { // with the first of the two large values
				p.Expires = deadline
			}
			input = append(format.Append(input, p), '\n')
		}
		l := &loader{app: newApp(nil, io.Discard, io.Discard), fromLine: 1, quiet: true, progress: &progress{}}
		l.app.dir = filepath.Join(t.TempDir(), "data")
		if err := l.load(bytes.NewReader(input), format); err != nil {
			t.Fatal(err)
		}
		store, err := kvstore.Open(l.app.dir)
		if err != nil {
			t.Fatal(err)
		}
		if l.keys != int64(len(values)) || l.line != int64(len(values)) {
			t.Errorf("%T: %d keys, %d lines", format, l.keys, l.line)
		}
		for i, value := range values {
			if got, _ := store.Get(fmt.Sprint(i)); i > 0 && i < 6 && string(got) != value {
				t.Errorf("%+v: key %d has %.10q…, %d bytes", format, i, got, len(got))
			}
			want := time.Time{}
			if i%2 == 1 {
				want = deadline
			}
			if got, _ := store.Deadline(fmt.Sprint(i)); i > 0 && i < 6 && !got.Equal(want) {
				t.Errorf("%+v: key %d has the deadline %v, want %v", format, i, got, want)
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
		"k\x00\t\x00v\x00\n\x00", "\x00k\x00\t\x00v\x00\n", "\n\x00k\x00\t\x00v\x00\n\x00",
	} {
		for _, format := range dumpFormats {
			wantRefused(t, exitUsage, "UTF-16", input, "--format", format, "--max-errors", "-1", "-")
		}
	}
}

// TestLoadRefusedAtTheBeginning: input that is refused before anything of it is
// stored makes no store.
func TestLoadRefusedAtTheBeginning(t *testing.T) {
	wantRefused(t, exitUsage, "line 1: ", "{}\n", "-")
	wantRefused(t, exitUsage, "line 1: ", "{}\n"+`{"key":"a","value":"1"}`, "-")
	wantRefused(t, exitUsage, "line 3: ", "\n\n{}\n", "-")
	wantRefused(t, exitUsage, "line 2: ", "{}\n{}\n", "--max-errors", "1", "-")
	wantRefused(t, exitUsage, "--from-line 3: ", "\n", "--from-line", "3", "-")
	wantRefused(t, exitIO, "read ", "", t.TempDir())
	wantRefused(t, exitIO, "open ", "", filepath.Join(t.TempDir(), "none"))
}

// wantRefused requires that a load fails with a message, that it promises
// nothing about lines, and that nothing is left.
func wantRefused(t *testing.T, code int, message, input string, args ...string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	var stderr bytes.Buffer
	got := Run(append([]string{"load", "--dir", dir}, args...), strings.NewReader(input), io.Discard, &stderr)
	if text := stderr.String(); got != code || !strings.Contains(text, message) || strings.Contains(text, "durable") {
		t.Errorf("%q, %q: exit code %d, %s", args, input, got, text)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q, %q: the directory is there: %v", args, input, err)
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
