package mailbox

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"kvstore/internal/tuning"
)

var errClosed = errors.New("closed")

// letter is a write with a number.
type letter struct {
	Ticket
	number int
	sender int
	answer chan struct{}
}

// box is a mailbox in which every sender has the same lane.
type box struct {
	*Mailbox
	t *testing.T
}

func newBox(t *testing.T) *box {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	return &box{Mailbox: New(errClosed), t: t}
}

// send sends a write of n bytes.
func (b *box) send(number, n int, blocking bool) error {
	ticket, err := b.Reserve(context.Background(), n, blocking)
	if err != nil {
		return err
	}
	return b.SendWrite(&letter{Ticket: ticket, number: number})
}

// sent sends small blocking writes.
func (b *box) sent(numbers ...int) {
	b.t.Helper()
	for _, n := range numbers {
		if err := b.send(n, 1, true); err != nil {
			b.t.Fatal(err)
		}
	}
}

// receives receives as many writes as it wants, checks their numbers, and
// releases them if answer is set.
func (b *box) receives(answer bool, want ...int) {
	b.t.Helper()
	var got []int
	var credits Credits
	for range want {
		w, ok := b.Receive(false).(*letter)
		if !ok {
			b.t.Fatalf("received %v and then nothing, want %v", got, want)
		}
		got = append(got, w.number)
		credits.Add(w)
	}
	if !slices.Equal(got, want) {
		b.t.Fatalf("received %v, want %v", got, want)
	}
	if answer {
		b.Release(credits)
	}
}

// isEmpty checks that nothing is queued and that all room is free.
func (b *box) isEmpty() {
	b.t.Helper()
	if m := b.Receive(false); m != nil || b.Waiting() != 0 {
		b.t.Errorf("%v is queued, and %d are waiting", m, b.Waiting())
	}
	if !b.bytes.TryAcquire(maxBytes) {
		b.t.Fatal("not all room is free")
	}
	b.bytes.Release(maxBytes)
}

func numbers(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

// needsBundles skips a test that counts on bundles, if they are switched off.
func needsBundles(t *testing.T) {
	t.Helper()
	if !tuning.Bundles {
		t.Skip("bundles are switched off")
	}
}

// Small writes travel in bundles of at most bundleWrites and arrive one by one.
func TestBundles(t *testing.T) {
	needsBundles(t)
	b := newBox(t)
	all := numbers(0, 3*bundleWrites+1)
	b.sent(all...)
	if n := len(b.messages); n != 4 {
		t.Errorf("%d writes are %d messages, want 4", len(all), n)
	}
	if n := b.Waiting(); n != len(all) {
		t.Errorf("%d are waiting, want %d", n, len(all))
	}
	b.receives(true, all[:len(all)-1]...)
	if b.sent(1000); len(b.messages) != 1 { // in time for the last bundle
		t.Errorf("%d messages, want 1", len(b.messages))
	}
	b.receives(true, all[len(all)-1])
	b.sent(1001) // too late for it
	b.receives(true, 1000, 1001)
	b.isEmpty()
}

// Large writes are sent alone, and Waiting counts them too.
func TestLargeWrites(t *testing.T) {
	needsBundles(t)
	b := newBox(t)
	b.sent(1)
	if err := errors.Join(b.send(2, minBytes+1, true), b.send(3, 2*maxBytes/3, true)); err != nil {
		t.Fatal(err)
	}
	b.sent(4) // along with 1
	if b.Waiting() != 4 || len(b.messages) != 3 {
		t.Errorf("%d are waiting, in %d messages", b.Waiting(), len(b.messages))
	}
	b.receives(true, 1, 4, 2, 3)
	b.isEmpty()
}

// P2: while an async write is queued, no write overtakes another. Afterwards
// small writes travel in bundles again.
func TestAsyncWritesKeepOrder(t *testing.T) {
	needsBundles(t)
	b := newBox(t)
	for range 3 {
		b.sent(1) // its bundle is open
		if err := b.send(2, 1, false); err != nil {
			t.Fatal(err)
		}
		b.sent(3)
		if err := b.send(4, minBytes+1, false); err != nil {
			t.Fatal(err)
		}
		b.sent(5)
		b.receives(true, 1, 2, 3, 4)
		b.sent(6, 7)
		if n := len(b.messages); n != 2 {
			t.Errorf("after all async writes are answered, 3 writes are %d messages, want 2", n)
		}
		b.receives(true, 5, 6, 7)
		b.isEmpty()
	}
}

// P2: a write that reaches the receiver another way counts like the others:
// while an async one has no answer, no write joins a bundle.
func TestDirect(t *testing.T) {
	needsBundles(t)
	b := newBox(t)
	for _, blocking := range []bool{false, true} {
		direct := &letter{Ticket: b.Direct(blocking)}
		if direct.Blocking() != blocking {
			t.Errorf("blocking %v", !blocking)
		}
		b.sent(1, 2)
		if n, want := len(b.messages), map[bool]int{false: 2, true: 1}[blocking]; n != want {
			t.Errorf("blocking %v: 2 writes are %d messages, want %d", blocking, n, want)
		}
		b.receives(true, 1, 2)
		var credits Credits
		credits.Add(direct)
		if credits.Blocking() != blocking {
			t.Errorf("its credits say that blocking is %v", !blocking)
		}
		b.Release(credits)
		b.sent(3, 4)
		if n := len(b.messages); n != 1 {
			t.Errorf("after the answer, 2 writes are %d messages, want 1", n)
		}
		b.receives(true, 3, 4)
		b.isEmpty()
	}
}

// Another sender may have sent a bundle by the time a sender has room for one.
func TestSecondBundle(t *testing.T) {
	b := newBox(t)
	for n := range 2 {
		if err := b.acquire(context.Background(), bundleBytes); err != nil {
			t.Fatal(err)
		}
		if err := b.sendBundle(&b.lanes[0], &letter{number: n}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.messages); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	b.receives(true, 0, 1)
	b.isEmpty()
}

// P10: the number of small writes is bounded. A sender that waits for room gets
// room, or the error of Close.
func TestSmallWritesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		all := numbers(0, maxBytes/minBytes)
		b.sent(all...)
		results := make(chan error, 2)
		for range 2 {
			go func() { results <- b.send(-1, 1, true) }()
		}
		synctest.Wait()
		if len(results) > 0 {
			t.Fatal("a write beyond the bound did not wait")
		}
		b.receives(true, all...)
		if err := errors.Join(<-results, <-results); err != nil {
			t.Fatal(err)
		}
		b.receives(true, -1, -1)
		b.isEmpty()

		b.sent(all...)
		go func() { results <- b.send(-1, 1, true) }()
		synctest.Wait()
		b.Close("last")
		if err := <-results; !errors.Is(err, errClosed) {
			t.Errorf("a sender that waits for room when the mailbox is closed gets %v", err)
		}
		b.receives(true, all...)
		if last := b.Receive(true); last != "last" {
			t.Errorf("the last message is %v", last)
		}
		b.isEmpty()
	})
}

