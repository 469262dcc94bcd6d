package mailbox

import (
	"context"
	"sync"
	"sync/atomic"

	"kvstore/internal/tuning"
)

// This file is how small writes are sent. A thousand senders on two processors spend a tenth of their time on taking the mailbox's memory, its channel's
// above all, away from each other's processor. So those on one processor meet in its lane: the first of them sends a bundle, which the
// others join until the receiver unpacks it.
//
// Who joins a bundle may come ahead of what was sent after the bundle and before that. It makes no difference to senders who wait for their answers,
// since they have nothing else on the way. While there is a write on the way whose sender need not wait, everybody goes alone, so that the writes of one
// goroutine keep their order.

const (
	// bundleWrites is how many writes a bundle takes: so few that the bytes acquired for it are a small part of the mailbox's.
	bundleWrites = 32
	bundleBytes  = bundleWrites * minBytes

	// maxLanes bounds what the receiver has to look at to know how many are waiting.
	maxLanes = 16
)

// lane is where senders meet that run on one processor.
type lane struct {
	mu   sync.Mutex   // held for a moment, also while a bundle is sent
	open *bundle      // guarded by mu: in the channel, and with room for more; nil if there is none
	sent atomic.Int64 // writes; changed under mu
	_    [128]byte    // keeps lanes out of each other's cache lines
}

// bundle is small writes that travel together.
type bundle struct {
	lane   *lane   // immutable while it is in the channel
	writes []Write // guarded by the lane's mu until it is unpacked, then the receiver's
}

// sendAlong sends a small write, in a bundle if it may. It waits for room.
func (m *Mailbox) sendAlong(w Write) error {
	ctx := context.Background() // its sender does not leave
	if !tuning.Bundles || m.unattended.Load() > 0 {
		if err := m.acquire(ctx, minBytes); err != nil {
			return err
		}
		w.slip().weight = minBytes
		return m.SendWrite(w)
	}
	l := m.near.Get().(*lane)
	m.near.Put(l)
	if l.join(w) {
		return nil
	}
	if err := m.acquire(ctx, bundleBytes); err != nil {
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

// add adds a write to the open bundle. It is called with mu held.
func (l *lane) add(w Write) {
	l.open.writes = append(l.open.writes, w)
	l.sent.Add(1)
	if len(l.open.writes) == bundleWrites {
		l.open = nil
	}
}

// sendBundle sends a bundle, whose bytes are acquired, with a first write in it, or adds that to one which somebody else has sent meanwhile.
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

// unpack takes a bundle that was received out of its lane, and holds what is in it. Each write has its part of the bundle's bytes from then on, and what is
// left of them is free.
func (m *Mailbox) unpack(b *bundle) {
	b.lane.mu.Lock()
	if b.lane.open == b {
		b.lane.open = nil
	}
	b.lane.mu.Unlock()
	for i := range b.writes {
		w := b.writes[len(b.writes)-1-i]
		w.slip().weight = minBytes
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
