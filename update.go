package kvstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"kvstore/internal/goroutine"
	"kvstore/internal/mailbox"
)

// This file is transactions with optimistic concurrency control (Kung and
// Robinson, 1981). A transaction reads from a view. When it commits, the writer
// checks whether anything that it has read was changed since.

// Update runs fn in a transaction and commits what it has written as one
// commit: all of it or nothing. Transactions are serializable: the result is as
// if they had run one after the other, each at the moment of its commit.
//
// fn reads the state at its beginning, and its own writes. If something that it
// has read is changed by others before the commit, nothing happens and fn runs
// again, until it succeeds. A key that it has found and whose deadline has
// passed at the commit counts as changed. A key that was absent counts as read,
// and so does a range as far as the scan went. So fn should have no other
// effects. After a few losses, each followed by a longer pause, a transaction
// takes its turn: the writer waits for it, for at most 10 ms, and commits
// nothing else meanwhile. So only a transaction that takes longer may lose
// again and again. If ctx ends first, the error Is ErrConflict and ctx.Err().
// If fn returns an error, Update returns it unchanged and commits nothing. If
// fn panics, nothing is committed either. A transaction that only reads commits
// nothing and runs once. See [Store.Do] for short functions on keys that many
// change.
//
// fn may call the store's other methods. They are not part of the transaction.
// With them, fn must not write to a key or a range that it has read in the
// transaction: it would conflict with itself each time. Update notices that in
// the transaction's turn, if fn writes in its own goroutine, and returns an
// error that Is ErrConflict.
//
// If ctx has ended before the call, nothing happens. If it ends while Update
// waits for the commit, Update returns ctx.Err() at once, and the outcome is
// unknown. Other errors are those of Apply, and ErrReadOnly only if fn has
// written.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	if s.table.Load() == nil {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	u := update{store: s, fn: fn}
	for {
		err := u.run(ctx)
		if err != errAgain && err != errExpired { //nolint:errorlint // never wrapped, and fn may return anything
			return err
		}
		if err == errAgain { //nolint:errorlint // as above
			u.losses++
			u.pause(ctx)
		}
		switch ended := ctx.Err(); {
		case ended != nil && u.losses > 0:
			return fmt.Errorf("%w: %w", ErrConflict, ended)
		case ended != nil:
			return ended
		}
	}
}

// update is one call of Update.
type update struct {
	store  *Store
	fn     func(tx *Tx) error
	losses int // runs whose reads were changed

	turn *turnCommand // while the writer waits for this run
	own  *ownWrites   // of this run, in its turn
}

// Results of a transaction that was not committed. No fn can return them.
var (
	errAgain   = errors.New("kvstore: what the transaction has read was changed")
	errExpired = errors.New("kvstore: the context has ended before the commit was queued")
)

const (
	// patience is how many losses a transaction takes before it takes its turn.
	patience = 4

	// firstPause is the longest pause after the second loss. It doubles with
	// each further one. After the first loss there is none.
	firstPause = 100 * time.Microsecond
	maxPause   = 10 * time.Millisecond
)

// pause lets others go ahead after a loss, for a random time.
func (u *update) pause(ctx context.Context) {
	if u.losses < 2 {
		return
	}
	longest := min(firstPause<<min(u.losses-2, 16), maxPause)
	timer := time.NewTimer(rand.N(longest)) //nolint:gosec // not for security
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// run runs the transaction once, in its turn after some losses.
func (u *update) run(ctx context.Context) error {
	if u.losses < patience {
		return u.try(ctx)
	}
	turn, err := u.store.takeTurn(ctx)
	if err != nil {
		return err
	}
	u.turn = turn
	defer u.giveUpTurn()
	return u.try(ctx)
}

// giveUpTurn lets the writer go on, if it still waits.
func (u *update) giveUpTurn() {
	if u.turn != nil {
		u.turn.pass(nil)
		u.turn = nil
	}
}

// try runs the transaction once.
func (u *update) try(ctx context.Context) error {
	view, err := u.store.openView()
	if err != nil {
		return err
	}
	defer func() { _ = view.Close() }() // it returns nil
	reads := newReadSet(view.view)
	defer reads.close()
	tx := &Tx{state: view.view, reads: reads, writes: map[string]written{}, now: view.view.Now()}
	defer func() { tx.ended = true }()
	if err := u.call(tx); err != nil {
		return err
	}
	tx.ended = true
	if tx.err != nil || len(tx.writes) == 0 {
		return tx.err
	}
	err = u.commit(ctx, tx)
	if key, ok := u.own.within(reads); ok && err == errAgain { //nolint:errorlint // never wrapped
		return fmt.Errorf("%w: the function itself has written to what it has read (key %.40q)", ErrConflict, key)
	}
	return err
}

// call calls fn. In its turn it notes what fn writes without tx.
func (u *update) call(tx *Tx) error {
	if u.turn != nil {
		id := goroutine.ID()
		u.own = u.store.updates.watch(id)
		defer u.store.updates.unwatch(id)
	}
	return u.fn(tx)
}

// commit has the writer commit a transaction if its reads still hold.
func (u *update) commit(ctx context.Context, tx *Tx) error {
	for {
		stillHolds, err := tx.reads.prepare(u.store)
		if err != nil {
			return err
		}
		if !stillHolds {
			return errAgain
		}
		verdict, err := u.offer(ctx, tx)
		switch {
		case err != nil:
			return err
		case verdict == changed:
			return errAgain
		case verdict == holds:
			return nil
		}
	}
}

// offer has the writer commit a transaction if it finds that the reads hold.
func (u *update) offer(ctx context.Context, tx *Tx) (verdict, error) {
	b, found := tx.batch(), changed
	if err := u.store.checkBatch(ctx, b); err != nil {
		return 0, expired(ctx, err)
	}
	decide := func(a *ahead) (write bool, err error) {
		found = tx.reads.check(a)
		return found == holds, nil
	}
	if u.turn != nil {
		switch passed, err := u.passOn(ctx, b, decide); {
		case err != nil:
			return 0, err // as below
		case passed:
			return found, nil
		}
	}
	c, err := u.store.newCommand(ctx, len(b.list.entries)+tx.reads.bytes(), ctx.Done() == nil)
	if err != nil {
		return 0, expired(ctx, err)
	}
	b.move(c)
	c.decide = decide
	if err := u.store.commit(ctx, c); err != nil {
		return 0, err // if ctx has ended, found is still the writer's
	}
	return found, nil
}

// passOn has the writer, which waits for this transaction, commit it. It
// returns false if the writer does not wait any more.
func (u *update) passOn(ctx context.Context, b *Batch, decide func(*ahead) (bool, error)) (passed bool, err error) {
	s := u.store
	c := s.spareCommand()
	c.Ticket = s.mailbox.Direct(ctx.Done() == nil)
	b.move(c)
	c.decide = decide
	if !u.turn.pass(c) {
		c.list = entryList{} // the batch is needed again
		var credits mailbox.Credits
		credits.Add(c)
		s.mailbox.Release(credits)
		s.recycle(c)
		return false, nil
	}
	u.turn = nil
	return true, s.await(ctx, c)
}
