package commands

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

const (
	batchBytes   = 1 << 20 // of input in a full batch
	spareBatches = 2       // one is filled while the store copies the other

	// largeBytes is the size of a value that is set by itself, out of the
	// memory of its line, so that a line is not copied more than it must be.
	largeBytes = 4 << 20
)

// loadBatch is what a loadReader made of some lines.
type loadBatch struct {
	writes kvstore.Batch
	bad    []error // one for each bad line
	line   int64   // the last line
	bytes  int64   // of the input, up to the end of that line

	// The pair of the last line if its value is large, and not in writes. The
	// value is in the memory of the line.
	key     string
	value   []byte
	expires time.Time
}

// isLarge reports whether the last line has a large value.
func (b *loadBatch) isLarge() bool { return b.value != nil }

// loadReader turns lines into batches, in a goroutine of its own.
type loadReader struct {
	lines     *lines.Reader // owned by run
	format    lines.Codec   // immutable
	fromLine  int64         // immutable
	maxErrors int64         // bad lines that are still tolerated; owned by run

	full  chan *loadBatch // to the loader; closed by run
	empty chan *loadBatch // back from the loader
	set   chan struct{}   // a large value was set
	done  chan struct{}   // closed by stop
	err   error           // why the lines ended early; valid after full is closed
}

func newLoadReader(in io.Reader, format lines.Codec, fromLine, maxErrors int64) *loadReader {
	r := &loadReader{
		lines: lines.NewReader(in), format: format, fromLine: fromLine, maxErrors: maxErrors,
		full: make(chan *loadBatch), empty: make(chan *loadBatch, spareBatches),
		set: make(chan struct{}, 1), done: make(chan struct{}),
	}
	for range spareBatches {
		r.empty <- &loadBatch{}
	}
	return r
}

// run fills batches until the input ends, there are too many bad lines, or stop
// is called.
func (r *loadReader) run() {
	defer close(r.full)
	var failed error
	for failed == nil {
		batch := r.emptyBatch()
		if batch == nil {
			return
		}
		failed = r.fill(batch)
		large := batch.isLarge()
		select {
		case r.full <- batch:
		case <-r.done:
			return
		}
		if large && !r.untilSet() {
			return
		}
	}
	if !errors.Is(failed, io.EOF) {
		r.err = failed
	}
}

// emptyBatch returns a batch that the loader has returned, once the store had
// copied it; nil after stop.
func (r *loadReader) emptyBatch() *loadBatch {
	select {
	case batch := <-r.empty:
		return batch
	case <-r.done:
		return nil
	}
}

// untilSet waits until the loader has set a large value, whose memory the next
// line will overwrite. It returns false after stop.
func (r *loadReader) untilSet() bool {
	select {
	case <-r.set:
		return true
	case <-r.done:
		return false
	}
}

// stop makes run return, unless run waits for input.
func (r *loadReader) stop() { close(r.done) }

// recycle returns a batch to run.
func (r *loadReader) recycle(b *loadBatch) {
	large := b.isLarge()
	b.writes.Reset()
	b.bad, b.key, b.value, b.expires = b.bad[:0], "", nil, time.Time{}
	r.empty <- b
	if large {
		r.set <- struct{}{}
	}
}

// fill adds lines to b until the batch is full, or the next line is not there
// yet: lines that were read do not wait for it.
func (r *loadReader) fill(b *loadBatch) error {
	begin := r.lines.Bytes()
	b.line, b.bytes = r.lines.Number(), begin
	for r.lines.Bytes()-begin < batchBytes {
		line, err := r.lines.Next()
		switch {
		case errors.Is(err, lines.ErrNotUTF8):
			return usageError{err}
		case err != nil && !errors.Is(err, lines.ErrTooLong):
			return err
		}
		if r.lines.Number() >= r.fromLine {
			if err == nil {
				err = r.add(b, line)
			}
			if err := r.tolerate(b, err); err != nil {
				return err
			}
		}
		b.line, b.bytes = r.lines.Number(), r.lines.Bytes()
		if b.isLarge() || !r.lines.Buffered() {
			return nil
		}
	}
	return nil
}

// tolerate records the error of a line, or returns it if there were too many.
func (r *loadReader) tolerate(b *loadBatch, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("line %d: %w", r.lines.Number(), err)
	if r.maxErrors == 0 {
		return usageError{err}
	}
	r.maxErrors--
	b.bad = append(b.bad, err)
	return nil
}

// add adds a line's pair to the batch.
func (r *loadReader) add(b *loadBatch, line []byte) error {
	if len(line) == 0 {
		return nil
	}
	if len(line) > largeBytes {
		debug.FreeOSMemory() // what is left of reading the line, and of the line before
	}
	pair, err := r.format.Parse(line)
	switch {
	case err != nil:
		return err
	case len(pair.Key) > kvstore.MaxKeyBytes:
		return fmt.Errorf("the key has %d bytes, and the longest may have %d", len(pair.Key), kvstore.MaxKeyBytes)
	case len(pair.Value) > kvstore.MaxValueBytes:
		return fmt.Errorf("the value has %d bytes, and the longest may have %d", len(pair.Value), kvstore.MaxValueBytes)
	}
	if len(pair.Value) > largeBytes {
		b.key, b.value, b.expires = string(pair.Key), pair.Value, pair.Expires
		return nil
	}
	b.writes.SetUntil(string(pair.Key), pair.Value, pair.Expires)
	return nil
}
