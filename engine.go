package kvstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"kvstore/internal/format"
	"kvstore/internal/mailbox"
	"kvstore/internal/table"
	"kvstore/internal/vfs"
)

// Store is an open store. All its methods may be called from any number of goroutines.
type Store struct {
	config   Config                      // immutable after Open
	recovery Recovery                    // immutable after Open
	status   *status                     // written by the writer; read by Stats and before each write
	table    atomic.Pointer[table.Table] // written by the writer under its own locks; nil once Close has begun
	memory   *table.Table                // immutable after Open: the same table, for the figures of views that outlive Close
	views    openViews
	id       format.StoreID   // immutable after Open
	mailbox  *mailbox.Mailbox // the writer's; nil if read-only
	release  func() error     // of a read-only store, which has no writer to do it

	// spare holds commands whose callers have got their answer. It is not a global one, since a channel that was made in
	// a testing/synctest bubble must not turn up in another.
	spare sync.Pool

	goroutines errgroup.Group // the writer, the flusher, and what they start
	closing    sync.Once
}

// Stats are figures about a store. Counters count from Open.
type Stats struct {
	Keys     int    // keys present
	WALBytes int64  // bytes of groups in the log that the newest snapshot does not cover
	Syncs    uint64 // fsyncs that made a group of writes durable; 0 with SyncWrites false
	Groups   uint64 // groups of commits written together
	Commits  uint64 // commits: each Set, Delete and non-empty batch is one
	Recovery Recovery

	Views      int           // views that are open
	OldestView time.Duration // for how long the oldest of them has been; 0 if there is none
	ViewBytes  int64         // of keys and values that are kept for them alone
}

// environment is what Open finds outside of Config. Tests replace it.
type environment struct {
	fs                vfs.FS
	now               func() time.Time
	maxKeys           uint64
	firstSegmentBytes int64
	background        func(task func() error) // nil: a goroutine that Close waits for
}

func systemEnvironment() environment {
	return environment{fs: vfs.OS{}, now: time.Now, maxKeys: MaxKeys, firstSegmentBytes: firstSegmentBytes}
}

// Open opens the store in dataDir, creating it if need be, with every write durable before it is acknowledged.
// See [OpenWithConfig].
func Open(dataDir string) (*Store, error) {
	return OpenWithConfig(DefaultConfig(dataDir))
}

// OpenWithConfig opens a store exactly as config says. It loads the newest snapshot, replays the log behind it, and makes all that it
// found durable before it returns. An incomplete end of the log, as a crash leaves it, is cut off and reported in [Stats].
//
// Errors: ErrInvalidConfig; ErrLocked if somebody else has the directory open; ErrCorrupt (as a *CorruptError) if something that was
// durable is damaged or missing; ErrVersion if a later version of this package wrote it; fs.ErrNotExist for a ReadOnly
// store that is not there; and those of the file system, as themselves. After ErrCorrupt and ErrVersion nothing in the
// directory has changed but the lock file.
func OpenWithConfig(config Config) (*Store, error) {
	return open(config, systemEnvironment())
}

func open(config Config, env environment) (*Store, error) {
	started := env.now()
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, lock, err := openDir(config, env.fs)
	if err != nil {
		return nil, err
	}
	r, segment, err := recoverDir(dir, config, env)
	if err != nil {
		return nil, errors.Join(err, dir.Close(), lock.Close())
	}
	r.report.Took = env.now().Sub(started)
	s := &Store{config: config, recovery: r.report, status: &status{}, memory: r.table, id: r.chain.ID}
	s.table.Store(r.table)
	s.status.lastGroup.Store(r.chain.LastGroup)
	s.status.keys.Store(int64(r.table.Len()))
	s.status.walBytes.Store(r.walBytes)
	if config.ReadOnly {
		s.release = func() error {
			r.table.Release()
			return errors.Join(dir.Close(), lock.Close())
		}
	} else {
		s.start(r, segment, env, lock)
	}
	r.log(config)
	return s, nil
}

// recoverDir brings the directory's state into memory and, unless it is read-only, makes all of it durable and begins the
// session's own segment, in the order that the roadmap gives. Until judge is content, nothing is changed.
func recoverDir(dir vfs.Dir, config Config, env environment) (_ *recovery, _ *segment, err error) {
	r := &recovery{dir: dir}
	defer func() {
		if err != nil && r.table != nil {
			r.table.Release()
		}
	}()
	if err := r.judge(); err != nil || config.ReadOnly {
		return r, nil, err
	}
	if r.fresh {
		if err := vfs.SyncName(env.fs, config.DataDir); err != nil {
			return nil, nil, fmt.Errorf("kvstore: sync the directory above %s: %w", config.DataDir, err)
		}
	}
	if err := r.repair(); err != nil {
		return nil, nil, err
	}
	segment, err := r.beginSegment(config, env)
	if err != nil {
		return nil, nil, err
	}
	if err := removeAll(dir, r.files.Below(r.snapshot)); err != nil {
		return nil, nil, errors.Join(err, segment.close())
	}
	return r, segment, nil
}

