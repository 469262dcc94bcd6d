package commands

import (
	"bufio"
	"time"

	"github.com/spf13/cobra"

	"kvstore"
)

func newScan(a *app) *cobra.Command {
	c := &scanCommand{app: a, output: tableFormat}
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Print keys and values in order",
		Long: `Print the keys from --from to below --to that begin with --prefix, and their values, in
the order of the keys' bytes. All bounds apply together; without bounds, the command
prints all keys.

The output is one of

  table   a line for each pair, for people: unprintable characters are escaped, and
          after 64 characters the rest is cut off
  json    an array of {"key":…,"value":…}, with "expires" for keys that have a deadline
  ndjson  an object on each line, which is what dump writes and load reads
  raw     key, tab, value and newline as they are, which is ambiguous for keys and
          values that have tabs or newlines, except with --hex or --base64

In JSON, a key or value that is not UTF-8 is "key64" or "value64", in base64. The
command prints pairs as it finds them and holds none in memory.

With --ttl, the table has a column between key and value: how long the key will live. In
raw lines, that field is the time at which the key is gone, or empty.

This opens the store read-only, which takes as long as reading all of it, and builds an
index of its keys, which takes about a second for a few million keys.`,
		Example: `  kvstore scan --prefix user:
  kvstore scan --from 2026-01 --to 2026-02 -o ndjson
  kvstore scan --reverse --limit 10
  kvstore scan --ttl --prefix session:
  kvstore scan --hex --from 00ff -o raw`,
		Args: argCount(0, 0),
		RunE: func(*cobra.Command, []string) error { return c.run() },
	}
	flags := cmd.Flags()
	flags.StringVarP(&c.prefix, "prefix", "p", "", "only keys that begin with `prefix`")
	flags.StringVar(&c.from, "from", "", "the lowest `key`, also with --reverse")
	flags.StringVar(&c.to, "to", "", "only keys below this `key`")
	flags.BoolVarP(&c.bounds.Reverse, "reverse", "r", false, "from the highest key to the lowest")
	flags.BoolVar(&c.ttl, ttlName, false, "show deadlines, also in a table and in raw lines")
	flags.IntVarP(&c.bounds.Limit, "limit", "n", 0, "print at most this `number` of keys (default all)")
	c.flags.add(cmd)
	c.output.add(cmd)
	return cmd
}

// scanCommand is a scan command.
type scanCommand struct {
	app              *app
	flags            encodingFlags
	output           outputFormat
	prefix, from, to string
	ttl              bool
	bounds           kvstore.Range
}

func (c *scanCommand) run() error {
	if c.bounds.Limit < 0 {
		return usagef("--limit: %d is too few", c.bounds.Limit)
	}
	keys, err := c.flags.keys([]string{c.prefix, c.from, c.to})
	if err != nil {
		return err
	}
	c.bounds.Prefix, c.bounds.From, c.bounds.To = keys[0], keys[1], keys[2]
	return c.app.withView(func(s *kvstore.Store, v *kvstore.View) error {
		var now func() time.Time
		if c.ttl {
			now = s.Now
		}
		return c.app.print(func(w *bufio.Writer) error {
			return printPairs(withDeadlines(s, v, v.Scan(c.bounds)), newPrinter(w, c.output, c.flags.encoding(), now))
		})
	})
}
