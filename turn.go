package kvstore

import (
	"context"
	"errors"
	"time"
)

// turnTime is how long the writer waits for a transaction that has its turn.
const turnTime = 10 * time.Millisecond

// turnCommand asks the writer to wait for one transaction. What that reads is
// changed by nobody else meanwhile, so it does not lose.
type turnCommand struct {
	ctx     context.Context    // of the transaction; if it has ended, there is nothing to wait for
	granted chan struct{}      // closed by the writer when it waits
	commit  chan *writeCommand // of no place; nil if the transaction has nothing to commit
	lapsed  chan struct{}      // closed by the writer when it waits no more
}

// takeTurn returns when the writer waits for the transaction. Callers ask for
// turns one at a time. They do not hold up each other while they have a turn:
// its function may call Update, which then takes a turn of its own when this
// one has lapsed.
func (s *Store) takeTurn(ctx context.Context) (*turnCommand, error) {
	if s.updates.turns.Acquire(ctx, 1) != nil {
		return nil, errExpired
	}
	defer s.updates.turns.Release(1)
	turn := &turnCommand{
		ctx: ctx, granted: make(chan struct{}), commit: make(chan *writeCommand), lapsed: make(chan struct{}),
	}
	if err := s.checkWritable(ctx); err != nil {
		return nil, expired(ctx, err)
	}
	if err := s.mailbox.SendControl(ctx, turn); err != nil {
		return nil, expired(ctx, err)
	}
	select {
	case <-turn.granted:
		return turn, nil
	case <-ctx.Done():
		return nil, errExpired
	}
}

// pass hands the writer what to commit, nil for nothing, and ends the turn. It
// returns false if the writer does not wait any more.
func (t *turnCommand) pass(c *writeCommand) bool {
	select {
	case t.commit <- c:
		return true
	case <-t.lapsed:
		return false
	}
}

// expired returns err, or errExpired if it is that ctx has ended.
func expired(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return errExpired
	}
	return err
}

// giveTurn waits for a transaction, and makes it the first command of the next
// group.
func (w *walWriter) giveTurn(turn *turnCommand) {
	defer close(turn.lapsed)
	if turn.ctx.Err() != nil {
		return
	}
	close(turn.granted)
	timer := time.NewTimer(turnTime)
	defer timer.Stop()
	select {
	case c := <-turn.commit:
		if c != nil {
			w.take(c)
		}
	case <-timer.C:
	case <-turn.ctx.Done():
	}
}
