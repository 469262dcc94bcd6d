// Package mailbox is the way of messages from many goroutines to one, through a channel, bounded by bytes.
package mailbox

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Bounds on what waits for the receiver. If that stalls, senders wait for room; the mailbox does not grow.
const (
	// maxBytes bounds the bytes of all messages that are sent and not released yet: twice what a fast disk takes
	// in the time of one slow fsync.
	maxBytes = 32 << 20

	// minBytes is what the smallest message counts as, so that the bound above is one on their number too.
	minBytes = 2 << 10

	// maxMessages is how many messages fit into the channel: all that have acquired their bytes and the two that
	// count as nothing, of Send and Close, so that nobody ever blocks in sending.
	maxMessages = maxBytes/minBytes + 2
)

// Mailbox carries writes and other messages to one receiver. Small writes of callers on one processor go together, see lane.go.
type Mailbox struct {
	messages chan any            // never closed; the receiver's, and bundles
	bytes    *semaphore.Weighted // acquired by senders, released by the receiver once it has answered
	closed   error               // immutable: what senders get after Close

	closing context.Context    // ended by Close, for those who wait for room
	end     context.CancelFunc // of closing

	lanes   []lane       // immutable
	near    sync.Pool    // of *lane: the one of the processor that asks, mostly
	dealt   atomic.Int64 // how many times a processor had no lane
	bundles sync.Pool    // of *bundle, for use

	_          [128]byte    // between what is read all the time and what is changed
	unattended atomic.Int64 // writes on the way whose senders need not be waiting for the answer

	_     [128]byte
	gate  sync.RWMutex // held for reading while sending, for a moment
	ended bool         // guarded by gate
	alone atomic.Int64 // writes that were sent by themselves

	_        [128]byte
	received int64   // the receiver's: writes
	held     []Write // the receiver's: those not given out yet; the last one is the first to be
}

// Slip says what a write has taken of a mailbox, and how it may travel. Writes embed one.
type Slip struct {
	weight     int64 // acquired for the write; 0 for none yet
	unattended bool  // its sender need not be waiting for the answer
}

func (s *Slip) slip() *Slip { return s }

// Attended reports whether the sender will wait for the answer, come what may.
func (s *Slip) Attended() bool { return !s.unattended }

// Write is what embeds a Slip.
type Write interface{ slip() *Slip }

// New returns a mailbox whose senders get the error closed after Close.
func New(closed error) *Mailbox {
	m := &Mailbox{messages: make(chan any, maxMessages), bytes: semaphore.NewWeighted(maxBytes), closed: closed}
	m.closing, m.end = context.WithCancel(context.Background())
	m.lanes = make([]lane, min(runtime.GOMAXPROCS(0), maxLanes))
	m.near.New = func() any { return &m.lanes[m.dealt.Add(1)%int64(len(m.lanes))] }
	return m
}

// Reserve returns the slip for a write of so many bytes, which is to be sent. It waits for room first, as long as ctx lasts, unless the write is small:
// who waits holds no copy of much. Attended is whether the sender will wait for the answer, come what may.
func (m *Mailbox) Reserve(ctx context.Context, bytes int, attended bool) (Slip, error) {
	s := Slip{unattended: !attended}
	if attended && bytes <= minBytes {
		return s, nil // sendAlong acquires it
	}
	s.weight = weight(bytes)
	return s, m.acquire(ctx, s.weight)
}

// weight returns how many of the mailbox's bytes a message of n bytes takes. One that is larger than the mailbox takes all
// of it.
func weight(n int) int64 { return int64(min(max(n, minBytes), maxBytes)) }

// acquire waits until there is room for weight bytes, ctx ends or the mailbox is closed.
func (m *Mailbox) acquire(ctx context.Context, weight int64) error {
	if m.bytes.TryAcquire(weight) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.closing, cancel)()
	if err := m.bytes.Acquire(ctx, weight); err != nil {
		if m.closing.Err() != nil {
			return m.closed
		}
		return err
	}
	return nil
}

