package commands

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"kvstore"
)

// load makes the same store of a dump, whatever bytes keys and values have, in
// every format and encoding. rapid prints the seed of a failure.
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
		pairs := rapid.MapOf(rapid.Map(text, func(b []byte) string { return string(b) }), text).Draw(t, "pairs")
		flags := append(
			rapid.SampledFrom([][]string{{}, {"--hex"}, {"--base64"}}).Draw(t, "encoding"),
			"--format", rapid.SampledFrom(dumpFormats).Draw(t, "format"),
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

func fill(t *rapid.T, dir string, pairs map[string][]byte) {
	store, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b kvstore.Batch
	for key, value := range pairs {
		b.Set(key, value)
	}
	if err := store.Apply(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func compare(t *rapid.T, dir string, pairs map[string][]byte) {
	store, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if store.Len() != len(pairs) {
		t.Fatalf("%d keys, want %d", store.Len(), len(pairs))
	}
	for key, want := range pairs {
		if value, ok := store.Get(key); !ok || !bytes.Equal(value, want) {
			t.Fatalf("key %q has %q, %t, want %q", key, value, ok, want)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
