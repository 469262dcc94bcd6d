package kvstore

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"kvstore/internal/handoff"
	"kvstore/internal/mailbox"
	"kvstore/internal/table"
	"kvstore/internal/tuning"
	"kvstore/internal/wal"
)

// walWriter is the state of the writer goroutine. Open builds it, hands it to
// its goroutine and forgets it. No other goroutine can reach it, so nothing in
// it needs a lock. It shares with readers the table and the figures in status.
//
// Fields are owned by [walWriter.run] unless they say otherwise.
type walWriter struct {
	mailbox *mailbox.Mailbox // shared; the writer alone receives
	table   *table.Table     // shared; the writer alone changes it
	status  *status          // shared; written by the writer, read by Store

	dir       *directory // released when everything else has ended
	log       *wal.Log
	staging   staging
	snapshots snapshotter
	group     group
	serial    *serial
	expirer   expirer

	inMemory bool // immutable: there are no files

	spawn  func(func() error) // immutable: starts a goroutine that Close waits for
	logger *slog.Logger       // immutable

	waiter   handoff.Waiter
	notifier handoff.Notifier
	finished handoff.Group // what the waiter needs to know about the last group
	relayed  chan struct{} // of one place; from the caller that wakes the writer
}

// status is what the writer shows to Store.
type status struct {
	keys      atomic.Int64 // as of the last group; for Stats after Close
	walBytes  atomic.Int64 // of groups in the log that the newest snapshot does not cover
	syncs     atomic.Uint64
	expired   atomic.Uint64 // keys that were deleted because their deadlines have passed
	groups    atomic.Uint64
	lastGroup atomic.Uint64 // number of the last group that was applied
	commits   atomic.Uint64

	snapshots    atomic.Uint64
	lastSnapshot atomic.Pointer[time.Time] // when the last of them was complete
	failure      atomic.Pointer[error]     // sticky; Is(ErrFailed)
}

// run carries out commands until the last one. It is the only goroutine that
// writes to the log and to the table. A group goes this way:
//
//  1. [walWriter.gather] waits for a command and takes, with it, those that are
//     queued already. While one group is being synced, the next one queues up:
//     the slower the disk, the larger the groups. There is no timer, and a lone
//     caller never waits for company. [walWriter.expire] begins the group with
//     the deletion of keys that are due. If there are any, and no command, it
//     is a group of its own.
//  2. [group.take] decides what swaps, transactions and functions write, in
//     commit order. It runs the functions given to [Store.Do].
//  3. [wal.Log.Reserve] rotates to the next segment if the group does not fit.
//     Its space is reserved before anything is written, so that a full disk
//     fails the group and nothing else.
//  4. [wal.Log.Append] writes the group and its COMMIT entry with one pwrite, or
//     a few if commands are large, and starts the disk's work.
//  5. The function that [staging.begin] returned prepares the group in the
//     table's memory, where no reader finds it yet, while the disk works. For a
//     large group, begin started a goroutine before step 4 that helps.
//  6. [wal.Log.Sync] makes the group durable with one fdatasync. With
//     SyncWrites false the writer skips this step, and the flusher syncs every
//     SyncInterval and every MiB.
//  7. [walWriter.apply] shows the group to readers, one commit after the other,
//     each under the locks of its shards and no longer.
//  8. [walWriter.answer] replies to the callers, in commit order.
//  9. [wal.Log.PrepareRotation] preallocates the next segment in the
//     background, or names it if the current one has its END. [handoff.Waiter]
//     lets callers return.
//  10. A control command that ended the gathering is carried out.
//
// These invariants hold between any two steps:
//
//   - Nothing is in the table whose fsync (SyncWrites false: pwrite) has not
//     returned nil. A reader sees the state before the group until step 7, and
//     the group's commits one by one during it.
//   - No lock that a reader takes is held during I/O. In steps 1 to 6 and 9
//     such a lock is held only briefly, to change memory. So no reader ever
//     waits for a disk.
//   - The first error of a write or an fsync is the last: the log keeps it, and
//     every later command gets it.
//   - The store's clock stands still from the first condition in step 2 until
//     readers know which keys the group moves the deadlines of. So no key that
//     a reader has found gone comes back.
//   - Every command is answered exactly once, in commit order, failed or not,
//     and gives its bytes back to the mailbox afterwards. So a caller that
//     waits for an answer or for room is released when the writer goes on, or
//     by [mailbox.Mailbox.Close] if it does not. The writer waits for callers
//     to relay answers only if those callers cannot stop waiting, and relay
//     before they do anything else.
//
// Tried and dropped: pwritev2 with RWF_DSYNC in place of two calls (no faster).
// docs/notebook has more of that.
func (w *walWriter) run() error {
	defer w.goOn()
	for {
		control := w.gather()
		w.commitGroup()
		switch c := control.(type) {
		case *syncCommand:
			c.answer <- w.log.MakeDurable()
			w.mailbox.ReleaseControl()
		case *flushCommand:
			c.answer <- w.log.BeginFlush()
		case *snapshotCommand:
			c.answer <- w.snapshots.begin()
			w.mailbox.ReleaseControl()
		case *turnCommand:
			w.giveTurn(c)
			w.mailbox.ReleaseControl()
		case *wakeCommand:
			w.expirer.armed = 0
		case *closeCommand:
			return w.shutdown()
		}
	}
}

