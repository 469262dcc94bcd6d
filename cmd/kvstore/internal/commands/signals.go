package commands

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns a context that ends with the first SIGINT or SIGTERM, for commands that have something to finish or to
// remove then; the second one ends the process, as the first does in all other commands. A pipe that nobody reads any more is an
// error from here on, for the same reason. release undoes all this.
func interruptible(parent context.Context) (ctx context.Context, release func()) {
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, func() {
		stop()
		signal.Reset(syscall.SIGPIPE)
	}
}
