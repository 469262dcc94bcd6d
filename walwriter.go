package kvstore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"kvstore/internal/format"
	"kvstore/internal/mailbox"
	"kvstore/internal/regroup"
	"kvstore/internal/table"
	"kvstore/internal/vfs"
)

// Bounds on one group.
const (
	// maxGroupBytes ends a group: past a few MiB a longer one makes callers wait and saves nothing, since the disk's
	// bandwidth, not its latency, is what the time goes to. One command may go beyond it.
	maxGroupBytes = 4 << 20

	// maxKeptBytes and maxKeptOps keep the buffers of one huge batch from staying for ever.
	maxKeptBytes = 4 * maxGroupBytes
	maxKeptOps   = 64 << 10

	// A group of at least asideOps operations is staged while all of its sync goes on: that takes about as long.
	asideOps = 192

	// A goroutine helps with staging if there are at least helpedOps operations, and batchOps in each commit. With many callers, other
	// processors have enough to do.
	helpedOps = 512
	batchOps  = 8
)

// walWriter is the state of the writer goroutine. Open builds it, hands it to its goroutine and forgets it: no other
// goroutine can reach it, so nothing in it needs a lock. What it shares with readers is the table and the figures in
// status.
//
// Fields are owned by [walWriter.run] unless they say otherwise.
type walWriter struct {
	mailbox *mailbox.Mailbox // shared; the writer alone receives
	table   *table.Table     // shared; the writer alone changes it
	status  *status          // shared; written by the writer, read by Store
	dir     vfs.Dir
	lock    io.Closer // the data directory's; released when everything else has ended
	log     *slog.Logger
	spawn   func(func() error) // starts a goroutine that Close waits for
	now     func() time.Time   // the clock

	background func(func() error) // spawn, or what tests replace it by
	wake       chan struct{}      // to the flusher; of one place

	syncWrites    bool   // immutable
	maxKeys       uint64 // immutable
	snapshotBytes int64  // immutable; 0 for no snapshots by itself

	segment     *segment
	rotation    rotation
	written     uint64         // the last group that was written
	durable     uint64         // the last group known durable: written before an fsync began that returned nil
	version     int64          // of the last commit
	snapshotted uint64         // the last group that the newest snapshot covers
	checkpoint  *checkpoint    // snapshot that is being written, nil if none
	snapshotDue int64          // bytes in the log at which the next one is to be begun
	flush       *flush         // background fsync under way, nil if none
	unflushed   int            // bytes written since the flusher was woken last
	failure     error          // sticky; Is(ErrFailed)
	buf         []byte         // the group that is being written
	ops         []table.Op     // of the group that is being applied
	commits     []table.Commit // likewise
	group       []*writeCommand
	writes      []*writeCommand // those of group that are to be written: all but those whose condition is not met
	regroup     regroup.Waiter
	teller      regroup.Teller
	told        chan error // of one place; from the caller who wakes the writer
	syncer      vfs.Syncer
}

// status is what the writer tells Store.
type status struct {
	keys      atomic.Int64 // as of the last group; for Stats after Close
	walBytes  atomic.Int64
	syncs     atomic.Uint64
	groups    atomic.Uint64
	lastGroup atomic.Uint64 // number of the last group that was applied
	commits   atomic.Uint64
	failure   atomic.Pointer[error]
}

