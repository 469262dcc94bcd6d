// Package mailbox carries messages from many goroutines to one. It is a queue
// bounded by bytes: a sender blocks while the queue is full, and goes on when
// the receiver gives bytes back (backpressure).
//
// Small writes travel in bundles, see lane.go. That assumes that a channel
// costs what it takes to move its cache lines between processors, and that
// senders on one processor share a cache. A wrong assumption costs speed alone.
// Package tuning has the switch: Bundles. With Bundles off, every write is a
// message of its own.
package mailbox

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"kvstore/internal/tuning"
)

// Bounds on what is queued for the receiver. If the receiver stalls, senders
// block and the mailbox does not grow.
const (
	// maxBytes bounds the bytes of all messages that were sent and not released
	// yet. It is twice what a fast disk takes during one slow fsync.
	maxBytes = 32 << 20

	// minBytes is the weight of the smallest message, so that maxBytes bounds
	// the number of messages too.
	minBytes = 2 << 10

	// maxSent is how many messages from Send may be queued.
	maxSent = 3

	// maxMessages is the capacity of the channel: all messages that have
	// acquired their bytes, and those that need none, from Send and Close. So
	// sending to the channel never blocks.
	maxMessages = maxBytes/minBytes + maxSent + 1
)

// Mailbox carries writes and other messages to one receiver.
type Mailbox struct {
	messages chan any // never closed; messages and bundles
	bytes    budget   // acquired by senders, released by the receiver after it has answered
	closed   error    // immutable: the error of every send after Close

	closing context.Context    // ended by Close, for senders that wait for room
	end     context.CancelFunc // ends closing

	lanes    []lane       // immutable
	near     sync.Pool    // of *lane: mostly the lane of the processor that asks
	assigned atomic.Int64 // how many times a processor had no lane and got one
	bundles  sync.Pool    // of *bundle, empty

	_     [128]byte    // separates what is often read from what is often written
	async atomic.Int64 // async writes that are sent and not released yet

	_     [128]byte
	gate  sync.RWMutex // held for reading while a message is sent, which never blocks
	ended bool         // guarded by gate
	alone atomic.Int64 // writes that were sent without a bundle

	_        [128]byte
	received int64   // writes; owned by the receiver
	held     []Write // unpacked and not returned yet, the next one last; owned by the receiver
}

// Ticket records how many bytes a write has acquired and how it may be sent.
// Writes embed one.
type Ticket struct {
	weight int64 // bytes acquired for the write; 0 means none yet
	async  bool  // the sender may leave before the answer
}

func (t *Ticket) ticket() *Ticket { return t }

// Blocking reports whether the sender blocks until it has the answer, whatever
// happens.
func (t *Ticket) Blocking() bool { return !t.async }

// Write is a type that embeds a [Ticket].
type Write interface{ ticket() *Ticket }

// New returns a mailbox. After Close, every send returns the error closed.
func New(closed error) *Mailbox {
	m := &Mailbox{messages: make(chan any, maxMessages), bytes: newBudget(maxBytes), closed: closed}
	m.closing, m.end = context.WithCancel(context.Background())
	m.lanes = make([]lane, min(runtime.GOMAXPROCS(0), maxLanes))
	m.near.New = func() any { return &m.lanes[m.assigned.Add(1)%int64(len(m.lanes))] }
	return m
}

// Reserve returns a ticket for sending n bytes. The caller must embed it in the
// write and call SendWrite. blocking says that the sender will block until it
// has the answer, whatever happens.
//
// Unless the write is small and blocking, Reserve waits until there is room,
// ctx ends or the mailbox is closed, so that blocked senders have not copied
// their data yet. For a small and blocking write, SendWrite waits instead.
func (m *Mailbox) Reserve(ctx context.Context, n int, blocking bool) (Ticket, error) {
	t := Ticket{async: !blocking}
	if blocking && n <= minBytes {
		return t, nil
	}
	t.weight = weight(n)
	return t, m.acquire(ctx, t.weight)
}

// weight returns how many bytes a message of n bytes acquires. A message larger
// than the mailbox acquires all of it.
func weight(n int) int64 { return int64(min(max(n, minBytes), maxBytes)) }

