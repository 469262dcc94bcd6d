package commands

import (
	"bufio"
	"context"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/bench"
	"kvstore/cmd/kvstore/internal/host"
	"kvstore/cmd/kvstore/internal/lines"
)

func newBench(a *app) *cobra.Command {
	b := &benchCommand{app: a}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what a store does on this disk",
		Long: `Measure what a store does on the disk of the directory that --dir names. The command
works in a new subdirectory, which it removes at the end, also after SIGINT. It touches
nothing else in the directory.

First it measures the floor: one goroutine overwrites 4 KiB of a file and waits until
they are on disk, again and again. Then, for each size of values and each number of
writers, it measures that many goroutines with --keys keys of 16 bytes, or fewer if the
values would have more than 256 MiB:

  set          durable writes; each goroutine waits for each of its writes
  set relaxed  the same without an fsync
  batch        durable batches of 1000
  get          reads, timed in sixteens
  mixed        durable writes and reads, half and half

The rate is in keys a second; "floors" is the rate of durable writes as a multiple of the
floor's. Latencies are those of a call. The output has histograms of the floor and of
set.

A plot has a line for each case, number of writers and size of values: at most 20 for a
case, since more cannot be told apart.

A directory in memory (tmpfs) is refused, since an fsync costs nothing there.`,
		Example: `  kvstore bench --dir .
  kvstore bench --dir /var/lib --writers 1,16,256 --values 100,4096 --duration 5s
  kvstore bench --dir . --json > bench.json
  kvstore bench --dir . --plot bench.svg`,
		Args: argCount(0, 0),
		RunE: func(*cobra.Command, []string) error { return b.run() },
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&b.config.Writers, "writers", []int{1, 64}, "`numbers` of goroutines")
	flags.IntSliceVar(&b.config.Values, "values", []int{128}, "`sizes` of values in bytes")
	flags.IntVar(&b.config.Keys, "keys", 100_000, "`number` of keys")
	flags.DurationVar(&b.config.Duration, "duration", 2*time.Second, "of each measurement")
	flags.BoolVar(&b.json, "json", false, "print JSON, with all histograms")
	flags.StringVar(&b.plotFile, "plot", "", "write a plot of the latencies to `FILE`, as SVG")
	flags.BoolVar(&b.tmpfs, "tmpfs", false, "accept a directory in memory")
	return cmd
}

// benchCommand is a bench command.
type benchCommand struct {
	app         *app
	config      bench.Config
	json, tmpfs bool
	plotFile    string
}

func (b *benchCommand) run() error {
	if err := b.check(); err != nil {
		return err
	}
	plot, err := b.plot()
	if err != nil {
		return err
	}
	return b.app.protect(func(ctx context.Context) error {
		bar := b.app.lazyProgress(inSteps)
		report, err := bench.Run(ctx, b.config, bar.show)
		bar.end()
		if err != nil {
			return interrupted(err)
		}
		if err := plot(report); err != nil {
			return err
		}
		if b.json {
			return b.app.print(func(w *bufio.Writer) error { return lines.WriteJSON(w, report, true) })
		}
		return b.app.print(report.WriteTable)
	})
}

// plot prepares the plot's file and returns a function that draws it.
func (b *benchCommand) plot() (draw func(*bench.Report) error, err error) {
	if b.plotFile == "" {
		return func(*bench.Report) error { return nil }, nil
	}
	out, err := b.app.output(b.plotFile)
	return func(r *bench.Report) error { return out.write(r.WritePlot) }, err
}

// check checks the flags and sets the directory.
func (b *benchCommand) check() error {
	for _, n := range b.config.Writers {
		if n < 1 {
			return usagef("--writers: %d is too few", n)
		}
	}
	for _, n := range b.config.Values {
		if n < 0 || n > kvstore.MaxValueBytes/bench.BatchWrites {
			return usagef("--values: %d is not from 0 to %d", n, kvstore.MaxValueBytes/bench.BatchWrites)
		}
	}
	if b.config.Keys < 1 {
		return usagef("--keys: %d is too few", b.config.Keys)
	}
	if b.config.Duration <= 0 {
		return usagef("--duration must be more than 0")
	}
	if b.plotFile != "" && b.plotFile != "-" && filepath.Ext(b.plotFile) != ".svg" {
		return usagef("--plot: %s does not end with .svg", b.plotFile)
	}
	if n := len(b.config.Writers) * len(b.config.Values); b.plotFile != "" && n > bench.MaxPlotLines {
		return usagef("--plot: of %d lines for each case, only %d can be told apart; name fewer --writers or --values",
			n, bench.MaxPlotLines)
	}
	return b.checkDir()
}

// checkDir sets the directory, which must be on a disk.
func (b *benchCommand) checkDir() (err error) {
	if b.config.Dir, err = b.app.dataDir(); err != nil {
		return err
	}
	switch memory, err := host.InMemory(b.config.Dir); {
	case err != nil:
		return err
	case memory && !b.tmpfs:
		return usagef("%s is in memory, where an fsync costs nothing: name a directory on a disk, or say --tmpfs",
			b.config.Dir)
	}
	return nil
}
