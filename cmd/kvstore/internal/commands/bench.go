package commands

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kvstore"
)

func newBench(a *app) *cobra.Command {
	b := &bencher{app: a}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what a store does on this disk",
		Long: `Measure what a store does on the disk that has the directory of --dir, in a new
subdirectory, which is removed at the end, also after SIGINT. What is in the directory is
not touched.

First comes the floor: one goroutine that overwrites 4 KiB of a file and waits until
they are on disk, again and again. Then, for each size of values and each number of
writers, what so many goroutines do with --keys keys of 16 bytes, fewer if the values
would have more than 256 MiB:

  set          durable writes, each goroutine waiting for each of its own
  set relaxed  the same without an fsync
  batch        durable batches of 1000
  get          reads, timed sixteen at a time
  mixed        durable writes and reads, half and half

The rate is keys a second; "floors" is the rate of durable writes as a multiple of the
floor's. Latencies are of a call; histograms are drawn of the floor and of set.

A directory in memory (tmpfs) is refused, since an fsync costs nothing there.`,
		Example: `  kvstore bench --dir .
  kvstore bench --dir /var/lib --writers 1,16,256 --values 100,4096 --duration 5s
  kvstore bench --dir . --json > bench.json
  kvstore bench --dir . --plot bench.svg`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error { return b.run() },
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&b.writers, "writers", []int{1, 64}, "`numbers` of goroutines")
	flags.IntSliceVar(&b.values, "values", []int{128}, "`sizes` of values in bytes")
	flags.IntVar(&b.keys, "keys", 100_000, "`number` of keys")
	flags.DurationVar(&b.duration, "duration", 2*time.Second, "of each measurement")
	flags.BoolVar(&b.asJSON, "json", false, "print JSON, with all histograms")
	flags.StringVar(&b.plotFile, "plot", "", "draw the latencies into `FILE`, as SVG")
	flags.BoolVar(&b.tmpfs, "tmpfs", false, "measure a directory in memory all the same")
	return cmd
}

// bencher is a bench command.
type bencher struct {
	app             *app
	writers, values []int
	keys            int
	duration        time.Duration
	asJSON, tmpfs   bool
	plotFile        string
}

func (b *bencher) run() (err error) {
	dir, err := b.check()
	if err != nil {
		return err
	}
	ctx, release := interruptible(context.Background())
	defer release()
	tmp, err := os.MkdirTemp(dir, "kvstore-bench-")
	if err != nil {
		return err
	}
	report, err := b.measure(ctx, dir, tmp)
	if err := errors.Join(err, os.RemoveAll(tmp)); err != nil {
		return err
	}
	if b.plotFile != "" {
		if err := b.app.output(ctx, b.plotFile, report.plot); err != nil {
			return err
		}
	}
	if b.asJSON {
		return b.app.print(func(w *bufio.Writer) error { return writeJSON(w, report, true) })
	}
	return b.app.print(report.write)
}

// check returns the directory if all flags make sense.
func (b *bencher) check() (string, error) {
	for _, n := range b.writers {
		if n < 1 {
			return "", usagef("--writers: %d is too few", n)
		}
	}
	for _, n := range b.values {
		if n < 0 || n > kvstore.MaxValueBytes/benchBatch {
			return "", usagef("--values: %d is not from 0 to %d", n, kvstore.MaxValueBytes/benchBatch)
		}
	}
	if b.keys < 1 {
		return "", usagef("--keys: %d is too few", b.keys)
	}
	if b.duration <= 0 {
		return "", usagef("--duration must be more than 0")
	}
	if b.plotFile != "" && b.plotFile != "-" && filepath.Ext(b.plotFile) != ".svg" {
		return "", usagef("--plot: %s does not end with .svg", b.plotFile)
	}
	dir, err := b.app.dataDir()
	if err != nil {
		return "", err
	}
	switch memory, err := isMemory(dir); {
	case err != nil:
		return "", err
	case memory && !b.tmpfs:
		return "", usagef("%s is in memory, where an fsync costs nothing: name a directory on a disk, or say --tmpfs", dir)
	}
	return dir, nil
}

// measure measures the floor, and each case with each number of writers and each size of values.
func (b *bencher) measure(ctx context.Context, dir, tmp string) (*benchReport, error) {
	progress := b.app.progress("floor", int64(1+len(b.values)*len(b.writers)*len(benchCases)), steps)
	defer progress.end()
	progress.show("floor", 0)
	report, done := newBenchReport(dir), int64(1)
	floor, err := measureFloor(ctx, tmp, b.duration)
	if err != nil {
		return nil, err
	}
	floor.finish(floor)
	floor.finish(floor) // now that its rate is known
	report.Floor = floor
	for _, value := range b.values {
		for _, writers := range b.writers {
			for _, c := range benchCases {
				progress.show(fmt.Sprintf("%s, %d × %s", c.name, writers, humanize.IBytes(uint64(value))), done)
				r, err := c.measure(ctx, tmp, benchLoad{writers, makeKeys(b.keys, value), makeValue(value), b.duration})
				if ctx.Err() != nil {
					return nil, errInterrupted
				}
				if err != nil {
					return nil, err
				}
				r.ValueBytes = value
				r.finish(floor)
				report.Results = append(report.Results, r)
				done++
			}
		}
	}
	return report, nil
}
