package commands

import (
	"bufio"
	"context"

	"github.com/spf13/cobra"

	"kvstore"
)

func newDump(a *app) *cobra.Command {
	var (
		flags  dumpFlags
		sorted bool
	)
	cmd := &cobra.Command{
		Use:   "dump [FILE|-]",
		Short: "Print all keys and values as lines, for load",
		Long: `Print all keys and values, as they are at one moment, to FILE or to the standard output:
a line for each, of NDJSON or TSV, from which load makes the same store again, whatever
bytes they have. See load for the formats. In NDJSON, what is not UTF-8 is in base64;
with --base64 or --hex everything is in that encoding.

The lines have no order, and another one each time. With --sorted they are in the order
of the keys, byte by byte; that takes an index of them, of about 100 bytes a key.

FILE gets its name when all of it is on disk. If anything fails before, or SIGINT comes,
a file that had the name stays as it is.

The store is opened read-only, which takes as long as reading all of it. A backup is
smaller, faster, and has checksums; a dump can be read and changed by other programs.`,
		Example: `  kvstore dump users.ndjson
  kvstore dump | gzip > users.ndjson.gz
  kvstore dump --dir old | kvstore load --dir new -
  kvstore dump --sorted --format tsv | cut -f 1`,
		Args: takes(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := "-"
			if len(args) > 0 {
				name = args[0]
			}
			return a.dump(name, flags.format(name), sorted)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&sorted, "sorted", false, "in the order of the keys")
	return cmd
}

// dump writes all pairs to a file. Only then is there something to remove when it is interrupted: who interrupts the standard output has
// no use for the rest.
func (a *app) dump(name string, f dumpFormat, sorted bool) error {
	ctx, release := context.Background(), func() {}
	if name != "-" {
		ctx, release = interruptible(ctx)
	}
	defer release()
	return a.viewing(func(v *kvstore.View) error {
		return a.output(ctx, name, func(w *bufio.Writer) error {
			p := &dumpPrinter{pairPrinter: &linePrinter{w: w, format: f}, progress: a.dumpProgress(name, v.Len())}
			defer p.progress.end()
			if sorted {
				return printPairs(v.Scan(kvstore.Range{}), p)
			}
			return printPairs(v.All(), p)
		})
	})
}

// dumpProgress begins a bar if the lines go to a file: a terminal shows them themselves, and whatever reads a pipe may have a bar of its
// own.
func (a *app) dumpProgress(name string, keys int) *progress {
	if name == "-" && !isFile(a.stdout) {
		return &progress{}
	}
	return a.progress("dump", int64(keys), inKeys)
}

// dumpPrinter moves a bar while it prints.
type dumpPrinter struct {
	pairPrinter
	progress *progress
	count    int64
}

func (p *dumpPrinter) pair(key, value []byte) error {
	if p.count++; p.count%1024 == 0 {
		p.progress.show("dump", p.count)
	}
	return p.pairPrinter.pair(key, value)
}
