package commands

import (
	"bufio"

	"github.com/spf13/cobra"

	"kvstore"
)

func newGet(a *app) *cobra.Command {
	var (
		flags  encodingFlags
		output = rawFormat
	)
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Long: `Print the value of KEY. Exit with 1 if the key is absent.

The output is the value as it is, byte by byte; on a terminal a newline follows if the
value does not end with one. With --hex or --base64, KEY and the value are in that
encoding, and a newline follows always.

The store is opened read-only, which takes as long as reading all of it.`,
		Example: `  kvstore get greeting
  kvstore get --base64 -o json AAEC
  kvstore get picture > picture.png`,
		Args: takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := flags.encoding().keys(args)
			if err != nil {
				return err
			}
			return a.reading(func(s *kvstore.Store) error {
				value, ok := s.Get(keys[0])
				if !ok {
					return notFoundError{keys[0]}
				}
				return a.printPair(output, flags.encoding(), keys[0], value)
			})
		},
	}
	flags.add(cmd)
	output.add(cmd)
	return cmd
}

// printPair prints the one pair that was asked for: just its value if raw, and an object, not an array, if JSON.
func (a *app) printPair(f format, e encoding, key string, value []byte) error {
	return a.print(func(w *bufio.Writer) error {
		switch f {
		case rawFormat:
			return a.writeValue(w, e, value)
		case jsonFormat:
			f = ndjsonFormat
		case tableFormat, ndjsonFormat:
		}
		return newPairPrinter(w, f, e).pair([]byte(key), value)
	})
}

func (a *app) writeValue(w *bufio.Writer, e encoding, value []byte) error {
	text := value
	if e != plainText {
		text = append(e.append(nil, value), '\n')
	} else if isTerminal(a.stdout) && (len(value) == 0 || value[len(value)-1] != '\n') {
		text = append(value, '\n')
	}
	_, err := w.Write(text)
	return err
}