// run carries out commands until the last one. It is the only goroutine that writes to the log and to the table. The way of
// a group:
//
//  1. [walWriter.gather] waits for a command and takes, with it, those that are queued already. While one group is being
//     synced, the next one queues up: the slower the disk, the larger the groups. There is no timer, and a lone caller
//     never waits for company.
//  2. [walWriter.makeRoom] rotates to the next segment if the group does not fit. Its space was reserved before anything
//     is written, so that a full disk fails the group and nothing else.
//  3. [walWriter.stamp] gives each commit its version. [walWriter.append] closes the group with a COMMIT entry, writes all of it with one
//     pwrite into the reserved space, and has the disk begin to take it; if the group is large, it begins all of its sync. The last group of a
//     segment takes END along.
//  4. [walWriter.beginStage] has the table do what readers do not see of applying it, while the disk is at it; for large commits, a
//     goroutine helps, from before step 3 on. [walWriter.sync] makes it durable with one fdatasync, or waits for the one that was begun
//     (SyncWrites false: the flusher does, every SyncInterval and every MiB).
//  5. [walWriter.apply] shows it to readers, one commit after the other, each under the locks of its shards and no longer.
//  6. [walWriter.answer] tells the callers, in commit order. Of some dozens who all wait, come what may, it tells the first and sleeps: each tells the next,
//     and the last one wakes the writer ([regroup.Teller]).
//  7. [walWriter.prepareRotation] has the next segment made in the background or, when this one has its END, gives the next one its
//     name. [regroup.Waiter] lets callers come back.
//  8. A control command that ended the gathering is carried out.
//
// What holds between any two steps:
//
//   - Nothing is in the table whose fsync (SyncWrites false: pwrite) has not returned nil. A reader sees the state before the group
//     until 5, and the group's commits one by one during it.
//   - No lock that a reader takes is held in 1 to 4, other than for the switch of a pointer, nor in 7; so no reader ever waits
//     for a disk.
//   - The COMMIT of a group vouches for w.durable: groups whose pwrite returned before an fsync began that returned nil. It
//     is what tells damage from a torn tail later, so it may lag, and must never lead.
//   - The first error of a write or an fsync is the last: [walWriter.fail] keeps it, and every later command gets it.
//     After a failed fsync the kernel may have dropped the pages and marked them clean, and the next fsync would
//     succeed without writing anything; so it is never tried again on that file.
//   - Every command is answered exactly once, in commit order, failed or not, and gives back its bytes of the mailbox after that. So who waits for
//     an answer or for room is released by the writer going on, and by [mailbox.Mailbox.Close] when it will not. The writer may wait for callers to
//     pass answers on: only for those who wait for theirs whatever happens, and who pass it on before they do anything else.
//
// Tried and dropped: pwritev2 with RWF_DSYNC in place of two calls (no faster), appending to a segment that recovery has
// read (the tail of one crash would look like damage after the next), and an END without what it knows durable (a crash
// before its fsync would make it a false witness). More of that is in docs/PERFORMANCE.md.
func (w *walWriter) run() error {
	for {
		control := w.gather()
		w.commitGroup()
		switch c := control.(type) {
		case *syncCommand:
			c.answer <- w.makeDurable()
			w.mailbox.ReleaseControl()
		case *flushCommand:
			c.answer <- w.beginFlush()
		case *snapshotCommand:
			checkpoint, err := w.beginCheckpoint()
			c.answer <- snapshotAnswer{checkpoint: checkpoint, err: err}
			w.mailbox.ReleaseControl()
		case *closeCommand:
			return w.shutdown()
		}
	}
}

// gather fills w.group: it waits for one command and takes those behind it that are queued already, up to maxGroupBytes. A
// control command ends the group and is returned.
func (w *walWriter) gather() (control any) {
	w.group = w.group[:0]
	sets, bytes := 0, 0
	for bytes < maxGroupBytes {
		c := w.mailbox.Receive(len(w.group) == 0)
		write, ok := c.(*writeCommand)
		if !ok {
			return c
		}
		if len(w.group) > 0 && !w.hasRoomFor(sets+write.sets) {
			w.mailbox.PutBack(write) // to be looked at alone: see admit
			return nil
		}
		w.group = append(w.group, write)
		sets += write.sets
		bytes += len(write.entries)
	}
	return nil
}

// commitGroup makes w.group durable, visible and answered, or fails all of it.
func (w *walWriter) commitGroup() {
	if len(w.group) == 0 {
		return
	}
	err := w.persistGroup()
	if err == nil && len(w.writes) > 0 {
		w.apply()
	}
	w.answer(err)
	w.prepareRotation()
	w.checkpointIfDue()
	w.regroup.Wait(w.mailbox.Waiting)
}

// answer tells the callers of w.group, which may use their commands again at once.
func (w *walWriter) answer(err error) {
	var done mailbox.Receipt
	w.regroup.Answered, w.regroup.Waiting = 0, w.mailbox.Waiting()
	for _, c := range w.group {
		done.Add(c)
		if c.commit == nil {
			w.regroup.Answered++
		}
	}
	way := regroup.AtOnce
	if done.Attended() {
		way = w.teller.Choose(len(w.group), w.regroup.Synced)
	}
	w.tell(way, err)
	clear(w.group)
	clear(w.writes)
	w.mailbox.Release(done)
}

