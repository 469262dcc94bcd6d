package commands

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lockwait"
)

// openMode is what a command opens the store for.
type openMode int

const (
	toRead   openMode = iota
	toWrite           // a store that must exist
	toCreate          // a store that need not exist
)

// withReader opens the store read-only and calls do. Nothing is written, not
// even to repair what a crash has left.
func (a *app) withReader(do func(s *kvstore.Store) error) error {
	store, err := a.open(a.ctx, toRead)
	if err != nil {
		return err
	}
	return errors.Join(do(store), store.Close())
}

// withWriter opens the store, calls do, and closes the store, which writes a
// snapshot. A signal cancels ctx. If one came while the store was opened, do is
// not called.
func (a *app) withWriter(mode openMode, do func(ctx context.Context, s *kvstore.Store) error) error {
	return a.protect(func(ctx context.Context) error {
		store, err := a.open(ctx, mode)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(errInterrupted, store.Close())
		}
		err = do(ctx, store)
		closed := store.Close()
		if err == nil && isFull(closed) {
			a.warnf("everything is durable, but there was no room for a snapshot: %v", closed)
			return nil
		}
		return errors.Join(err, closed)
	})
}

// openPatience is how long a store may still be opened after a signal, so that
// it can be closed properly. If it takes longer, because the store is large,
// its files are left as after a crash.
const openPatience = 2 * time.Second

// isFull reports whether err is that of a disk, a quota or a limit that leaves
// no room.
func isFull(err error) bool { return isOneOf(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG) }

// withView opens the store read-only and calls do with a view of it.
func (a *app) withView(do func(s *kvstore.Store, v *kvstore.View) error) error {
	return a.withReader(func(s *kvstore.Store) error {
		view, err := s.View()
		if err != nil {
			return err
		}
		return errors.Join(do(s, view), view.Close())
	})
}

// whenUnlocked calls do, which takes the lock of a data directory. While
// another process has that lock, whenUnlocked repeats that until the time of
// --wait is over. The end of ctx ends the wait at once.
func (a *app) whenUnlocked(ctx context.Context, do func() error) error {
	return interrupted(lockwait.Do(ctx, time.Duration(a.wait), do))
}

// open opens the store and warns if recovery dropped something. After the end
// of ctx it waits for openPatience.
func (a *app) open(ctx context.Context, mode openMode) (*kvstore.Store, error) {
	dir, err := a.dataDir()
	if err != nil {
		return nil, err
	}
	config := kvstore.DefaultConfig(dir)
	config.ReadOnly, config.MustExist = mode == toRead, mode == toWrite
	var warnings storeWarnings
	config.Logger = slog.New(&warnings)
	var store *kvstore.Store
	err = a.whenUnlocked(ctx, func() (err error) {
		store, err = await(ctx, openPatience, func() (*kvstore.Store, error) { return kvstore.OpenWithConfig(config) })
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, text := range warnings.take() {
		a.warnf("%s", text)
	}
	for _, d := range store.Stats().Recovery.Dropped {
		a.warnf("%s ends with %s of a write that was never finished, from offset %d; they do not count",
			d.File, counted(d.Bytes, "byte"), d.Offset)
	}
	return store, nil
}