// goOn continues in a new goroutine if a function given to [Store.Do] has ended
// this one by runtime.Goexit. All that the writer knows is in w, and so the
// group under way goes on with the next command.
func (w *walWriter) goOn() {
	if w.serial.exited {
		w.serial.exited = false
		w.spawn(w.run)
	}
}

// gather fills the group: it waits for one command, unless it is time to delete
// keys that are due, and takes those behind it that are queued already. A
// control command ends the group and is returned.
func (w *walWriter) gather() (control any) {
	w.expirer.look()
	for !w.group.isFull() && !w.serial.isLate() {
		wait := len(w.group.commands) == 0 && !w.expirer.isTime()
		if wait {
			w.expirer.sleep()
		}
		c := w.mailbox.Receive(wait)
		write, ok := c.(*writeCommand)
		if !ok {
			return c
		}
		w.take(write)
	}
	return nil
}

// take adds a command to the group.
func (w *walWriter) take(c *writeCommand) {
	if len(w.group.commands) == 0 {
		w.beginGroup(true)
	}
	w.group.take(c)
	w.serial.exited = false // it has come back
}

// beginGroup begins a group. shared says that it is one of callers.
func (w *walWriter) beginGroup(shared bool) {
	w.log.SettleFlush()
	w.group.begin(w.table, w.log.Version(), w.log.Err())
	w.expire(shared)
}

// commitGroup makes the group durable, visible and answered, or fails all of
// it.
func (w *walWriter) commitGroup() {
	shared := len(w.group.commands) > 0
	if !shared {
		if !w.expirer.isTime() {
			return
		}
		w.beginGroup(shared)
	}
	w.hold()
	err := w.persist()
	if err != nil {
		w.group.fail(err)
	} else if len(w.group.writes) > 0 {
		w.apply()
	}
	if w.group.ahead.held != nil {
		w.table.Hold(nil) // it is in the table now, or has failed
	}
	if shared {
		w.answer()
	}
	w.expirer.ended(shared, err)
	w.group.reset()
	w.serial.spent = 0
	w.log.PrepareRotation()
	w.snapshots.beginIfDue()
	if tuning.Handoff && shared {
		w.waiter.Wait(w.finished, w.mailbox.Waiting)
	}
}

// hold tells readers which keys stay, whatever their deadlines in the table
// say, and lets the clock go on.
func (w *walWriter) hold() {
	g := &w.group
	if g.decided && w.table.Expiring() > 0 {
		g.ahead.track(g.writes)
		w.table.Hold(g.ahead.held)
	}
	g.ahead.start()
}

// persist brings the group's writes to the disk (SyncWrites false: to the
// operating system), and stages them.
func (w *walWriter) persist() error {
	w.log.SettleFlush()
	if err := w.log.Err(); err != nil {
		return err
	}
	g := &w.group
	if len(g.writes) == 0 {
		return nil // what the answers depend on is durable
	}
	if err := w.reserve(); err != nil {
		return publicError(err)
	}
	g.stampDirect()
	finishStaging := w.staging.begin(g)
	started := time.Now()
	groupBytes, err := w.log.Append(g.entries(w.log.Buffer(g.copied)), g.version, g.ops >= asideOps)
	finishStaging() // whatever happened: callers get their bytes back
	if err != nil {
		return err
	}
	w.status.walBytes.Add(groupBytes)
	if !w.log.SyncWrites() {
		return nil
	}
	w.status.syncs.Add(1)
	err = w.log.Sync()
	w.finished.Synced = time.Since(started)
	return err
}

