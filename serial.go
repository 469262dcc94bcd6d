package kvstore

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// This file is serial transactions: functions that the writer runs one after
// the other, in commit order.

// Do runs fn once, in the writer's goroutine and in commit order, and commits
// what it has written as one commit: all of it or nothing. fn reads the state
// after everything that commits before it, and its own writes. There is no
// conflict and no retry, however many change the same keys, and one fsync makes
// the commits of all callers durable that wait at the same time. Readers do not
// wait for fn.
//
// Writers do: fn is for a few reads and writes, some microseconds. A function
// that takes longer belongs to [Store.Update]. fn must not block, and must not
// call methods of the store that write, nor Sync, Snapshot or Close: such a
// call would wait for the writer, which waits for fn, for ever. The store logs
// a warning with fn's name if it runs for 10 ms, and again every 10 s.
//
// What fn reads may not be durable yet. So nothing of it may leave fn but
// through Do, which returns when everything that fn has read and written is
// durable and visible. That is so also if fn has written nothing, which makes
// no commit, and if it returns an error: Do returns it unchanged and commits
// nothing. If fn panics, nothing is committed, and Do panics with a
// [*PanicError]. If fn calls runtime.Goexit, so does Do. Scan in fn needs the
// index of keys, which the first scan of the store builds; see [Tx.All].
//
// If ctx ends before fn has begun, fn never runs, and Do returns ctx.Err(). If
// it ends later, Do returns ctx.Err() when fn has returned, and the outcome is
// unknown. When Do has returned, fn does not run any more. Other errors are
// those of Apply, and ErrVersionOrder. If the commit fails, as on a full disk,
// that error is the answer, and fn is not run again.
func (s *Store) Do(ctx context.Context, fn func(tx *Tx) error) error {
	c, f, err := s.newFunction(ctx, fn, ctx.Done() == nil)
	if err != nil {
		return err
	}
	if err := s.mailbox.SendWrite(c); err != nil {
		s.recycle(c)
		return err
	}
	err = s.awaitFunction(ctx, c, f)
	if p, ok := err.(*PanicError); ok && p == f.panicked { //nolint:errorlint // fn may return one that wraps it
		p.raise()
	}
	return err
}

// DoAsync is Do without waiting for the result, which the returned Commit
// provides: a panic of fn, and its Goexit, as a [*PanicError]. It blocks only
// while the queue has no room, until ctx ends. If ctx ends before fn has begun,
// fn never runs. Calls of one goroutine commit in their order, those of
// ApplyAsync among them.
func (s *Store) DoAsync(ctx context.Context, fn func(tx *Tx) error) *Commit {
	commit := newCommit()
	c, _, err := s.newFunction(ctx, fn, false)
	if err == nil {
		c.commit = commit
		err = s.mailbox.SendWrite(c)
	}
	if err != nil {
		commit.complete(0, err)
	}
	return commit
}

// PanicError says that a function given to [Store.Do] has panicked.
type PanicError struct {
	Value any    // what it panicked with; nil if it has called runtime.Goexit
	Stack []byte // of the goroutine, as debug.Stack returns it
}