// tell gives the callers of w.group their answer, in commit order. It returns when the one who is to wake the writer has it, if somebody is.
func (w *walWriter) tell(way regroup.Way, err error) {
	callers := w.group
	switch way {
	case regroup.AtOnce:
	case regroup.Asleep:
		callers[len(callers)-1-regroup.Waker].next = w.told
	case regroup.InTurn:
		for i, c := range callers[1:] {
			callers[i].next = c.answer
		}
		callers[len(callers)-1].next = w.told
		callers = callers[:1] // the others will hear of it
	}
	for _, c := range callers {
		c.finish(err)
	}
	if way == regroup.AtOnce {
		return
	}
	started := time.Now()
	<-w.told //nolint:errcheck // the writer has told it
	w.teller.Slept(way, len(w.group), time.Since(started))
}

// persistGroup decides what of w.group is to be written, brings that to the disk (SyncWrites false: to the operating system), and stages it.
func (w *walWriter) persistGroup() error {
	w.settleFlush()
	if w.failure != nil {
		return w.failure
	}
	if w.decide(); len(w.writes) == 0 {
		return nil // all answers are false, and what they depend on is durable
	}
	if err := w.admit(); err != nil {
		return err
	}
	size, ops := format.CommitEntryBytes, 0
	for _, c := range w.writes {
		size += len(c.entries)
		ops += c.count
	}
	if err := w.makeRoom(int64(size)); err != nil {
		return err
	}
	w.stamp()
	waitStaged := w.beginStage(ops)
	started := time.Now()
	err := w.append(size, ops >= asideOps)
	waitStaged() // whatever happened: callers get their bytes back
	if err != nil {
		return w.fail(err)
	}
	if w.syncWrites {
		w.status.syncs.Add(1)
		err = w.sync()
		w.regroup.Synced = time.Since(started)
	}
	return err
}

// stamp gives the commits their versions: the last one's is w.version.
func (w *walWriter) stamp() {
	first := max(w.now().UnixNano(), w.version+1)
	w.version = first + int64(len(w.writes)) - 1
}

// append writes w.writes behind the segment's last group and, if it is to be synced, has the disk begin to take it, and all of the sync begin if
// it is to go on aside.
func (w *walWriter) append(size int, aside bool) error {
	buf := slices.Grow(w.buf[:0], size)
	version := w.version - int64(len(w.writes))
	for _, c := range w.writes {
		version++
		at := len(buf)
		buf = append(buf, c.entries...)
		format.SetTimestamps(buf[at:], version)
	}
	buf = format.AppendCommit(buf, 0, w.version, w.written+1, w.durable, w.segment.seed())
	groupBytes := len(buf)
	ends := w.endsWith(int64(groupBytes))
	if ends {
		end := format.End{Group: w.written + 1, Durable: w.durable}
		buf = format.AppendEnd(buf, w.version, end, w.segment.seedAt(int64(groupBytes)))
	}
	if cap(buf) <= maxKeptBytes {
		w.buf = buf
	}
	err := w.segment.append(buf)
	if err == nil && w.syncWrites {
		err = w.syncer.Begin(w.segment.file, w.segment.offset-int64(len(buf)), int64(len(buf)), aside)
	}
	if err != nil {
		return err
	}
	w.written++
	w.rotation.ended = ends
	w.rotation.groups++
	w.status.walBytes.Add(int64(groupBytes))
	w.wakeFlusher(len(buf))
	return nil
}

// sync makes all that was written durable.
func (w *walWriter) sync() error {
	if err := w.segment.sync(&w.syncer); err != nil {
		return w.fail(err)
	}
	w.durable = w.written
	return nil
}

// beginStage begins with the part of applying w.writes that readers do not see, so many operations. If there are many to a commit, a
// goroutine does it from now on, while they are written. The function it returns does what is left, or helps.
func (w *walWriter) beginStage(ops int) (wait func()) {
	if ops < max(helpedOps, batchOps*len(w.writes)) {
		return w.stage
	}
	decoded, staged := make(chan struct{}), make(chan struct{})
	w.spawn(func() error {
		defer close(staged)
		w.decode() // what it works on is its own until decoded is closed
		close(decoded)
		w.table.Stage(func() {})
		return nil
	})
	return func() {
		<-decoded
		w.table.Stage(w.syncer.Yield)
		<-staged
	}
}

// stage has the table prepare for w.writes.
func (w *walWriter) stage() {
	w.decode()
	w.table.Stage(w.syncer.Yield)
}