// SendWrite sends a write that has its slip from Reserve. If Reserve has not waited for room, it does. The writes of one goroutine are received in the order
// in which it has sent them. After an error the write is the sender's again, and the mailbox has its bytes back.
func (m *Mailbox) SendWrite(w Write) error {
	s := w.slip()
	if s.weight == 0 {
		return m.sendAlong(w)
	}
	m.count(s, 1)
	err := m.send(w, s.weight)
	if err != nil {
		m.count(s, -1)
	}
	return err
}

// count counts a write that goes by itself, or takes it back.
func (m *Mailbox) count(s *Slip, n int64) {
	m.alone.Add(n)
	if s.unattended {
		m.unattended.Add(n)
	}
}

// Send sends a message that takes no room. There may be one on the way at most.
func (m *Mailbox) Send(message any) error { return m.send(message, 0) }

// SendControl waits for room, as long as ctx lasts, and sends a message that is no write. [Mailbox.ReleaseControl] is to follow its answer.
func (m *Mailbox) SendControl(ctx context.Context, message any) error {
	if err := m.acquire(ctx, minBytes); err != nil {
		return err
	}
	return m.send(message, minBytes)
}

// send sends a message whose bytes are acquired. After an error they are free again.
func (m *Mailbox) send(message any, weight int64) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	if m.ended {
		m.bytes.Release(weight)
		return m.closed
	}
	m.messages <- message
	return nil
}

// Close sends the last message; it reports false if that was sent already.
func (m *Mailbox) Close(last any) bool {
	m.gate.Lock()
	defer m.gate.Unlock()
	if m.ended {
		return false
	}
	m.ended = true
	m.messages <- last
	m.end()
	return true
}

// Closing is closed when the mailbox is.
func (m *Mailbox) Closing() <-chan struct{} { return m.closing.Done() }

// Receive returns the next message; nil if there is none and it is not to wait. It is for the receiver, as all that follows.
func (m *Mailbox) Receive(wait bool) any {
	for len(m.held) == 0 {
		if !wait && len(m.messages) == 0 {
			return nil // nobody else receives, so what len counts cannot vanish, and a plain receive does not block
		}
		switch message := (<-m.messages).(type) {
		case *bundle:
			m.unpack(message)
		case Write:
			m.received++
			return message
		default:
			return message
		}
	}
	last := len(m.held) - 1
	w := m.held[last]
	m.held[last], m.held = nil, m.held[:last]
	return w
}

// PutBack makes the write that was received last the next one to be received.
func (m *Mailbox) PutBack(w Write) { m.held = append(m.held, w) }

// Waiting returns how many writes are sent, or about to be, and not received; those of a bundle are all received with it.
func (m *Mailbox) Waiting() int {
	sent := m.alone.Load()
	for i := range m.lanes {
		sent += m.lanes[i].sent.Load()
	}
	return int(sent - m.received)
}

// Receipt is what writes that are answered have taken of a mailbox.
type Receipt struct{ weight, unattended int64 }

// Add counts a write. It comes before the answer, since what has been answered may be used again.
func (r *Receipt) Add(w Write) {
	s := w.slip()
	r.weight += s.weight
	if s.unattended {
		r.unattended++
	}
}

// Attended reports whether the senders of all of them wait for their answers, come what may.
func (r *Receipt) Attended() bool { return r.unattended == 0 }

// Release gives back what writes have taken, once they are answered.
func (m *Mailbox) Release(r Receipt) {
	if r.unattended > 0 { // or else the senders' processors keep what they have of it
		m.unattended.Add(-r.unattended)
	}
	m.bytes.Release(r.weight)
}

// ReleaseControl gives back what a message of SendControl has taken.
func (m *Mailbox) ReleaseControl() { m.bytes.Release(minBytes) }
