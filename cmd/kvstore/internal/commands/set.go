package commands

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"kvstore"
)

func newSet(a *app) *cobra.Command {
	var flags encodingFlags
	cmd := &cobra.Command{
		Use:   "set KEY VALUE|-",
		Short: "Set the value of a key",
		Long: `Set the value of KEY. When the command ends with 0, the write is on disk.

With - for VALUE, the value is what the standard input has, byte by byte, to its end;
with --hex or --base64 it is what that text stands for, white space around it left out.
Put -- before a KEY or VALUE that begins with a dash.

The store is created if it is not there. It is opened and closed for this one write,
which takes as long as reading all of it and writing a snapshot: use load for many.`,
		Example: `  kvstore set greeting hello
  kvstore set picture - < picture.png
  kvstore set --hex 00ff 0a0b
  kvstore set -- -1 minus`,
		Args: takes(2, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := flags.encoding().keys(args[:1])
			if err != nil {
				return err
			}
			value, err := a.value(flags.encoding(), args[1])
			if err != nil {
				return err
			}
			return a.writing(func(_ context.Context, s *kvstore.Store) error {
				return s.Set(keys[0], value)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// value returns what an argument or, with -, the standard input stands for.
func (a *app) value(e encoding, arg string) ([]byte, error) {
	if arg != "-" {
		return e.argument("value", arg)
	}
	const longest = 2*kvstore.MaxValueBytes + 2 // in hexadecimal, with a line's end; Set judges what is really too long
	text, err := io.ReadAll(io.LimitReader(a.stdin, longest))
	if err != nil {
		return nil, err
	}
	if e == plainText {
		return text, nil
	}
	value, err := e.decode(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, usagef("standard input: %w", err)
	}
	return value, nil
}