// start hands everything that writes to the writer goroutine.
func (s *Store) start(r *recovery, segment *segment, env environment, lock io.Closer) {
	s.mailbox = mailbox.New(ErrClosed)
	if env.background == nil {
		env.background = s.goroutines.Go
	}
	w := &walWriter{
		mailbox: s.mailbox, table: r.table, status: s.status, dir: r.dir, lock: lock, log: s.config.Logger,
		spawn: s.goroutines.Go, background: env.background, wake: make(chan struct{}, 1), told: make(chan error, 1), now: env.now, syncWrites: s.config.SyncWrites, maxKeys: env.maxKeys,
		snapshotBytes: s.config.SnapshotBytes, snapshotDue: s.config.SnapshotBytes,
		segment: segment, rotation: rotation{bytes: min(2*env.firstSegmentBytes, maxSegmentBytes)},
		written: r.chain.LastGroup, durable: r.chain.LastGroup, version: r.table.Version(), snapshotted: r.snapshotted,
	}
	s.goroutines.Go(w.run)
	if !s.config.SyncWrites {
		s.goroutines.Go(func() error { return flusher(s.mailbox, s.config.SyncInterval, w.wake) })
	}
}

// openDir opens the data directory, creating it if the store may, and locks it.
func openDir(config Config, fsys vfs.FS) (vfs.Dir, io.Closer, error) {
	if !config.ReadOnly {
		if err := vfs.MakeDir(fsys, config.DataDir); err != nil {
			return nil, nil, fmt.Errorf("kvstore: create data directory: %w", err)
		}
	}
	dir, err := fsys.OpenDir(config.DataDir)
	if err != nil {
		return nil, nil, fmt.Errorf("kvstore: open data directory: %w", err)
	}
	lock, err := dir.Lock(format.LockName, config.ReadOnly)
	if config.ReadOnly && errors.Is(err, fs.ErrNotExist) {
		return dir, noLock{}, nil // nobody has ever written here, or the lock was left out of a copy
	}
	if err != nil {
		return nil, nil, errors.Join(lockError(config.DataDir, err), dir.Close())
	}
	return dir, lock, nil
}

// noLock stands for a lock that is not there.
type noLock struct{}

func (noLock) Close() error { return nil }

// Get returns a copy of key's value, which belongs to the caller, or nil and false if key is absent or the store is closed. A
// value that is present but empty is not nil.
func (s *Store) Get(key string) (value []byte, ok bool) {
	return s.AppendGet(nil, key)
}

// AppendGet appends key's value to dst and returns the extended slice, as append does: without allocation if dst has room.
// If key is absent or the store is closed, it returns dst as it is, and false.
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

// MultiGet returns the values of keys at one moment, nil for the absent ones; all nil if the store is closed. It is faster than
// as many calls of Get. The values belong to the caller; small ones may share memory, which is freed when none of them is in
// use any more.
func (s *Store) MultiGet(keys []string) [][]byte {
	values := make([][]byte, len(keys))
	if t := s.table.Load(); t != nil {
		t.MultiGet(values, keys)
	}
	return values
}

// Len returns the number of keys, 0 if the store is closed.
func (s *Store) Len() int {
	t := s.table.Load()
	if t == nil {
		return 0
	}
	return t.Len()
}

// Keys returns all keys at one moment, unsorted; nil if the store is closed. It takes time and memory with their number, and holds nobody
// up meanwhile: it looks at a view of its own.
func (s *Store) Keys() []string {
	t := s.table.Load()
	if t == nil {
		return nil
	}
	return t.Keys()
}

// Stats returns figures about the store; after Close the last ones.
func (s *Store) Stats() Stats {
	stats := Stats{
		Keys:     int(s.status.keys.Load()),
		WALBytes: s.status.walBytes.Load(),
		Syncs:    s.status.syncs.Load(),
		Groups:   s.status.groups.Load(),
		Commits:  s.status.commits.Load(),
		Recovery: s.recovery,
	}
	stats.Recovery.Dropped = slices.Clone(stats.Recovery.Dropped)
	var since time.Time
	if stats.Views, since = s.views.oldest(); stats.Views > 0 {
		stats.OldestView = time.Since(since)
	}
	_, stats.ViewBytes = s.memory.Views()
	return stats
}