// acquire waits until there is room for weight bytes, ctx ends or the mailbox
// is closed.
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

// SendWrite sends a write whose ticket is from Reserve. If Reserve did not
// acquire its bytes, SendWrite waits for room. The writes of one goroutine are
// received in the order in which it sent them. After an error the sender owns
// the write again and the mailbox has its bytes back.
func (m *Mailbox) SendWrite(w Write) error {
	t := w.ticket()
	if t.weight > 0 {
		return m.sendAlone(w, t)
	}
	if tuning.Bundles && m.async.Load() == 0 {
		return m.sendBundled(w)
	}
	if err := m.acquire(context.Background(), minBytes); err != nil {
		return err
	}
	t.weight = minBytes
	return m.sendAlone(w, t)
}

// sendAlone sends a write, whose bytes are acquired, as a message of its own.
func (m *Mailbox) sendAlone(w Write, t *Ticket) error {
	m.count(t, 1)
	err := m.send(w, t.weight)
	if err != nil {
		m.count(t, -1)
	}
	return err
}

// count adds n to the counters of writes that are sent alone.
func (m *Mailbox) count(t *Ticket, n int64) {
	m.alone.Add(n)
	if t.async {
		m.async.Add(n)
	}
}

// Send sends a message that needs no room. At most maxSent such messages may be
// queued at a time.
func (m *Mailbox) Send(message any) error { return m.send(message, 0) }

// SendControl waits until there is room or ctx ends, and sends a message that
// is not a write. The receiver must call [Mailbox.ReleaseControl] after the
// answer.
func (m *Mailbox) SendControl(ctx context.Context, message any) error {
	if err := m.acquire(ctx, minBytes); err != nil {
		return err
	}
	return m.send(message, minBytes)
}

// send sends a message for which weight bytes are acquired. On an error it
// releases them.
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

// Close sends the last message. It returns false if the mailbox was closed
// already.
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

// Closing returns a channel that is closed when the mailbox is.
func (m *Mailbox) Closing() <-chan struct{} { return m.closing.Done() }

// Receive returns the next message. If there is none, it blocks, or returns nil
// if wait is false. Only the receiver may call Receive and the methods below.
func (m *Mailbox) Receive(wait bool) any {
	for len(m.held) == 0 {
		// No other goroutine receives, so a message that len counts stays in
		// the channel, and the receive below does not block.
		if !wait && len(m.messages) == 0 {
			return nil
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

// Direct returns a ticket for a write that the sender hands to the receiver
// itself, not through the mailbox. The receiver treats it like the others.
func (m *Mailbox) Direct(blocking bool) Ticket {
	if !blocking {
		m.async.Add(1)
	}
	return Ticket{async: !blocking}
}

// Bytes returns how many bytes are acquired: of the messages that are queued,
// and of the writes that were received and have no answer yet. A small message
// counts for 2 KiB.
func (m *Mailbox) Bytes() int64 { return m.bytes.used.Load() }

// Waiting returns how many writes are sent, or about to be sent, and not
// received. Receiving a bundle receives all of its writes.
func (m *Mailbox) Waiting() int {
	sent := m.alone.Load()
	for i := range m.lanes {
		sent += m.lanes[i].sent.Load()
	}
	return int(sent - m.received)
}

// Credits sums up what answered writes give back to a mailbox.
type Credits struct{ weight, async int64 }

// Add adds a write. The caller must call it before it answers the write,
// because the sender may reuse an answered write at once.
func (c *Credits) Add(w Write) {
	t := w.ticket()
	c.weight += t.weight
	if t.async {
		c.async++
	}
}

// Blocking reports whether the senders of all writes block until they have
// their answers, whatever happens.
func (c *Credits) Blocking() bool { return c.async == 0 }

// Release gives back what writes have acquired. The receiver must have answered
// them.
func (m *Mailbox) Release(c Credits) {
	if c.async > 0 { // adding 0 would take the counter's cache line from the senders' processors
		m.async.Add(-c.async)
	}
	m.bytes.Release(c.weight)
}

// ReleaseControl gives back what a message from SendControl has acquired.
func (m *Mailbox) ReleaseControl() { m.bytes.Release(minBytes) }