// reserve makes room for the group in the log. The ballast is for the deletions
// of callers.
func (w *walWriter) reserve() error {
	g := &w.group
	err := w.log.Reserve(g.bytes, g.onlyDeletes() && w.expirer.taken == 0)
	if err != nil && w.leaveOutExpired() {
		err = w.log.Reserve(g.bytes, g.onlyDeletes())
	}
	return err
}

// apply shows the group to readers.
func (w *walWriter) apply() {
	if w.expirer.taken == 0 {
		w.staging.publish()
	} else {
		started := time.Now()
		w.staging.publish()
		w.expirer.applied(time.Since(started), w.group.ops)
	}
	w.status.keys.Store(int64(w.table.Len()))
	w.status.groups.Add(1)
	w.status.lastGroup.Store(w.log.Written())
	w.status.commits.Add(uint64(len(w.group.writes)))
	w.status.expired.Add(uint64(w.group.expired))
}

// answer replies to the callers, which may use their commands again at once.
func (w *walWriter) answer() {
	var credits mailbox.Credits
	w.finished.Answered, w.finished.Waiting = 0, w.mailbox.Waiting()
	for _, c := range w.group.commands {
		credits.Add(c)
		if c.commit == nil {
			w.finished.Answered++
		}
	}
	mode := handoff.AtOnce
	if tuning.Handoff && credits.Blocking() {
		mode = w.notifier.Choose(len(w.group.commands), w.finished.Synced)
	}
	w.notify(mode)
	w.mailbox.Release(credits)
}

// notify gives the callers their answers, in commit order. If a caller is to
// wake the writer, it returns when that caller has the answer.
func (w *walWriter) notify(mode handoff.Mode) {
	callers := w.group.commands
	switch mode {
	case handoff.AtOnce:
	case handoff.Asleep:
		callers[len(callers)-1-handoff.Waker].next = w.relayed
	case handoff.InTurn:
		for i, c := range callers[1:] {
			callers[i].next = c.answer
		}
		callers[len(callers)-1].next = w.relayed
		callers = callers[:1] // the others get theirs from the one before them
	}
	for _, c := range callers {
		c.reply()
	}
	if mode == handoff.AtOnce {
		return
	}
	started := time.Now()
	<-w.relayed
	w.notifier.Slept(mode, len(w.group.commands), time.Since(started))
}

// fail is called once, with the error that ends the log. It returns the error
// that every later command gets.
func (w *walWriter) fail(cause error) error {
	failure := fmt.Errorf("%w, close it and open it again: %w", ErrFailed, cause)
	w.status.failure.Store(&failure)
	w.report("kvstore: store failed", cause)
	return failure
}

// report tells the Logger of an error. It uses a goroutine of its own, because
// a Logger may write to this very store and would wait for the writer for ever.
func (w *walWriter) report(message string, err error) {
	w.spawn(func() error {
		w.logger.Error(message, "error", err)
		return nil
	})
}

// warn is report for a warning.
func (w *walWriter) warn(message string, attributes ...any) {
	w.spawn(func() error {
		w.logger.Warn(message, attributes...)
		return nil
	})
}

// inform is report for what is no error.
func (w *walWriter) inform(message string, attributes ...any) {
	w.spawn(func() error {
		w.logger.Info(message, attributes...)
		return nil
	})
}

// shutdown ends the session: it writes a snapshot, unless the newest one covers
// everything, and removes the log that the snapshot covers. A failed store
// writes and removes nothing.
func (w *walWriter) shutdown() error {
	w.snapshots.wait()
	number, err := w.log.Finish()
	if err == nil && !w.inMemory {
		w.dir.ballast.Spend()
		err = w.snapshots.writeLast(number)
	}
	if err == nil {
		w.dir.ballast.HoldClosed(w.dir.dir.Bytes())
	} else {
		w.log.HoldBallast() // the next Open has to cope with this log
	}
	err = errors.Join(err, w.log.Close(), w.dir.close())
	w.table.Release()
	return publicError(err)
}
