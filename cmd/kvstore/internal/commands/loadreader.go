package commands

import (
	"errors"
	"fmt"
	"io"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

const (
	batchBytes   = 1 << 20 // of input in a full batch
	spareBatches = 2       // one is filled while the store copies the other
)

// loadBatch is what a loadReader made of some lines.
type loadBatch struct {
	writes kvstore.Batch
	bad    []error // one for each bad line
	line   int64   // the last line
	bytes  int64   // of the input, up to the end of that line
}

// loadReader turns lines into batches, in a goroutine of its own.
type loadReader struct {
	lines     *lines.Reader // owned by run
	format    lines.Codec   // immutable
	fromLine  int64         // immutable
	maxErrors int64         // bad lines that are still tolerated; owned by run

	full  chan *loadBatch // to the loader; closed by run
	empty chan *loadBatch // back from the loader
	done  chan struct{}   // closed by stop
	err   error           // why the lines ended early; valid after full is closed
}

func newLoadReader(in io.Reader, format lines.Codec, fromLine, maxErrors int64) *loadReader {
	r := &loadReader{
		lines: lines.NewReader(in), format: format, fromLine: fromLine, maxErrors: maxErrors,
		full: make(chan *loadBatch), empty: make(chan *loadBatch, spareBatches), done: make(chan struct{}),
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
		batch := <-r.empty // the loader returns a batch once the store has copied it
		failed = r.fill(batch)
		select {
		case r.full <- batch:
		case <-r.done:
			return
		}
	}
	if !errors.Is(failed, io.EOF) {
		r.err = failed
	}
}

// stop makes run return, unless run waits for input.
func (r *loadReader) stop() { close(r.done) }

// recycle returns a batch to run.
func (r *loadReader) recycle(b *loadBatch) {
	b.writes.Reset()
	b.bad = b.bad[:0]
	r.empty <- b
}

// fill adds lines to b until the batch is full, or the next line is not there
// yet: lines that were read do not wait for it.
func (r *loadReader) fill(b *loadBatch) error {
	begin := r.lines.Bytes()
	b.line, b.bytes = r.lines.Number(), begin
	for r.lines.Bytes()-begin < batchBytes {
		line, err := r.lines.Next()
		if err != nil && !errors.Is(err, lines.ErrTooLong) {
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
		if !r.lines.Buffered() {
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
	key, value, err := r.format.Parse(line)
	switch {
	case err != nil:
		return err
	case len(key) > kvstore.MaxKeyBytes:
		return fmt.Errorf("the key has %d bytes, and the longest may have %d", len(key), kvstore.MaxKeyBytes)
	case len(value) > kvstore.MaxValueBytes:
		return fmt.Errorf("the value has %d bytes, and the longest may have %d", len(value), kvstore.MaxValueBytes)
	}
	b.writes.Set(key, value)
	return nil
}
