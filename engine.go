package kvstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"kvstore/internal/format"
	"kvstore/internal/mailbox"
	"kvstore/internal/recovery"
	"kvstore/internal/table"
	"kvstore/internal/vfs"
	"kvstore/internal/wal"
)

// Store is an open store. All its methods may be called from any number of
// goroutines.
type Store struct {
	config   Config         // immutable after Open
	recovery Recovery       // immutable after Open
	id       format.StoreID // immutable after Open
	status   *status        // written by the writer; read by Stats and before each write
	disk     *vfs.Meter     // immutable after Open; for Stats

	table  atomic.Pointer[table.Table] // what readers use; nil once Close has begun
	memory *table.Table                // immutable after Open: the same table, for views that outlive Close

	clock   *clock           // immutable after Open
	mailbox *mailbox.Mailbox // to the writer; nil if read-only
	release func() error     // of a read-only store, which has no writer to do it

	updates updates // transactions that have lost

	// spare holds commands whose callers have their answer. It is not global: a
	// channel that was made in a testing/synctest bubble must not turn up in
	// another.
	spare sync.Pool

	goroutines errgroup.Group // the writer, the flusher, and what they start
	closing    sync.Once
}

// environment is what Open uses besides Config. Tests replace it.
type environment struct {
	fs                vfs.FS
	now               func() time.Time
	maxKeys           uint64
	firstSegmentBytes int64
	pieceBytes        int                     // of a segment that recovery reads at once
	directBytes       int                     // of the smallest command that is not copied into the log's buffer
	maxSegments       int                     // that Open leaves
	background        func(task func() error) // nil: a goroutine that Close waits for
}

func systemEnvironment(config Config) environment {
	fs := vfs.FS(vfs.OS{FileMode: config.FileMode})
	if config.InMemory {
		fs = vfs.Nowhere{}
	}
	return environment{
		fs: fs, now: wallClock(config), maxKeys: MaxKeys,
		firstSegmentBytes: wal.FirstSegmentBytes, pieceBytes: format.PieceBytes,
		directBytes: defaultDirectBytes, maxSegments: recovery.DefaultMaxSegments,
	}
}

// Open opens the store in dataDir with [DefaultConfig]: it creates the store if
// need be, and every write is durable before it is acknowledged. See
// [OpenWithConfig].
func Open(dataDir string) (*Store, error) {
	return OpenWithConfig(DefaultConfig(dataDir))
}

// OpenWithConfig opens a store exactly as config says. It loads the newest
// snapshot, replays the log behind it, and makes everything that it found
// durable before it returns. It cuts off an incomplete end of the log, which a
// crash leaves, and reports that in [Stats]. It replaces a log of more than 16
// segments, or of more than SnapshotBytes, by a snapshot, if there is room.
//
// Errors: ErrInvalidConfig; ErrLocked if another opener has the directory;
// ErrCorrupt (as a *CorruptError) if something that was durable is damaged or
// missing; ErrVersion if a later version of this package wrote it;
// fs.ErrNotExist if there is no store and ReadOnly or MustExist is set; and the
// file system's errors, wrapped, so that errors.Is finds their causes. After
// ErrCorrupt and ErrVersion nothing in the directory has changed but the lock
// file. After an error in creating a store, the directories that Open has made
// are removed.
func OpenWithConfig(config Config) (*Store, error) {
	return open(config, systemEnvironment(config))
}

func open(config Config, env environment) (*Store, error) {
	started := env.now()
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := openDirectory(config, env.fs)
	if err != nil {
		return nil, err
	}
	s, err := openLocked(config, env, dir)
	if err != nil {
		return nil, errors.Join(openError(err), dir.abandon())
	}
	s.recovery.Took = env.now().Sub(started)
	s.logOpened(dir.dir.SyncsNames())
	return s, nil
}

