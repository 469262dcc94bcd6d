package commands

import (
	"context"
	"errors"

	"kvstore"
)

// reading opens the store read-only for do. Nothing is written, not even to repair what a crash has left.
func (a *app) reading(do func(s *kvstore.Store) error) error {
	return a.with(true, do)
}

// readingFor is reading for what takes a while and has something to remove when it is interrupted, which ends ctx.
func (a *app) readingFor(do func(ctx context.Context, s *kvstore.Store) error) error {
	ctx, release := interruptible(context.Background())
	defer release()
	return a.with(true, func(s *kvstore.Store) error { return do(ctx, s) })
}

// writing opens the store for do and closes it, which leaves a snapshot. do must look at ctx before it writes: it ends when the
// user interrupts.
func (a *app) writing(do func(ctx context.Context, s *kvstore.Store) error) error {
	ctx, release := interruptible(context.Background())
	defer release()
	return a.with(false, func(s *kvstore.Store) error {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return do(ctx, s)
	})
}

func (a *app) with(readOnly bool, do func(s *kvstore.Store) error) error {
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
		a.warn("%s ends with %d bytes of a write that was never finished, from offset %d; they do not count", d.File, d.Bytes, d.Offset)
	}
	return errors.Join(do(store), store.Close())
}
