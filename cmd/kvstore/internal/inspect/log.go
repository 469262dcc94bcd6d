package inspect

import (
	"context"
	"errors"
	"os"
	"time"

	"kvstore/internal/format"
	"kvstore/internal/logread"
)

// Log calls emit with the records of a store's log, in their order. With
// follow, it then waits for more records, across segments, until ctx ends. It
// calls idle before each wait. It holds one segment in memory.
func Log(ctx context.Context, path string, follow bool, emit func(r *Record) error, idle func() error) error {
	d, err := openDirectory(path)
	if err != nil {
		return err
	}
	defer d.close()
	l := logRecorder{emit: emit}
	config := logread.Config{Source: logSource{d.root}, ID: d.identity(), Emit: l.event}
	if follow {
		config.Wait = func() error { return poll(ctx, idle) }
	}
	return d.readLog(logread.New(config), follow)
}

// readLog reads the segments of d and then, if the log is followed, what the
// store writes. The reader closes the files of the segments.
func (d *directory) readLog(reader *logread.Reader, follow bool) error {
	for i := range d.data {
		f := &d.data[i]
		if f.isSnapshot {
			continue
		}
		if f.err != nil {
			return f.err
		}
		if err := reader.Segment(f.number, f, i == len(d.data)-1); err != nil {
			return err
		}
	}
	if !follow {
		return nil
	}
	return reader.Follow(d.files.Newest())
}

// logSource is the directory of a store that may be writing to it.
type logSource struct{ root *os.Root }

// Segments implements [logread.Source].
func (s logSource) Segments() ([]uint64, error) {
	files, _, err := list(s.root)
	return files.Segments, err
}

// Open implements [logread.Source].
func (s logSource) Open(number uint64) (logread.SourceFile, error) {
	f := &dataFile{name: format.SegmentName(number), number: number}
	if err := errors.Join(f.open(s.root), f.err); err != nil {
		return nil, err
	}
	return f, nil
}

// pollInterval is the time between two looks at a log that is followed.
const pollInterval = 100 * time.Millisecond

// poll calls idle and waits for pollInterval, or until ctx ends.
func poll(ctx context.Context, idle func() error) error {
	if err := idle(); err != nil {
		return err
	}
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