// openLocked recovers the state of a directory that is locked, and starts the
// writer unless the store is read-only. The store then owns dir; after an error
// the caller does.
func openLocked(config Config, env environment, dir *directory) (*Store, error) {
	state, err := recovery.Recover(dir.dir, recovery.Options{
		ReadOnly:  config.ReadOnly,
		MustExist: config.mustExist(),
		SyncName:  func() error { return syncName(env.fs, config.DataDir) },
		FreeSpace: dir.freeBallast,

		MaxSegments: env.maxSegments, MaxLogBytes: config.SnapshotBytes, PieceBytes: env.pieceBytes,
	})
	if err != nil {
		return nil, err
	}
	if config.Ordered {
		state.Table.Order()
	}
	s := newStore(config, state, newClock(env.now))
	state.Table.UseClock(s.clock.now)
	s.disk = dir.dir
	s.compacted(state, env.now())
	if config.ReadOnly {
		closing := s.lookAtTime()
		s.release = func() error {
			closing()
			s.memory.Release()
			return errors.Join(s.goroutines.Wait(), dir.close())
		}
		return s, nil
	}
	if err := s.startWriter(state, env, dir); err != nil {
		s.memory.Release()
		return nil, err
	}
	return s, nil
}

// syncName makes the name of the data directory durable, which the store may
// just have made.
func syncName(fsys vfs.FS, path string) error {
	if err := vfs.SyncName(fsys, path); err != nil {
		return fmt.Errorf("sync the directory above %s: %w", path, err)
	}
	return nil
}

// newStore returns a store that serves what recovery has found.
func newStore(config Config, state *recovery.State, clock *clock) *Store {
	s := &Store{
		config: config, recovery: newRecovery(state), status: &status{}, memory: state.Table, id: state.ID,
		clock: clock, updates: newUpdates(),
	}
	s.table.Store(state.Table)
	s.status.lastGroup.Store(state.LastGroup)
	s.status.keys.Store(int64(state.Table.Size()))
	s.status.walBytes.Store(state.WALBytes)
	return s
}

// startWriter begins the session's log and starts the writer goroutine, which
// gets everything that writes, and the flusher.
func (s *Store) startWriter(state *recovery.State, env environment, dir *directory) error {
	if env.background == nil {
		env.background = s.goroutines.Go
	}
	wake := make(chan struct{}, 1)
	w := &walWriter{
		mailbox: mailbox.New(ErrClosed), table: state.Table, status: s.status, dir: dir,
		inMemory: s.config.InMemory, spawn: s.goroutines.Go, logger: s.config.Logger.With("dir", s.config.DataDir),
		relayed: make(chan struct{}, 1),
	}
	w.serial = &serial{spawn: w.spawn, logger: w.logger}
	w.group = group{
		ahead: ahead{serial: w.serial, clock: s.clock}, wall: env.now,
		maxKeys: env.maxKeys, directBytes: env.directBytes,
	}
	w.expirer = expirer{
		table: state.Table, clock: s.clock, mailbox: w.mailbox, spawn: w.spawn, warn: w.warn,
		replicated: s.config.Replicated, cost: usualCost,
	}
	start := wal.Start{
		ID: state.ID, Segment: state.NextSegment, Group: state.LastGroup, Version: state.Table.Version(),
	}
	log, err := wal.Begin(dir.dir, start, wal.Options{
		SyncWrites: s.config.SyncWrites, FirstSegmentBytes: env.firstSegmentBytes, Now: env.now,
		Background: env.background, Failed: w.fail, CheckLock: dir.lock.Check, Ballast: dir.ballast,
		WakeFlusher: func() {
			select {
			case wake <- struct{}{}:
			default: // it was woken already
			}
		},
	})
	if err != nil {
		return err
	}
	if err := wal.Prune(dir.dir, state.Newest); err != nil {
		return errors.Join(err, log.Close())
	}
	w.log = log
	w.staging = staging{table: state.Table, pause: log.Yield, background: env.background}
	w.snapshots = snapshotter{
		dir: dir.dir, log: log, table: state.Table, status: s.status, background: env.background,
		ballast: dir.ballast, now: env.now, report: w.report, inform: w.inform,
		snapshotBytes: s.config.SnapshotBytes, due: s.config.SnapshotBytes,
		newest: state.Newest, covered: state.Snapshotted,
	}
	s.mailbox = w.mailbox
	s.goroutines.Go(w.run)
	if !s.config.SyncWrites {
		s.goroutines.Go(func() error { return flusher(s.mailbox, s.config.SyncInterval, wake) })
	}
	return nil
}