// P10: after Close no message is sent, unless it is received before the last
// one.
func TestNothingComesAfterTheLast(t *testing.T) {
	needsBundles(t)
	b := newBox(t)
	b.sent(1)
	if !b.Close("last") || b.Close("twice") {
		t.Error("Close does not report which call was first")
	}
	b.sent(2) // along with 1
	for _, blocking := range []bool{true, false} {
		if err := b.send(3, minBytes+1, blocking); !errors.Is(err, errClosed) {
			t.Errorf("a large write after Close: %v", err)
		}
	}
	if err := errors.Join(b.Send("more"), b.SendControl(context.Background(), "more")); !errors.Is(err, errClosed) {
		t.Errorf("a message after Close: %v", err)
	}
	b.receives(true, 1, 2)
	if err := b.send(3, 1, true); !errors.Is(err, errClosed) {
		t.Errorf("a small write after Close: %v", err)
	}
	if last := b.Receive(true); last != "last" {
		t.Errorf("the last message is %v", last)
	}
	if n := b.async.Load(); n != 0 {
		t.Errorf("%d writes count as async", n)
	}
	b.isEmpty()
}

// P2: the writes of each sender are received in order and exactly once, in any
// mix of small, large, blocking and async writes. It also gives the race
// detector something to find.
func TestOrderOfManySenders(t *testing.T) {
	const senders, turns = 50, 200
	m := New(errClosed)
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for n := range turns {
				blocking, bytes := (sender+n)%7 != 0, 1
				if (sender+n)%11 == 0 {
					bytes = minBytes + 1
				}
				ticket, err := m.Reserve(context.Background(), bytes, blocking)
				if err != nil {
					t.Error(err)
					return
				}
				w := &letter{Ticket: ticket, number: n, sender: sender, answer: make(chan struct{})}
				if err := m.SendWrite(w); err != nil {
					t.Error(err)
					return
				}
				if blocking {
					<-w.answer
				}
			}
		})
	}
	go func() {
		group.Wait()
		m.Close("last")
	}()
	var next [senders]int
	for ended := false; !ended; {
		var credits Credits
		var writes []*letter
		for message := m.Receive(true); message != nil; message = m.Receive(false) {
			if ended = message == "last"; ended {
				break
			}
			w := message.(*letter) // only letters are sent before "last"
			if w.number != next[w.sender] {
				t.Errorf("sender %d: write %d instead of %d", w.sender, w.number, next[w.sender])
			}
			next[w.sender]++
			writes = append(writes, w)
		}
		for _, w := range writes {
			credits.Add(w)
			close(w.answer)
		}
		m.Release(credits)
	}
	for sender, n := range next {
		if n != turns {
			t.Errorf("%d of %d writes of sender %d were received", n, turns, sender)
		}
	}
	(&box{Mailbox: m, t: t}).isEmpty()
}