// decode makes w.ops and w.commits of w.writes, and the table's next group of them.
func (w *walWriter) decode() {
	w.ops, w.commits = w.ops[:0], w.commits[:0]
	for _, c := range w.writes {
		for op := range entryOps(c.entries) {
			w.ops = append(w.ops, op)
		}
	}
	first, version := 0, w.version-int64(len(w.writes))
	for _, c := range w.writes {
		version++
		w.commits = append(w.commits, table.Commit{Ops: w.ops[first : first+c.count], Version: version})
		first += c.count
	}
	w.table.Begin(w.commits)
}

// apply shows w.writes to readers.
func (w *walWriter) apply() {
	w.table.Publish()
	clear(w.ops)
	clear(w.commits)
	if cap(w.ops) > maxKeptOps {
		w.ops, w.commits = nil, nil
	}
	w.status.keys.Store(int64(w.table.Len()))
	w.status.groups.Add(1)
	w.status.lastGroup.Store(w.written)
	w.status.commits.Add(uint64(len(w.writes)))
}

// hasRoomFor reports whether so many more keys are possible even if all of them are new.
func (w *walWriter) hasRoomFor(sets int) bool {
	return uint64(w.table.Len())+uint64(sets) <= w.maxKeys
}

// admit refuses a group that would leave more than maxKeys keys. Near the limit groups are of one commit, and are counted
// key by key.
func (w *walWriter) admit() error {
	sets := 0
	for _, c := range w.writes {
		sets += c.sets
	}
	if w.hasRoomFor(sets) {
		return nil
	}
	present := map[string]bool{}
	keys := w.table.Len()
	for op := range entryOps(w.writes[0].entries) {
		was, known := present[string(op.Key)]
		if !known {
			was = w.table.Has(string(op.Key))
		}
		present[string(op.Key)] = !op.Delete
		switch {
		case was && op.Delete:
			keys--
		case !was && !op.Delete:
			keys++
		}
	}
	if uint64(keys) > w.maxKeys {
		return fmt.Errorf("%w: %d with this write, limit %d", ErrStoreFull, keys, w.maxKeys)
	}
	return nil
}

// makeDurable carries out a syncCommand.
func (w *walWriter) makeDurable() error {
	w.waitFlush()
	if w.failure != nil || w.durable == w.written {
		return w.failure
	}
	return w.sync()
}

// fail makes the first error the store's last word.
func (w *walWriter) fail(err error) error {
	if w.failure != nil {
		return w.failure
	}
	w.failure = fmt.Errorf("%w, close it and open it again: %w", ErrFailed, err)
	w.status.failure.Store(&w.failure)
	w.report("kvstore: store failed", err)
	return w.failure
}

// shutdown ends the session: a snapshot, unless the newest one covers everything, then the segments that it covers go.
func (w *walWriter) shutdown() error {
	w.waitFlush()
	w.waitCheckpoint()
	err := w.dropAhead()
	if w.failure != nil {
		err = w.failure
	}
	if err == nil {
		err = w.closeLog()
	}
	err = errors.Join(err, w.segment.close(), w.dir.Close(), w.lock.Close())
	w.table.Release()
	return err
}

// closeLog leaves the directory as a session should: a snapshot of everything and no segment.
func (w *walWriter) closeLog() error {
	number := w.segment.header.Number
	if w.written == w.snapshotted {
		// The segment is empty, and the next session makes its own.
		return removeAll(w.dir, []string{w.segment.name})
	}
	var covered []string
	if w.segment.empty() {
		covered = append(covered, w.segment.name) // not covered, but empty
	} else {
		if err := w.end(); err != nil {
			return err
		}
		number++
	}
	if err := w.snapshot(number); err != nil {
		return err
	}
	files, err := list(w.dir)
	if err != nil {
		return err
	}
	return removeAll(w.dir, append(files.Below(number), covered...))
}

// snapshot writes the table, whose state is that of all segments below number.
func (w *walWriter) snapshot(number uint64) error {
	info := &format.Snapshot{
		Timestamp: w.version,
		Count:     uint32(w.table.Len()),
		ID:        w.segment.header.ID,
		Number:    number,
		LastGroup: w.written,
	}
	return writeSnapshot(w.dir, info, w.table.All(), func(f vfs.File) io.Writer { return io.NewOffsetWriter(f, 0) })
}
