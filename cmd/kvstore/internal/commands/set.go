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
	var flags encodingFlags
	cmd := &cobra.Command{
		Use:   "set KEY VALUE|-",
		Short: "Set the value of a key",
		Long: `Set the value of KEY. When the exit code is 0, the write is on disk.

With - for VALUE, the value is the standard input, byte by byte, up to its end. With
--hex or --base64 as well, the value is what that text encodes, without white space
around it. Put -- before a KEY or VALUE that begins with a dash.

The command creates the store if it does not exist. It opens and closes the store for
this one write, which takes as long as reading all of it and writing a snapshot: use
load for many writes.`,
		Example: `  kvstore set greeting hello
  kvstore set picture - < picture.png
  kvstore set --hex 00ff 0a0b
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
			return a.withWriter(func(_ context.Context, s *kvstore.Store) error {
				return s.Set(keys[0], value)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// value decodes an argument or, for "-", the standard input.
func (a *app) value(flags *encodingFlags, arg string) ([]byte, error) {
	if arg != "-" {
		return flags.decode("value", arg)
	}
	// The longest value in hexadecimal, with "\r\n". Set rejects what is too
	// long.
	const limit = 2*kvstore.MaxValueBytes + 2
	text, err := io.ReadAll(io.LimitReader(a.stdin, limit))
	if err != nil {
		return nil, err
	}
	if flags.encoding() == lines.Plain {
		return text, nil
	}
	value, err := flags.encoding().Decode(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, usagef("standard input: %w", err)
	}
	return value, nil
}
