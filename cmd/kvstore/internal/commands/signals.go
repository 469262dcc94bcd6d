package commands

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns a context that the first SIGINT or SIGTERM cancels, for
// commands that finish or clean up something then. The second signal ends the
// process, as the first does in all other commands. For the same reason a write
// to a closed pipe returns an error instead of ending the process. release
// restores the previous behavior.
func interruptible(parent context.Context) (ctx context.Context, release func()) {
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, func() {
		stop()
		signal.Reset(syscall.SIGPIPE)
	}
}
