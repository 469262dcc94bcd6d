package kvstore

import (
	"time"

	"kvstore/internal/mailbox"
	"kvstore/internal/wal"
)

// flusher fsyncs the log in the background, every interval and when it is
// woken, until the mailbox is closed. It shares nothing with the writer but the
// command it sends and the Flush it is answered with.
func flusher(m *mailbox.Mailbox, interval time.Duration, wake <-chan struct{}) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	c := &flushCommand{answer: make(chan *wal.Flush, 1)}
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
			f.Run()
		}
	}
}
