package commands

import (
	"errors"
	"fmt"
	"io"

	"kvstore"
)

const (
	batchBytes   = 1 << 20 // a batch is handed on when it has so many bytes of input
	spareBatches = 2       // one is filled while the other is copied into the queue
)

// loadBatch is what a loadReader made of some lines.
type loadBatch struct {
	writes kvstore.Batch
	bad    []error // one for each bad line
	line   int64   // the last one
	bytes  int64   // of the input up to there
}

// loadReader turns lines into batches, in a goroutine of its own.
type loadReader struct {
	lines     *lineReader
	format    dumpFormat
	fromLine  int64
	maxErrors int64 // how many more bad lines it puts up with

	full  chan *loadBatch // closed by run
	empty chan *loadBatch
	done  chan struct{} // closed by stop
	err   error         // valid after full is closed: why there is no more, nil at the end of the input
}

func newLoadReader(in io.Reader, format dumpFormat, fromLine, maxErrors int64) *loadReader {
	r := &loadReader{
		lines: newLineReader(in), format: format, fromLine: fromLine, maxErrors: maxErrors,
		full: make(chan *loadBatch), empty: make(chan *loadBatch, spareBatches), done: make(chan struct{}),
	}
	for range spareBatches {
		r.empty <- &loadBatch{}
	}
	return r
}

// run fills batches until the input or the patience with it ends, or stop is called.
func (r *loadReader) run() {
	defer close(r.full)
	var failed error
	for failed == nil {
		batch := <-r.empty // there is one as soon as the one before is copied
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

// stop has run return, if it does not wait for input.
func (r *loadReader) stop() { close(r.done) }

// recycle gives a batch back.
func (r *loadReader) recycle(b *loadBatch) {
	b.writes.Reset()
	b.bad = b.bad[:0]
	r.empty <- b
}

// fill takes lines until the batch is large enough or the next line may take a while to come: what has come should not wait for it.
func (r *loadReader) fill(b *loadBatch) error {
	begin := r.lines.bytes
	b.line, b.bytes = r.lines.number, begin
	for r.lines.bytes-begin < batchBytes {
		line, err := r.lines.next()
		if err != nil && !errors.Is(err, errLineTooLong) {
			return err
		}
		if r.lines.number >= r.fromLine {
			if err == nil {
				err = r.take(b, line)
			}
			if err := r.judge(b, err); err != nil {
				return err
			}
		}
		b.line, b.bytes = r.lines.number, r.lines.bytes
		if r.lines.waits() {
			return nil
		}
	}
	return nil
}

// judge notes what is wrong with a line, and ends the load with the one that is too many.
func (r *loadReader) judge(b *loadBatch, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("line %d: %w", r.lines.number, err)
	if r.maxErrors == 0 {
		return usageError{err}
	}
	r.maxErrors--
	b.bad = append(b.bad, err)
	return nil
}

// take adds the write that a line stands for.
func (r *loadReader) take(b *loadBatch, line []byte) error {
	if len(line) == 0 {
		return nil
	}
	key, value, err := r.format.parse(line)
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
