package commands

import (
	"bufio"

	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

func newDump(a *app) *cobra.Command {
	var (
		flags  dumpFlags
		sorted bool
	)
	cmd := &cobra.Command{
		Use:   "dump [FILE|-]",
		Short: "Print all keys and values as lines, for load",
		Long: `Print all keys and values, as they are at one moment, to FILE or to the standard output.
Each pair is a line of NDJSON or TSV. From these lines load makes the same store again,
whatever bytes keys and values have. See load for the formats. In NDJSON, a key or value
that is not UTF-8 is in base64; with --base64 or --hex, everything is in that encoding.

In NDJSON, a key with a deadline has "expires", with which load gives it the same
deadline. TSV has no place for deadlines: they are lost, and a warning says how many. A
key whose deadline has passed is not in the dump; it may be in a backup.

The lines have no order, and a different one each time. With --sorted they are in the
order of the keys' bytes; this needs an index, which takes about 100 bytes a key.

FILE gets its name when all of it is on disk. If anything fails before, or SIGINT comes,
an existing file of that name stays as it is. The new one has its mode and its owner.
Pipes, devices and /dev/stdout are written in place.

This opens the store read-only, which takes as long as reading all of it. A backup is
smaller, faster, and has checksums; other programs can read and change a dump.`,
		Example: `  kvstore dump users.ndjson
  kvstore dump | gzip > users.ndjson.gz
  kvstore dump --dir old | kvstore load --dir new -
  kvstore dump --sorted --format tsv | cut -f 1`,
		Args: argCount(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := "-"
			if len(args) > 0 {
				name = args[0]
			}
			return a.dump(name, flags.codec(name), sorted)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&sorted, "sorted", false, "in the order of the keys")
	return cmd
}

// dump writes all pairs to a file.
func (a *app) dump(name string, f lines.Format, sorted bool) error {
	out, err := a.output(name)
	if err != nil {
		return err
	}
	return a.withView(func(s *kvstore.Store, v *kvstore.View) error {
		pairs := v.All()
		if sorted {
			pairs = v.Scan(kvstore.Range{})
			buildIndex(v)
		}
		p := &dumpPrinter{}
		err := out.write(func(w *bufio.Writer) error {
			p.Printer, p.progress = lines.NewPrinter(w, f), a.dumpProgress(out, v.Len())
			defer p.progress.end()
			return printPairs(withDeadlines(s, v, pairs), p)
		})
		if _, isTSV := f.(lines.TSV); isTSV && err == nil && p.deadlines > 0 {
			a.warnf("TSV has no deadlines: %s lost theirs in this dump; NDJSON keeps them", counted(p.deadlines, "key"))
		}
		return err
	})
}

// buildIndex builds the index for ordered scans. It takes seconds for many
// keys, and looks at no context, so this is done before write protects the file
// from signals.
func buildIndex(v *kvstore.View) {
	for range v.Scan(kvstore.Range{Limit: 1}) {
		return
	}
}

// dumpProgress starts a bar if the lines go to a file. A terminal shows the
// lines themselves, and the reader of a pipe may have a bar of its own.
func (a *app) dumpProgress(out *outputFile, keys int) *progress {
	if out.isStdout() && !isRegular(a.stdout.w) {
		return &progress{}
	}
	return a.progress("dump", int64(keys), inKeys)
}

// dumpPrinter moves a bar while it prints.
type dumpPrinter struct {
	lines.Printer
	progress  *progress
	count     int64
	deadlines int64 // keys that have one
}

// Pair implements [lines.Printer].
func (p *dumpPrinter) Pair(pair lines.Pair) error {
	if !pair.Expires.IsZero() {
		p.deadlines++
	}
	if p.count++; p.count%1024 == 0 {
		p.progress.show("dump", p.count)
	}
	return p.Printer.Pair(pair)
}
