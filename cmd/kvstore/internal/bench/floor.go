package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"kvstore/cmd/kvstore/internal/host"
)

const (
	floorBlockBytes = 4096     // the smallest write of a disk
	floorFileBytes  = 16 << 20 // the size of a small segment; after it, the floor starts over
)

// measureFloor measures what the disk can do: one goroutine overwrites 4 KiB of
// a file and waits until they are durable, again and again. The file was
// written and synced before, so its size does not change. With one writer, no
// store that waits for the disk is faster.
func measureFloor(ctx context.Context, dir string, duration time.Duration) (_ *Result, err error) {
	file, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	if _, err := file.WriteAt(make([]byte, floorFileBytes), 0); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	block := make([]byte, floorBlockBytes)
	r := &Result{Case: "disk floor", Writers: 1, ValueBytes: floorBlockBytes, histogram: newHistogram()}
	for started, at := time.Now(), int64(0); ; at = (at + floorBlockBytes) % floorFileBytes {
		before := time.Now()
		block[0]++
		if _, err := file.WriteAt(block, at); err != nil {
			return nil, err
		}
		if err := host.Datasync(file); err != nil {
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