// Set stores a copy of value under key. When it returns nil, the write is durable (SyncWrites false: with the operating system) and
// visible. A nil value is the empty value.
//
// Errors: ErrKeyTooLarge, ErrValueTooLarge, ErrClosed, ErrFailed, ErrReadOnly, ErrStoreFull, and one that Is syscall.ENOSPC when the
// disk is full, after which nothing was written and later writes may succeed.
func (s *Store) Set(key string, value []byte) error {
	ctx := context.Background()
	if err := checkLimits(key, value); err != nil {
		return err
	}
	if err := s.admit(ctx); err != nil {
		return err
	}
	c, err := s.newCommand(ctx, format.EntryOverhead+len(key)+len(value), true)
	if err != nil {
		return err
	}
	c.set(key, value)
	return s.commit(ctx, c)
}

// Delete removes key, which need not exist. It is otherwise like Set.
func (s *Store) Delete(key string) error {
	ctx := context.Background()
	if err := checkLimits(key, nil); err != nil {
		return err
	}
	if err := s.admit(ctx); err != nil {
		return err
	}
	c, err := s.newCommand(ctx, format.EntryOverhead+len(key), true)
	if err != nil {
		return err
	}
	c.delete(key)
	return s.commit(ctx, c)
}

// Apply commits the writes of b together: after a crash, and for every reader, all of them are there or none. It leaves b as it was.
// An empty batch is no commit.
//
// If ctx has ended before the call, nothing happens. If it ends later, Apply returns ctx.Err() at once, and whether the batch is
// committed is unknown. Errors are those of Set, and ErrBatchTooLarge.
func (s *Store) Apply(ctx context.Context, b *Batch) error {
	if err := s.admitBatch(ctx, b); err != nil || b.count == 0 {
		return err
	}
	c, err := s.newCommand(ctx, len(b.entries), ctx.Done() == nil)
	if err != nil {
		return err
	}
	b.fill(c)
	return s.commit(ctx, c)
}

// ApplyAsync is Apply without waiting for the result, which the returned Commit will tell. It waits only for space in the queue, as
// long as ctx lasts; once it has returned, ctx has no influence and b may be changed. Calls of one goroutine commit in
// their order.
func (s *Store) ApplyAsync(ctx context.Context, b *Batch) *Commit {
	commit := newCommit()
	if err := s.admitBatch(ctx, b); err != nil || b.count == 0 {
		commit.finish(err)
		return commit
	}
	c, err := s.newCommand(ctx, len(b.entries), false)
	if err == nil {
		b.fill(c)
		c.commit = commit
		err = s.mailbox.SendWrite(c)
	}
	if err != nil {
		commit.finish(err)
	}
	return commit
}

// Sync returns when every write that was accepted before it is durable: at once with SyncWrites. On a read-only store it
// does nothing. Errors: ErrClosed, ErrFailed.
func (s *Store) Sync() error {
	ctx := context.Background()
	if err := s.admit(ctx); err != nil {
		if errors.Is(err, ErrReadOnly) {
			return nil
		}
		return err
	}
	c := &syncCommand{answer: make(chan error, 1)}
	if err := s.mailbox.SendControl(ctx, c); err != nil {
		return err
	}
	return <-c.answer
}

// admit makes the checks that come before any write, in the order that callers may rely on.
func (s *Store) admit(ctx context.Context) error {
	switch failure := s.status.failure.Load(); {
	case s.table.Load() == nil:
		return ErrClosed
	case failure != nil:
		return *failure
	case s.config.ReadOnly:
		return ErrReadOnly
	}
	return ctx.Err()
}

func (s *Store) admitBatch(ctx context.Context, b *Batch) error {
	if b.err != nil {
		return b.err
	}
	return s.admit(ctx)
}

// commit queues a command and waits for the answer, at most as long as ctx lasts unless the command is attended. Then others may have to hear of it too.
func (s *Store) commit(ctx context.Context, c *writeCommand) error {
	err := s.mailbox.SendWrite(c)
	switch {
	case err != nil:
	case c.Attended():
		err = <-c.answer // half the price of a select
		c.passOn(err)
	default:
		select {
		case err = <-c.answer:
		case <-ctx.Done():
			return ctx.Err() // c is the writer's still
		}
	}
	s.recycle(c)
	return err
}

// Close ends the session. New calls, and those that wait for queue space, get ErrClosed, or find nothing if they are reads; writes
// that were accepted are finished and acknowledged. Then it writes a snapshot, unless the newest one covers everything, so that
// the next Open replays nothing, removes the log that the snapshot covers, and frees the directory. It returns when every goroutine of
// the store has ended, and waits for a stalled disk.
//
// An error means that the snapshot could not be written, or not everything removed; the log then still has every write that was
// acknowledged. On a store that has failed, Close changes nothing on disk and returns ErrFailed. Further calls wait for the first one and
// return nil.
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
