package kvstore

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"
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

	turns *semaphore.Weighted // immutable: see updates; acquired until the turn has ended
}

// takeTurn returns when the writer waits for the transaction. Callers take
// turns one at a time. A turn ends when the writer goes on, and not when the
// function returns: that may run another transaction, which takes a turn too.
func (s *Store) takeTurn(ctx context.Context) (*turnCommand, error) {
	turn := &turnCommand{
		ctx: ctx, granted: make(chan struct{}), commit: make(chan *writeCommand), lapsed: make(chan struct{}),
		turns: s.updates.turns,
	}
	if turn.turns.Acquire(ctx, 1) != nil {
		return nil, errExpired
	}
	err := s.checkWritable(ctx)
	if err == nil {
		err = s.mailbox.SendControl(ctx, turn)
	}
	if err != nil {
		turn.turns.Release(1)
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

// end ends the turn, for the writer.
func (t *turnCommand) end() {
	close(t.lapsed)
	t.turns.Release(1)
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
	defer turn.end()
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
