package commands

import (
	"bufio"
	"errors"
	"iter"

	"github.com/spf13/cobra"

	"kvstore"
)

func newScan(a *app) *cobra.Command {
	c := &scanCommand{app: a, output: tableFormat}
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Print keys and values in order",
		Long: `Print the keys from --from to below --to that begin with --prefix, with their values, in
the order of their bytes. All bounds apply together; without any, all keys are printed.

The output is one of

  table   a line for each pair, for people: what cannot be printed is escaped, and what
          is longer than 64 characters is cut
  json    an array of {"key":…,"value":…}
  ndjson  an object on each line; this is what dump writes, and load reads
  raw     key, tab, value, newline, all as they are: ambiguous for keys and values with
          tabs or newlines in them, unless with --hex or --base64

What is not UTF-8 is "key64" and "value64" in JSON, in base64. The pairs are printed as
they are found, and none is kept.

The store is opened read-only, which takes as long as reading all of it, and an index of
its keys is built, which takes about a second for a few million.`,
		Example: `  kvstore scan --prefix user:
  kvstore scan --from 2026-01 --to 2026-02 -o ndjson
  kvstore scan --reverse --limit 10
  kvstore scan --hex --from 00ff -o raw`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error { return c.run() },
	}
	flags := cmd.Flags()
	flags.StringVarP(&c.prefix, "prefix", "p", "", "what all `keys` begin with")
	flags.StringVar(&c.from, "from", "", "the lowest `key`, with --reverse too")
	flags.StringVar(&c.to, "to", "", "the `key` that all are below")
	flags.BoolVarP(&c.bounds.Reverse, "reverse", "r", false, "from the highest key to the lowest")
	flags.IntVarP(&c.bounds.Limit, "limit", "n", 0, "how `many` keys at most (default all)")
	c.flags.add(cmd)
	c.output.add(cmd)
	return cmd
}

// scanCommand is a scan command.
type scanCommand struct {
	app              *app
	flags            encodingFlags
	output           format
	prefix, from, to string
	bounds           kvstore.Range
}

func (c *scanCommand) run() error {
	if c.bounds.Limit < 0 {
		return usagef("--limit: %d is too few", c.bounds.Limit)
	}
	keys, err := c.flags.encoding().keys([]string{c.prefix, c.from, c.to})
	if err != nil {
		return err
	}
	c.bounds.Prefix, c.bounds.From, c.bounds.To = keys[0], keys[1], keys[2]
	return c.app.viewing(func(v *kvstore.View) error {
		return c.app.print(func(w *bufio.Writer) error {
			return printPairs(v.Scan(c.bounds), newPairPrinter(w, c.output, c.flags.encoding()))
		})
	})
}

// printPairs prints pairs in their order.
func printPairs(pairs iter.Seq2[string, []byte], p pairPrinter) error {
	var bytes []byte // of a key; reused
	for key, value := range pairs {
		bytes = append(bytes[:0], key...)
		if err := p.pair(bytes, value); err != nil {
			return err
		}
	}
	return p.end()
}

// viewing opens the store read-only and shows do a view of it.
func (a *app) viewing(do func(v *kvstore.View) error) error {
	return a.reading(func(s *kvstore.Store) error {
		view, err := s.View()
		if err != nil {
			return err
		}
		return errors.Join(do(view), view.Close())
	})
}
