package commands

import (
	"bufio"

	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

func newGet(a *app) *cobra.Command {
	var (
		flags  encodingFlags
		output = rawFormat
	)
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Long: `Print the value of KEY. The exit code is 1 if the key is absent.

The output is the value itself, byte by byte. On a terminal, a newline follows if the
value does not end with one. With --hex or --base64, KEY and the value are in that
encoding, and a newline always follows. In JSON, a key with a deadline has "expires".

This opens the store read-only, which takes as long as reading all of it.`,
		Example: `  kvstore get greeting
  kvstore get --base64 -o json AAEC
  kvstore get picture > picture.png`,
		Args: argCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := flags.keys(args)
			if err != nil {
				return err
			}
			return a.withReader(func(s *kvstore.Store) error {
				pair := lines.Pair{Key: []byte(keys[0])}
				var there, stillThere bool
				pair.Value, there = s.Get(keys[0])
				pair.Expires, stillThere = s.Deadline(keys[0])
				if !there || !stillThere {
					return notFoundError{keys[0]}
				}
				return a.printPair(output, flags.encoding(), pair)
			})
		},
	}
	flags.add(cmd)
	output.add(cmd)
	return cmd
}

// printPair prints a single pair: its value alone if raw, and an object, not an
// array, if JSON.
func (a *app) printPair(f outputFormat, e lines.Encoding, pair lines.Pair) error {
	return a.print(func(w *bufio.Writer) error {
		switch f {
		case rawFormat:
			return a.writeValue(w, e, pair.Value)
		case jsonFormat:
			f = ndjsonFormat
		case tableFormat, ndjsonFormat:
		}
		return newPrinter(w, f, e, nil).Pair(pair)
	})
}

func (a *app) writeValue(w *bufio.Writer, e lines.Encoding, value []byte) error {
	text := value
	if e != lines.Plain {
		text = append(e.Append(nil, value), '\n')
	} else if isTerminal(a.stdout.w) && (len(value) == 0 || value[len(value)-1] != '\n') {
		text = append(value, '\n')
	}
	_, err := w.Write(text)
	return err
}