// Get returns a copy of key's value, which belongs to the caller. If key is
// absent or the store is closed, it returns nil and false. A key whose deadline
// has passed is absent, for Get and for all other calls. A value that is
// present but empty is not nil.
func (s *Store) Get(key string) (value []byte, ok bool) {
	return s.AppendGet(nil, key)
}

// AppendGet appends key's value to dst and returns the extended slice. It does
// not allocate if dst has room. If key is absent or the store is closed, it
// returns dst unchanged, and false.
func (s *Store) AppendGet(dst []byte, key string) ([]byte, bool) {
	t := s.table.Load()
	if t == nil {
		return dst, false
	}
	return t.Get(dst, key)
}

// Has reports whether key is present; false if the store is closed.
func (s *Store) Has(key string) bool {
	t := s.table.Load()
	return t != nil && t.Has(key)
}

// MultiGet returns the values of keys as they are at one moment: nil for absent
// keys, and all nil if the store is closed. It is faster than one Get for each
// key. It reads many keys, or long values, from a view of its own, so no reader
// or writer waits for it. The values belong to the caller. Small values may
// share memory, which is freed when none of them is in use any more.
func (s *Store) MultiGet(keys []string) [][]byte {
	values := make([][]byte, len(keys))
	if t := s.table.Load(); t != nil {
		t.MultiGet(values, keys)
	}
	return values
}

// Len returns the number of keys, 0 if the store is closed. Keys whose deadline
// has passed do not count, also those that are not deleted yet: while there are
// any, Len takes some microseconds.
func (s *Store) Len() int {
	t := s.table.Load()
	if t == nil {
		return 0
	}
	return t.Len()
}

// Keys returns all keys as they are at one moment, unsorted; nil if the store
// is closed. Time and memory grow with the number of keys. Keys reads from a
// view of its own, so no reader or writer waits for it.
func (s *Store) Keys() []string {
	t := s.table.Load()
	if t == nil {
		return nil
	}
	return t.Keys()
}

// Set stores a copy of value under key. When it returns nil, the write is
// visible and durable (SyncWrites false: the operating system has it). A nil
// value is the empty value. If key had a deadline, it has none any more.
//
// Errors: ErrKeyTooLarge, ErrValueTooLarge, ErrClosed, ErrFailed, ErrReadOnly,
// ErrStoreFull, and one that Is syscall.ENOSPC when the disk is full. After
// that one nothing was written, and later writes may succeed.
func (s *Store) Set(key string, value []byte) error { return s.set(key, value, 0) }

// set is Set of a key that is gone at a deadline, 0 for none.
func (s *Store) set(key string, value []byte, until int64) error {
	ctx := context.Background()
	if err := checkLimits(key, value); err != nil {
		return err
	}
	if err := s.checkWritable(ctx); err != nil {
		return err
	}
	c, err := s.newCommand(ctx, entryBytes(key, value, until), true)
	if err != nil {
		return err
	}
	if until != 0 && isDue(until, s.clock.now()) {
		c.list.delete(key)
	} else {
		c.list.set(key, value, until)
	}
	return s.commit(ctx, c)
}

// Delete removes key, which need not exist. Otherwise it is like Set.
func (s *Store) Delete(key string) error {
	ctx := context.Background()
	if err := checkLimits(key, nil); err != nil {
		return err
	}
	if err := s.checkWritable(ctx); err != nil {
		return err
	}
	c, err := s.newCommand(ctx, entryBytes(key, nil, 0), true)
	if err != nil {
		return err
	}
	c.list.delete(key)
	return s.commit(ctx, c)
}

// Apply commits the writes of b together: a reader, and a recovery after a
// crash, finds all of them or none. It leaves b unchanged. An empty batch is no
// commit.
//
// If ctx has ended before the call, nothing happens. If it ends later, Apply
// returns ctx.Err() at once, and the outcome is unknown. Other errors are those
// of Set, and ErrBatchTooLarge.
func (s *Store) Apply(ctx context.Context, b *Batch) error {
	if err := s.checkBatch(ctx, b); err != nil || b.added == 0 {
		return err
	}
	c, err := s.newCommand(ctx, len(b.list.entries), ctx.Done() == nil)
	if err != nil {
		return err
	}
	b.fill(c, s.clock)
	return s.commit(ctx, c)
}

