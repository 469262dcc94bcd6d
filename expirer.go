package kvstore

import (
	"time"

	"kvstore/internal/mailbox"
	"kvstore/internal/table"
)

// This file is what the writer does about deadlines: it deletes the keys that
// are due, in commits of its own, and looks at the wall clock. Nobody waits for
// a deletion, since reads do not find a key that is due.

const (
	// A commit of the writer's own deletes at most maxExpiredKeys keys, of
	// maxExpiredBytes.
	maxExpiredKeys  = 4000
	maxExpiredBytes = 1 << 20

	// loneCommits is how many such commits a group has that no caller has a
	// part in. More would save little more, and somebody may call meanwhile.
	loneCommits = 2

	// maxKeptEntries is how large the memory of a commit may be that is kept
	// for the next one.
	maxKeptEntries = 256 << 10

	// wheelTick is how exactly deadlines are ordered.
	wheelTick = time.Millisecond

	// While callers wait, deletions take one part in expiryShare of the
	// writer's time. Then they share the groups of those callers. A group of
	// their own, with its fsync, begins only when nobody has called for
	// expiryPause.
	expiryShare = 4
	expiryPause = 2 * time.Millisecond

	// maxSaved bounds the time that deletions may take at once, and callers
	// wait, because they have taken none before.
	maxSaved = 500 * time.Microsecond

	// usualCost is how long a deletion takes before that was measured.
	usualCost = time.Microsecond

	// expiryRetry is how long the writer waits after a commit of its own has
	// failed, as on a full disk.
	expiryRetry = time.Second
)

// expirer is the writer's part that deletes keys that are due. The writer owns
// it. Moments are those of the store's clock, in ns since 1970.
type expirer struct {
	table      *table.Table                   // shared
	clock      *clock                         // shared; the writer looks at wall time
	mailbox    *mailbox.Mailbox               // shared
	spawn      func(func() error)             // immutable: starts a goroutine that Close waits for
	warn       func(message string, a ...any) // immutable
	replicated bool                           // immutable: Config.Replicated

	sweep    table.DueSweep             // finds keys that are due together
	commands [loneCommits]*writeCommand // of the group under way; used again for their memory

	alarm chan time.Duration // of one place, to the goroutine that wakes the writer; nil if there is none
	armed int64              // the moment for which the alarm is set, 0 if it is not

	notBefore int64         // the moment before which there is no group of deletions alone
	retryAt   int64         // the moment before which there are no deletions at all
	saved     time.Duration // how long deletions may take while callers wait
	cost      time.Duration // of a deletion, on average

	// Of the group under way, while any key has a deadline.
	began time.Time
	taken int           // keys that it deletes
	spent time.Duration // by the writer on these
}

// wakeCommand wakes the writer at the moment for which the alarm was set.
type wakeCommand struct{}

// isTime reports whether it is time for deletions in a group of their own.
func (e *expirer) isTime() bool {
	at, ok := e.next()
	return ok && at <= e.clock.now()
}

// next returns the moment of the next deletions; ok is false if there are none.
func (e *expirer) next() (at int64, ok bool) {
	deadline, ok := e.table.NextDeadline()
	if !ok || e.replicated {
		return 0, false
	}
	return max(deadline+int64(wheelTick), e.notBefore, e.retryAt), true
}

// look looks at wall time if that is due.
func (e *expirer) look() {
	if e.table.Expiring() == 0 || e.clock.untilLook() > 0 {
		return
	}
	if step, report := e.clock.look(); report {
		e.warn("kvstore: the wall clock has stepped forward", "by", step)
	}
}

// sleep sets the alarm, before the writer waits for a command.
func (e *expirer) sleep() {
	if e.table.Expiring() == 0 {
		return
	}
	now := e.clock.now()
	at := now + int64(max(e.clock.untilLook(), 0))
	if next, ok := e.next(); ok {
		at = min(at, next)
	}
	if e.armed != 0 && e.armed <= at {
		return // it may be too early then, and is set again
	}
	if e.alarm == nil {
		e.alarm = make(chan time.Duration, 1)
		e.spawn(func() error { return runAlarm(e.mailbox, e.alarm) })
	}
	e.armed = at
	select {
	case <-e.alarm: // it has not got the moment before
	default:
	}
	e.alarm <- time.Duration(max(at-now, 0))
}

