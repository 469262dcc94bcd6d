// Package lockwait waits for the lock of a data directory. Config.LockTimeout
// would do the same, but a signal could not end that.
package lockwait

import (
	"context"
	"errors"
	"time"

	"kvstore"
)

const (
	firstPause   = time.Millisecond
	longestPause = 50 * time.Millisecond
)

// Do calls try, and again while it returns kvstore.ErrLocked, until timeout has
// passed. If ctx ends between two calls, Do returns its error at once.
func Do(ctx context.Context, timeout time.Duration, try func() error) error {
	left := timeout
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := try()
		if !errors.Is(err, kvstore.ErrLocked) || left <= 0 {
			return err
		}
		pause = min(pause, left)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		left -= pause
	}
}
