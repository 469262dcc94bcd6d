package commands

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

const (
	floorBlock = 4096     // the least that a disk writes
	floorSpace = 16 << 20 // as long as a small segment of a log; then it starts over
)

// measureFloor is what the disk can do: one goroutine that overwrites 4 KiB, in space that was written and synced before, and syncs them.
// No store that waits for the disk is faster with one writer.
func measureFloor(ctx context.Context, dir string, duration time.Duration) (_ *benchResult, err error) {
	file, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	if _, err := file.WriteAt(make([]byte, floorSpace), 0); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	block := make([]byte, floorBlock)
	r := &benchResult{Case: "disk floor", Writers: 1, ValueBytes: floorBlock, histogram: newHistogram()}
	for started, at := time.Now(), int64(0); ; at = (at + floorBlock) % floorSpace {
		before := time.Now()
		block[0]++
		if _, err := file.WriteAt(block, at); err != nil {
			return nil, err
		}
		if err := datasync(file); err != nil {
			return nil, err
		}
		after := time.Now()
		if err := r.histogram.RecordValue(after.Sub(before).Nanoseconds()); err != nil {
			return nil, err
		}
		r.Operations++
		r.Fsyncs++
		if r.took = after.Sub(started); r.took >= duration || ctx.Err() != nil {
			return r, nil
		}
	}
}