// runAlarm wakes the writer when the times that it gets from alarm have passed,
// until the mailbox is closed. A time replaces the one before it.
func runAlarm(m *mailbox.Mailbox, alarm <-chan time.Duration) error {
	timer := time.NewTimer(<-alarm)
	defer timer.Stop()
	for {
		select {
		case d := <-alarm:
			timer.Reset(d)
		case <-timer.C:
			if m.Send(&wakeCommand{}) != nil {
				return nil // closed
			}
		case <-m.Closing():
			return nil
		}
	}
}

// expire begins the group with a commit that deletes keys that are due. shared
// says that callers have a part in the group.
func (w *walWriter) expire(shared bool) {
	g, e := &w.group, &w.expirer
	e.taken, e.spent = 0, 0
	if g.failure != nil || e.table.Expiring() == 0 {
		return
	}
	e.began = time.Now()
	keys := e.due(shared)
	if len(keys) == 0 {
		return
	}
	for i := 0; len(keys) > 0; i++ {
		n := min(len(keys), maxExpiredKeys)
		c := e.deletion(i, keys[:n])
		if g.accept(c) == nil { // a deletion breaks no limit
			g.writes = append(g.writes, c)
			e.taken += n
		}
		keys = keys[n:]
	}
	e.spent = time.Since(e.began)
}

// deletion returns commit i of a group: the deletion of keys.
func (e *expirer) deletion(i int, keys []string) *writeCommand {
	c := &writeCommand{}
	if used := e.commands[i]; used != nil && cap(used.list.entries) <= maxKeptEntries {
		c.list = used.list
		c.list.reset()
	}
	e.commands[i] = c
	for _, key := range keys {
		c.list.deleteDue(key)
	}
	return c
}

// applied takes in how long it took to show the group to readers.
func (e *expirer) applied(took time.Duration, ops int) {
	if e.taken > 0 {
		e.spent += took * time.Duration(e.taken) / time.Duration(ops)
	}
}

// leaveOutExpired takes the deletions back out of a group that others have a
// part in, so that no write fails on a full disk for the sake of them. It
// reports whether there were any.
func (w *walWriter) leaveOutExpired() bool {
	g, e := &w.group, &w.expirer
	if e.taken == 0 || len(g.writes) == 1 || w.log.Err() != nil {
		return false
	}
	g.leaveOutFirst()
	e.taken = 0
	e.retryAt = e.clock.now() + int64(expiryRetry)
	return true
}

// due returns keys to delete in a group that begins now. shared says that
// callers have a part in it.
func (e *expirer) due(shared bool) []string {
	deadline, ok := e.table.NextDeadline()
	if !ok || e.replicated {
		return nil
	}
	now, most := e.clock.now(), loneCommits*maxExpiredKeys
	switch {
	case deadline > now || e.retryAt > now:
		return nil
	case shared && e.saved <= 0:
		return nil
	case shared:
		most = min(maxExpiredKeys, 1+int(e.saved/max(e.cost, 1)))
	}
	if keys := e.sweep.DueKeys(e.table, now, most, maxExpiredBytes); len(keys) > 0 {
		return keys
	}
	return e.table.DueKeys(now, most, maxExpiredBytes, nil)
}

// ended takes in what became of the group under way.
func (e *expirer) ended(shared bool, err error) {
	if e.table.Expiring() == 0 && e.taken == 0 {
		return
	}
	now, took := e.clock.now(), time.Since(e.began)
	if e.taken > 0 && err == nil {
		e.cost += (e.spent/time.Duration(e.taken) - e.cost) / 4
	}
	switch {
	case err != nil && (e.taken > 0 || !shared):
		e.retryAt = now + int64(expiryRetry)
	case shared:
		e.saved = min(e.saved+(took-e.spent)/(expiryShare-1)-e.spent, maxSaved)
		e.notBefore = max(e.notBefore, now+int64(expiryPause))
	case e.taken == 0: // what seemed to be due is not
		e.notBefore = now + int64(wheelTick)
	}
}
