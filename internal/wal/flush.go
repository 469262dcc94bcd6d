package wal

import (
	"fmt"

	"kvstore/internal/vfs"
)

// This file is the background fsync of a store with SyncWrites false: a flusher
// goroutine asks the writer what to sync, and syncs it while the writer goes
// on.

// flushBytes is how much is written before the flusher is woken early. It is so
// little that a rotation, which has to wait for the fsync of a segment, takes
// milliseconds, and that a power cut takes little even of a busy store.
const flushBytes = 1 << 20

// Flush is one background fsync. It covers what was written to a segment before
// [Log.BeginFlush] returned it.
type Flush struct {
	file  vfs.File      // immutable
	group uint64        // immutable: the last group it covers
	err   error         // written by Run; valid after done is closed
	done  chan struct{} // closed by Run
}

// Run syncs the file. The flusher calls it once, in a goroutine of its own.
func (f *Flush) Run() {
	f.err = vfs.SyncAside(f.file)
	close(f.done)
}

// wakeFlusher wakes the flusher before its time if much was written.
func (l *Log) wakeFlusher(written int) {
	l.unflushed += written
	if l.options.SyncWrites || l.unflushed < flushBytes {
		return
	}
	l.unflushed = 0
	l.options.WakeFlusher()
}

// BeginFlush returns the next background fsync, which the caller must Run; nil
// if there is nothing to sync.
func (l *Log) BeginFlush() *Flush {
	l.SettleFlush()
	if l.failure != nil || l.flush != nil || l.durable == l.written {
		return nil
	}
	l.flush = &Flush{file: l.segment.file, group: l.written, done: make(chan struct{})}
	return l.flush
}

// SettleFlush takes in the result of the background fsync if it has ended. An
// error is kept, see [Log.Err].
func (l *Log) SettleFlush() {
	if l.flush == nil {
		return
	}
	select {
	case <-l.flush.done:
		l.waitFlush()
	default:
	}
}

// waitFlush waits for the background fsync and takes in its result. Two fsyncs
// of one file must never overlap: the kernel reports an error to only one.
func (l *Log) waitFlush() {
	if l.flush == nil {
		return
	}
	<-l.flush.done
	err := l.flush.err
	if err == nil {
		err = l.segment.checkName()
	}
	if err != nil {
		_ = l.fail(fmt.Errorf("background sync of %s: %w", l.segment.name, err)) // kept as l.failure
	} else {
		l.durable = max(l.durable, l.flush.group)
	}
	l.flush = nil
}