// Error returns the value and the stack.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return fmt.Sprintf("kvstore: a function given to Do has called runtime.Goexit\n\n%s", e.Stack)
	}
	return fmt.Sprintf("kvstore: a function given to Do has panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// raise ends the caller's goroutine as fn has ended the writer's.
func (e *PanicError) raise() {
	if e.Value == nil {
		runtime.Goexit()
	}
	panic(e)
}

// function is a function for the writer to run.
type function struct {
	fn    func(tx *Tx) error // immutable
	ctx   context.Context    // immutable: of the caller
	state atomic.Int32       // one of the constants below
	ended chan struct{}      // closed when fn does not run any more

	panicked *PanicError // written before the command is answered
}

// States of a function.
const (
	isQueued  int32 = iota
	hasBegun        // the writer runs it, or has run it
	isGivenUp       // the caller has left, and it must not run
)

// newFunction returns a command that runs fn.
func (s *Store) newFunction(ctx context.Context, fn func(*Tx) error, blocking bool) (*writeCommand, *function, error) {
	if err := s.checkWritable(ctx); err != nil {
		return nil, nil, err
	}
	c, err := s.newCommand(ctx, 0, blocking)
	if err != nil {
		return nil, nil, err
	}
	f := &function{fn: fn, ctx: ctx, ended: make(chan struct{})}
	c.decide = func(a *ahead) (write bool, err error) { return a.serial.run(f, c, a) }
	return c, f, nil
}

// awaitFunction waits for the answer of a command, or until ctx has ended and
// fn does not run.
func (s *Store) awaitFunction(ctx context.Context, c *writeCommand, f *function) error {
	err := s.await(ctx, c)
	if ctx.Err() == nil || err != ctx.Err() { //nolint:errorlint // await returns it unchanged
		return err
	}
	if !f.state.CompareAndSwap(isQueued, isGivenUp) {
		<-f.ended
	}
	return err
}

const (
	// maxSerialTime ends a group whose functions have taken this long, so that
	// the callers ahead of the next one do not wait for it.
	maxSerialTime = 2 * time.Millisecond

	// A function that takes warnAfter is reported, and again every warnEvery.
	warnAfter = 10 * time.Millisecond
	warnEvery = 10 * time.Second
)

// serial runs functions for the writer. Fields are owned by the writer unless
// they say otherwise.
type serial struct {
	spawn  func(func() error) // immutable: starts a goroutine that Close waits for
	logger *slog.Logger       // immutable

	spent  time.Duration // by functions of this group
	exited bool          // a function has not returned, and may have called runtime.Goexit

	mu      sync.Mutex
	running *function   // guarded by mu; nil for none
	started time.Time   // guarded by mu: when running was
	timer   *time.Timer // guarded by mu: calls warn; nil before the first function
}

// isLate reports whether the group's functions have taken long enough.
func (s *serial) isLate() bool { return s.spent >= maxSerialTime }

// run runs the function of a command that meets the state a, and makes the
// command write what the function has written. The function may end the
// goroutine by runtime.Goexit.
func (s *serial) run(f *function, c *writeCommand, a *ahead) (write bool, err error) {
	if err := f.ctx.Err(); err != nil || !f.state.CompareAndSwap(isQueued, hasBegun) {
		return false, err
	}
	tx, returned, now := &Tx{state: a, ahead: a, writes: map[string]written{}, now: a.now}, false, a.now
	s.enter(f)
	defer func() {
		tx.ended = true
		a.closeView()
		a.now = now // SetNow was for this function
		s.leave()
		if !returned {
			value := recover()
			f.panicked = &PanicError{Value: value, Stack: debug.Stack()}
			// After Goexit, nobody gets what run returns. There may have been a
			// Goexit even if there is a value: that of a panic in a function
			// that it deferred.
			write, err, s.exited = false, f.panicked, true
			c.err = err
		}
		close(f.ended)
	}()
	err = f.fn(tx)
	returned = true
	if err == nil {
		err = tx.err
	}
	if err != nil || len(tx.writes) == 0 {
		return false, err
	}
	b := tx.batch()
	b.move(c)
	return b.err == nil, b.err
}

// enter notes that a function runs from now on.
func (s *serial) enter(f *function) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.started = f, time.Now()
	if s.timer == nil {
		s.timer = time.AfterFunc(warnAfter, s.warn)
	} else {
		s.timer.Reset(warnAfter)
	}
}

// leave notes that it does not run any more.
func (s *serial) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.running = nil
	s.spent += time.Since(s.started)
}

// warn reports a function that holds up the writer. As long as it runs, so does
// the writer, and spawn may be called.
func (s *serial) warn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return
	}
	took := time.Since(s.started)
	if took < warnAfter { // this call was meant for the function before
		s.timer.Reset(warnAfter - took)
		return
	}
	name := runtime.FuncForPC(reflect.ValueOf(s.running.fn).Pointer()).Name()
	s.spawn(func() error { // a Logger may write to this store, and then waits for the writer
		s.logger.Warn("kvstore: a function given to Do holds up all writers", "function", name, "for", took)
		return nil
	})
	s.timer.Reset(warnEvery)
}
