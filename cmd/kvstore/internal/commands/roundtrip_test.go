package commands

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

// load makes the same store of a dump, whatever bytes keys and values have, in
// every format and encoding, with the same deadlines in those that have them.
// rapid prints the seed of a failure.
func TestDumpLoad(t *testing.T) {
	awkward := rapid.SampledFrom([]string{
		"\t", "\n", "\r", "\r\n", "\\", "\\t", `\x41`, `"`, "\x00", "\x7f", "\xff", "\xed\xa0\x80",
		"é", "\u2028", "\ufffd", "\U0001f600", "=",
	})
	text := rapid.Custom(func(t *rapid.T) []byte {
		return bytes.Join(rapid.SliceOfN(rapid.OneOf(
			rapid.Map(awkward, func(s string) []byte { return []byte(s) }),
			rapid.SliceOf(rapid.Byte()),
			rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
		), 0, 4).Draw(t, "pieces"), nil)
	})
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.SampledFrom(dumpFormats).Draw(t, "format")
		deadlines := rapid.Just(time.Time{})
		if format == "ndjson" {
			deadlines = rapid.OneOf(deadlines, rapid.Map(
				rapid.Int64Range(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(), math.MaxInt64),
				func(ns int64) time.Time { return time.Unix(0, ns) },
			))
		}
		pairs := rapid.MapOf(
			rapid.Map(text, func(b []byte) string { return string(b) }),
			rapid.Custom(func(t *rapid.T) lines.Pair {
				return lines.Pair{Value: text.Draw(t, "value"), Expires: deadlines.Draw(t, "deadline")}
			}),
		).Draw(t, "pairs")
		flags := append(
			rapid.SampledFrom([][]string{{}, {"--hex"}, {"--base64"}}).Draw(t, "encoding"), "--format", format,
		)
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
		fill(t, first, pairs)
		sorted := "--sorted=" + strconv.FormatBool(rapid.Bool().Draw(t, "sorted"))
		text := runCommand(t, nil, append([]string{"dump", "--dir", first, sorted}, flags...)...)
		runCommand(t, text, append([]string{"load", "--quiet", "--dir", second, "-"}, flags...)...)
		compare(t, second, pairs)
	})
}

// runCommand runs a command in this process and returns its output. The command
// must succeed without a message.
func runCommand(t *rapid.T, stdin []byte, args ...string) []byte {
	var stdout, stderr bytes.Buffer
	if code := Run(args, bytes.NewReader(stdin), &stdout, &stderr); code != exitDone || stderr.Len() > 0 {
		t.Fatalf("%q exits with %d: %s", args, code, &stderr)
	}
	return stdout.Bytes()
}

func fill(t *rapid.T, dir string, pairs map[string]lines.Pair) {
	store, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b kvstore.Batch
	for key, p := range pairs {
		b.SetUntil(key, p.Value, p.Expires)
	}
	if err := store.Apply(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func compare(t *rapid.T, dir string, pairs map[string]lines.Pair) {
	store, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if store.Len() != len(pairs) {
		t.Fatalf("%d keys, want %d", store.Len(), len(pairs))
	}
	for key, want := range pairs {
		if value, ok := store.Get(key); !ok || !bytes.Equal(value, want.Value) {
			t.Fatalf("key %q has %q, %t, want %q", key, value, ok, want.Value)
		}
		if deadline, _ := store.Deadline(key); !deadline.Equal(want.Expires) {
			t.Fatalf("key %q has the deadline %v, want %v", key, deadline, want.Expires)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
