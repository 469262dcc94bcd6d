package kvstore

import (
	"fmt"
	"time"

	"kvstore/internal/mailbox"
	"kvstore/internal/vfs"
)

// This file is the background fsync of a store with SyncWrites false: a flusher goroutine that asks the writer, by a command, what there
// is to sync, and syncs it while the writer goes on.

// flush is one background fsync: of what was written to a segment before the fsync began. It is made by the writer and
// carried out by the flusher.
type flush struct {
	file  vfs.File      // immutable
	group uint64        // immutable: the last group written when the flush was asked for
	err   error         // written by the flusher; valid after done is closed
	done  chan struct{} // closed by the flusher
}

// flushBytes is how much is written before the flusher is woken early: so little that a rotation, which has to wait for the fsync of a
// segment, takes some milliseconds, and a power cut takes little even of a busy store.
const flushBytes = 1 << 20

// flusher fsyncs the log in the background every interval, and when the writer wakes it, until the mailbox is closed. It shares nothing
// with the writer but the commands it sends and the flush it is answered with.
func flusher(m *mailbox.Mailbox, interval time.Duration, wake <-chan struct{}) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	c := &flushCommand{answer: make(chan *flush, 1)}
	for {
		select {
		case <-ticker.C:
		case <-wake:
		case <-m.Closing():
			return nil
		}
		if err := m.Send(c); err != nil {
			return nil // closed: the writer makes everything durable itself
		}
		if f := <-c.answer; f != nil {
			f.err = vfs.SyncAside(f.file)
			close(f.done)
		}
	}
}

// wakeFlusher has the flusher come before its time if much was written.
func (w *walWriter) wakeFlusher(written int) {
	w.unflushed += written
	if w.syncWrites || w.unflushed < flushBytes {
		return
	}
	w.unflushed = 0
	select {
	case w.wake <- struct{}{}:
	default: // it was woken already
	}
}

// beginFlush prepares a background fsync; nil if there is nothing to do.
func (w *walWriter) beginFlush() *flush {
	w.settleFlush()
	if w.failure != nil || w.flush != nil || w.durable == w.written {
		return nil
	}
	w.flush = &flush{file: w.segment.file, group: w.written, done: make(chan struct{})}
	return w.flush
}

// settleFlush takes in the result of the background fsync if it has one.
func (w *walWriter) settleFlush() {
	if w.flush == nil {
		return
	}
	select {
	case <-w.flush.done:
		w.waitFlush()
	default:
	}
}

// waitFlush waits for the background fsync and takes in its result. Two fsyncs of one file must never overlap: the kernel reports
// an error to one of them alone.
func (w *walWriter) waitFlush() {
	if w.flush == nil {
		return
	}
	<-w.flush.done
	if w.flush.err != nil {
		_ = w.fail(fmt.Errorf("kvstore: background sync of %s: %w", w.segment.name, w.flush.err)) // kept in w.failure
	} else {
		w.durable = max(w.durable, w.flush.group)
	}
	w.flush = nil
}
