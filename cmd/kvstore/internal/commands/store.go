package commands

import (
	"context"
	"errors"

	"kvstore"
)

// withReader opens the store read-only and calls do. Nothing is written, not
// even to repair what a crash has left.
func (a *app) withReader(do func(s *kvstore.Store) error) error {
	return a.withStore(true, do)
}

// withReaderContext is withReader with a context that a signal cancels, for
// commands that have something to clean up.
func (a *app) withReaderContext(do func(ctx context.Context, s *kvstore.Store) error) error {
	ctx, release := interruptible(context.Background())
	defer release()
	return a.withStore(true, func(s *kvstore.Store) error { return do(ctx, s) })
}

// withWriter opens the store, calls do, and closes the store, which writes a
// snapshot. A signal cancels ctx. If one came while the store was opened, do is
// not called.
func (a *app) withWriter(do func(ctx context.Context, s *kvstore.Store) error) error {
	ctx, release := interruptible(context.Background())
	defer release()
	return a.withStore(false, func(s *kvstore.Store) error {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return do(ctx, s)
	})
}

// withView opens the store read-only and calls do with a view of it.
func (a *app) withView(do func(v *kvstore.View) error) error {
	return a.withReader(func(s *kvstore.Store) error {
		view, err := s.View()
		if err != nil {
			return err
		}
		return errors.Join(do(view), view.Close())
	})
}

// withStore opens the store, warns if recovery dropped something, calls do, and
// closes the store.
func (a *app) withStore(readOnly bool, do func(s *kvstore.Store) error) error {
	dir, err := a.dataDir()
	if err != nil {
		return err
	}
	config := kvstore.DefaultConfig(dir)
	config.ReadOnly = readOnly
	store, err := kvstore.OpenWithConfig(config)
	if err != nil {
		return err
	}
	for _, d := range store.Stats().Recovery.Dropped {
		a.warnf("%s ends with %s of a write that was never finished, from offset %d; they do not count",
			d.File, counted(d.Bytes, "byte"), d.Offset)
	}
	return errors.Join(do(store), store.Close())
}
