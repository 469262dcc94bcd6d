package commands

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// interruption is how signals end a command.
//
// Outside of protect, SIGINT, SIGTERM and SIGHUP have their default effect: the
// first one ends the process at once, whatever it waits for. That is right
// wherever there is nothing to finish or to remove: while a pipe is opened that
// has no other end, while the store is opened, and while results are printed.
type interruption struct {
	ctx       context.Context // immutable; ended by the first signal in a protected part
	cancel    func()          // immutable
	protected bool            // owned by the goroutine of the command
}

func newInterruption() interruption {
	ctx, cancel := context.WithCancel(context.Background())
	return interruption{ctx: ctx, cancel: cancel}
}

// protect calls do, which begins something that it must finish or remove. Here
// the first signal cancels ctx. The second one ends the process. A write to a
// pipe without a reader returns an error instead of ending the process.
//
// do must wait for no other process except through ctx: it reads with
// [inputFile.until] and writes with [stream]. A protected part may contain
// another.
func (i *interruption) protect(do func(ctx context.Context) error) error {
	switch {
	case i.ctx.Err() != nil:
		return errInterrupted
	case i.protected:
		return do(i.ctx)
	}
	i.protected = true
	signal.Ignore(syscall.SIGPIPE)
	watch, end := i.watch()
	go watch()
	err := do(i.ctx)
	end()
	signal.Reset(syscall.SIGPIPE)
	i.protected = false
	return err
}

// watch catches signals. The function watch waits for one and cancels the
// context. The function end restores the default effect; when it returns, a
// signal that came before has been seen.
func (i *interruption) watch() (watch, end func()) {
	came := make(chan os.Signal, 1)
	signal.Notify(came, caught()...)
	var seen sync.WaitGroup
	seen.Add(1)
	watch = func() {
		defer seen.Done()
		if _, ok := <-came; ok {
			signal.Stop(came) // the second signal ends the process
			i.cancel()
		}
	}
	end = func() {
		signal.Stop(came)
		close(came)
		seen.Wait()
	}
	return watch, end
}

// caught returns the signals that end a command. One that was ignored when the
// process started stays ignored, as nohup and the & of a script want it.
func caught() []os.Signal {
	return slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)
}

// await calls do in a goroutine of its own, and returns what do returns. If ctx
// ends and do takes longer than patience after that, await leaves it behind and
// returns errInterrupted.
func await[T any](ctx context.Context, patience time.Duration, do func() (T, error)) (result T, err error) {
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := do()
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
	}
	select {
	case o := <-done:
		return o.result, o.err
	case <-time.After(patience):
		return result, errInterrupted
	}
}
