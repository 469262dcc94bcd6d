// Package bench measures what a store does on a disk: the command's bench.
//
// It measures the floor first, which is the disk alone, and then each case with
// each number of writers and each size of values, every time in a new store.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dustin/go-humanize"
)

// BatchWrites is the number of writes in a batch.
const BatchWrites = 1000

// Config says what to measure.
type Config struct {
	Dir      string        // gets a subdirectory, which Run removes again
	Writers  []int         // numbers of goroutines
	Values   []int         // sizes of values in bytes
	Keys     int           // fewer if the values would have more than 256 MiB
	Duration time.Duration // of each measurement
}

// Progress is called before each measurement, with the number of those done.
type Progress func(what string, done, total int64)

// Run measures what config says. It removes its files before it returns. If ctx
// ends, it stops and returns ctx.Err().
func Run(ctx context.Context, config Config, progress Progress) (*Report, error) {
	tmp, err := os.MkdirTemp(config.Dir, "kvstore-bench-")
	if err != nil {
		return nil, err
	}
	report, err := measure(ctx, config, tmp, progress)
	if err := errors.Join(err, os.RemoveAll(tmp)); err != nil {
		return nil, err
	}
	return report, nil
}

// measure measures the floor and all cases in the directory tmp.
func measure(ctx context.Context, config Config, tmp string, progress Progress) (*Report, error) {
	done, total := int64(0), int64(1+len(config.Values)*len(config.Writers)*len(cases))
	progress("floor", done, total)
	floor, err := measureFloor(ctx, tmp, config.Duration)
	if err != nil {
		return nil, err
	}
	floor.finish(floor)
	floor.finish(floor) // again, now that its rate is known
	report := newReport(config.Dir, floor)
	for _, value := range config.Values {
		for _, writers := range config.Writers {
			for _, c := range cases {
				done++
				progress(fmt.Sprintf("%s, %d × %s", c.name, writers, humanize.IBytes(uint64(value))), done, total)
				r, err := c.measure(ctx, tmp, load{
					writers: writers, keys: makeKeys(config.Keys, value), value: makeValue(value),
					duration: config.Duration,
				})
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				if err != nil {
					return nil, err
				}
				r.ValueBytes = value
				r.finish(floor)
				report.Results = append(report.Results, r)
			}
		}
	}
	return report, nil
}