// ApplyAsync is Apply without waiting for the result, which the returned Commit
// provides. It blocks only while the queue has no room, until ctx ends. After
// it has returned, ctx has no effect and b may be changed. Calls of one
// goroutine commit in their order.
func (s *Store) ApplyAsync(ctx context.Context, b *Batch) *Commit {
	commit := newCommit()
	if err := s.checkBatch(ctx, b); err != nil || b.added == 0 {
		commit.complete(0, err)
		return commit
	}
	c, err := s.newCommand(ctx, len(b.list.entries), false)
	if err == nil {
		b.fill(c, s.clock)
		c.commit = commit
		s.updates.note(c)
		err = s.mailbox.SendWrite(c)
	}
	if err != nil {
		commit.complete(0, err)
	}
	return commit
}

// Sync returns when every write that was accepted before it is durable: at once
// with SyncWrites. On a store that is read-only or InMemory it does nothing.
// Errors: ErrClosed, ErrFailed.
func (s *Store) Sync() error {
	ctx := context.Background()
	if err := s.checkWritable(ctx); err != nil {
		if errors.Is(err, ErrReadOnly) {
			return nil
		}
		return err
	}
	if s.config.InMemory {
		return nil
	}
	c := &syncCommand{answer: make(chan error, 1)}
	if err := s.mailbox.SendControl(ctx, c); err != nil {
		return err
	}
	return <-c.answer
}

// Err returns the error that keeps the store from accepting writes: ErrClosed
// once Close has begun, or else the error, which Is ErrFailed, that made the
// store fail; nil if there is none. A ReadOnly store returns nil until it is
// closed. Err does no I/O and waits for nothing, so a health check may call it
// often. It reports a failure once a write or an fsync has failed, not before.
func (s *Store) Err() error {
	if s.table.Load() == nil {
		return ErrClosed
	}
	if failure := s.status.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// checkWritable makes the checks that come before any write, in the order that
// callers may rely on.
func (s *Store) checkWritable(ctx context.Context) error {
	if err := s.Err(); err != nil {
		return err
	}
	if s.config.ReadOnly {
		return ErrReadOnly
	}
	return ctx.Err()
}

func (s *Store) checkBatch(ctx context.Context, b *Batch) error {
	if b.err != nil {
		return b.err
	}
	return s.checkWritable(ctx)
}

// commit queues a command and waits for the answer.
func (s *Store) commit(ctx context.Context, c *writeCommand) error {
	if err := s.mailbox.SendWrite(c); err != nil {
		s.recycle(c)
		return err
	}
	return s.await(ctx, c)
}

// await waits for the answer of a command. A blocking one waits whatever
// happens, and relays the answer; another one waits until ctx ends.
func (s *Store) await(ctx context.Context, c *writeCommand) error {
	if c.Blocking() {
		<-c.answer // half the price of a select
		c.relay()
	} else {
		select {
		case <-c.answer:
		case <-ctx.Done():
			return ctx.Err() // the writer still owns c
		}
	}
	err := c.err
	if c.version != 0 {
		s.updates.note(c)
	}
	s.recycle(c)
	return err
}

// Close ends the session. New calls, and those that wait for room in the queue,
// return ErrClosed; reads find nothing. Writes that were accepted are finished
// and acknowledged. Then Close writes a snapshot, unless the newest one covers
// everything, so that the next Open replays nothing; it removes the log that
// the snapshot covers, and frees the directory. It returns when every goroutine
// of the store has ended, and waits for a stalled disk.
//
// An error means that the snapshot could not be written, or that something
// could not be removed. The log, or the new snapshot, then has every
// acknowledged write. On a store that has failed, Close changes nothing on disk
// and returns ErrFailed. Further calls wait for the first one and return nil.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		s.table.Store(nil)
		if s.config.ReadOnly {
			err = s.release()
			return
		}
		s.mailbox.Close(&closeCommand{})
		err = s.goroutines.Wait()
	})
	return err
}
