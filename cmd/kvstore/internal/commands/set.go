package commands

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

func newSet(a *app) *cobra.Command {
	var (
		flags    encodingFlags
		deadline deadlineFlags
	)
	cmd := &cobra.Command{
		Use:   "set KEY VALUE|-",
		Short: "Set the value of a key",
		Long: `Set the value of KEY. When the exit code is 0, the write is on disk.

With - for VALUE, the value is the standard input, byte by byte, up to its end. With
--hex or --base64 as well, the value is what that text encodes; white space in it and a
byte order mark before it do not count, so the text may be wrapped. Put -- before a KEY
or VALUE that begins with a dash.

With --ttl or --until, the key has a deadline, at which it is gone: --ttl is counted
from now, --until is a time. A time that has passed deletes the key. Without these
flags, the key stays, also if it had a deadline.

The command creates the store if it does not exist. It opens and closes the store for
this one write, which takes as long as reading all of it and writing a snapshot: use
load for many writes.`,
		Example: `  kvstore set greeting hello
  kvstore set picture - < picture.png
  kvstore set --hex 00ff 0a0b
  kvstore set --ttl 30m session 4711
  kvstore set -- -1 minus`,
		Args: argCount(2, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := flags.keys(args[:1])
			if err != nil {
				return err
			}
			value, err := a.value(&flags, args[1])
			if err != nil {
				return err
			}
			return a.withWriter(toCreate, func(_ context.Context, s *kvstore.Store) error {
				return s.SetUntil(keys[0], value, deadline.at(s))
			})
		},
	}
	flags.add(cmd)
	deadline.add(cmd)
	return cmd
}

// value decodes an argument or, for "-", the standard input.
func (a *app) value(flags *encodingFlags, arg string) ([]byte, error) {
	if arg != "-" {
		return flags.decode("value", arg)
	}
	encoded := flags.encoding() != lines.Plain
	in := a.stdin
	if encoded {
		in = withoutSpace{in}
	}
	// The longest value in hexadecimal, a byte order mark, and one byte more.
	// Set rejects what is too long.
	const limit = 2*kvstore.MaxValueBytes + len(lines.ByteOrderMark) + 2
	text, err := io.ReadAll(io.LimitReader(in, int64(limit)))
	if err != nil || !encoded {
		return text, err
	}
	value, err := flags.encoding().Decode(strings.TrimPrefix(string(text), lines.ByteOrderMark))
	if err != nil {
		return nil, usagef("standard input: %w", err)
	}
	return value, nil
}

// withoutSpace is a reader of text that leaves out white space.
type withoutSpace struct{ r io.Reader }

func (w withoutSpace) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	kept := b[:0]
	for _, char := range b[:n] {
		if !strings.ContainsRune(" \t\r\n\v\f", rune(char)) {
			kept = append(kept, char)
		}
	}
	return len(kept), err
}
