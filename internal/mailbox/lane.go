package mailbox

import (
	"context"
	"sync"
	"sync/atomic"
)

// This file sends small writes in bundles. A thousand senders on two processors
// spend a tenth of their time on moving the mailbox's memory, mostly that of
// its channel, from one processor to the other. So the senders of one processor
// share a lane: the first of them sends a bundle, and the others add their
// writes to it until the receiver unpacks it.
//
// A write that joins a bundle may overtake a write that was sent after the
// bundle. Blocking senders cannot notice, because each has no other write in
// the mailbox. While any async write is in the mailbox, every write is sent
// alone, so that the writes of one goroutine keep their order.

const (
	// bundleWrites is how many writes a bundle takes. The bytes acquired for a
	// bundle are then a small part of the mailbox's.
	bundleWrites = 32
	bundleBytes  = bundleWrites * minBytes

	// maxLanes bounds how many counters Waiting adds up.
	maxLanes = 16
)

// lane is what the senders of one processor share.
type lane struct {
	mu   sync.Mutex   // held briefly, also while a bundle is sent, which never blocks
	open *bundle      // guarded by mu: the bundle in the channel that takes more writes, nil if there is none
	sent atomic.Int64 // writes; changed under mu
	_    [128]byte    // keeps lanes out of each other's cache lines
}

// bundle is a message of several small writes.
type bundle struct {
	lane   *lane   // immutable while the bundle is in the channel
	writes []Write // guarded by the lane's mu until unpacked, then owned by the receiver
}

// sendBundled sends a small and blocking write in a bundle. It waits for room.
func (m *Mailbox) sendBundled(w Write) error {
	l := m.near.Get().(*lane)
	m.near.Put(l)
	if l.join(w) {
		return nil
	}
	if err := m.acquire(context.Background(), bundleBytes); err != nil {
		return err
	}
	return m.sendBundle(l, w)
}

// join adds a write to the open bundle, if there is one.
func (l *lane) join(w Write) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		return false
	}
	l.add(w)
	return true
}

// add adds a write to the open bundle. The caller must hold mu.
func (l *lane) add(w Write) {
	l.open.writes = append(l.open.writes, w)
	l.sent.Add(1)
	if len(l.open.writes) == bundleWrites {
		l.open = nil
	}
}

// sendBundle sends a bundle, whose bytes are acquired, with w as its first
// write. If another sender has opened a bundle meanwhile, w joins that one
// instead.
func (m *Mailbox) sendBundle(l *lane, w Write) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open != nil {
		m.bytes.Release(bundleBytes)
		l.add(w)
		return nil
	}
	b, ok := m.bundles.Get().(*bundle)
	if !ok {
		b = &bundle{writes: make([]Write, 0, bundleWrites)}
	}
	b.lane = l
	if err := m.send(b, bundleBytes); err != nil {
		return err
	}
	l.open = b
	l.add(w)
	return nil
}

// unpack closes a received bundle, so that no more writes join it, and moves
// its writes to held. Each write then owns its share of the bundle's bytes, and
// the rest is released.
func (m *Mailbox) unpack(b *bundle) {
	b.lane.mu.Lock()
	if b.lane.open == b {
		b.lane.open = nil
	}
	b.lane.mu.Unlock()
	for i := range b.writes {
		w := b.writes[len(b.writes)-1-i]
		w.ticket().weight = minBytes
		m.held = append(m.held, w)
	}
	if unused := bundleBytes - len(b.writes)*minBytes; unused > 0 {
		m.bytes.Release(int64(unused))
	}
	m.received += int64(len(b.writes))
	clear(b.writes)
	b.writes = b.writes[:0]
	m.bundles.Put(b)
}
