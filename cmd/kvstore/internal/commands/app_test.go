package commands

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode"
)

// TestMessagesArePrintable: no message has a character that a terminal obeys,
// wherever it comes from.
func TestMessagesArePrintable(t *testing.T) {
	const evil = "\x1b[2J\u202e\u2028\u009b"
	for _, args := range [][]string{
		{evil},
		{"get", "--" + evil},
		{"get", evil, evil},
		{"help", evil},
		{"completion", evil},
		{"--dir", t.TempDir() + "/" + evil, "get", "a"},
		{"--dir", t.TempDir(), "get", evil},
		{"--dir", evil, "load", evil + ".tsv"},
		{"--dir", evil, "dump", evil + "/x"},
		{"--dir", evil, "restore", evil, evil},
		{"--dir", evil, "bench"},
		{"salvage", evil, evil},
		{"set", "--until", evil, "a", "b"},
		{"expire", "--ttl", evil, "a"},
	} {
		var stderr bytes.Buffer
		if code := Run(args, nil, io.Discard, &stderr); code == exitDone {
			t.Errorf("%q: exit code 0", args)
		}
		text := strings.ReplaceAll(stderr.String(), "\n", "")
		if at := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); at >= 0 || text == "" {
			t.Errorf("%q: %q", args, &stderr)
		}
	}
}
