package kvstore

import (
	"context"
	"sync/atomic"
	"time"
)

// clock is the store's expiry clock: the wall time when the store was opened,
// advanced by the monotonic clock. It never goes back. Wall time that is ahead
// of it is adopted when somebody looks; see [clock.look].
//
// The writer stops it while it decides a group. Otherwise a reader could find a
// key gone that a command of the group finds alive, and whose deadline it
// moves; the key would come back.
type clock struct {
	wall   func() time.Time // immutable
	opened int64            // immutable: wall time, in ns since 1970
	since  time.Time        // immutable: the same moment, for the monotonic clock

	adopted atomic.Int64 // ns of wall time that were adopted
	stopped atomic.Int64 // where the clock stands still, or one of the constants below

	steps     atomic.Uint64 // steps of wall time that were reported
	looked    time.Time     // the last look; owned by the goroutine that looks
	steppedAt time.Time     // of the first look that has found the step of now; zero for none; owned like looked
}

// States of clock.stopped. No clock shows these moments, of the year 1678.
const (
	isRunning  = 0
	isStopping = -1 << 63 // it stands still where the next one who reads it finds it
)

const (
	// lookEvery is how often somebody looks at wall time while any key has a
	// deadline.
	lookEvery = time.Second

	// maxAdopted is how far wall time may be ahead to be adopted at once. What
	// is further ahead must stay there for stepTime.
	maxAdopted = time.Minute
	stepTime   = time.Minute
)

func newClock(wall func() time.Time) *clock {
	return &clock{wall: wall, opened: wall().UnixNano(), since: time.Now()}
}

// wallClock returns the clock that config asks for.
func wallClock(config Config) func() time.Time {
	if config.Now != nil {
		return config.Now
	}
	return time.Now
}

// Now returns the time by the store's clock, by which keys are gone at their
// deadlines: the wall time when the store was opened, advanced by the monotonic
// clock. It never goes back while the store is open, whatever happens to the
// wall clock. While any key has a deadline, the store looks at the wall clock
// each second, and adopts it if it is ahead. If it is ahead by more than a
// minute, the store logs a warning, and adopts it when it has been so for a
// minute. Nothing of this is kept for the next session.
func (s *Store) Now() time.Time { return time.Unix(0, s.clock.now()) }

// now returns the time, in ns since 1970.
func (c *clock) now() int64 {
	now := c.running()
	for {
		switch at := c.stopped.Load(); at {
		case isRunning:
			return now
		case isStopping:
			// Those who read the clock before it was to stop may have seen
			// later times than now, but none that is later than this one.
			now = c.running()
			if c.stopped.CompareAndSwap(isStopping, now) {
				return now
			}
		default:
			return min(now, at)
		}
	}
}

// running returns the time of the clock if it did not stop.
func (c *clock) running() int64 { return c.opened + int64(time.Since(c.since)) + c.adopted.Load() }

// stop stops the clock, and returns the time at which it stands still. Only the
// writer calls stop, and then start.
func (c *clock) stop() int64 {
	c.stopped.Store(isStopping)
	return c.now()
}

// start makes it go on, at the time that it would have without stop.
func (c *clock) start() { c.stopped.Store(isRunning) }

// look looks at wall time, and returns by how much that has stepped forward if
// it is to be reported. Only one goroutine looks.
func (c *clock) look() (step time.Duration, report bool) {
	c.looked = time.Now()
	ahead := time.Duration(c.wall().UnixNano() - c.running())
	switch {
	case ahead <= maxAdopted:
		c.steppedAt = time.Time{}
		c.adopted.Add(int64(max(ahead, 0)))
		return 0, false
	case c.steppedAt.IsZero():
		c.steppedAt = c.looked
		c.steps.Add(1)
		return ahead, true
	case c.looked.Sub(c.steppedAt) >= stepTime:
		c.steppedAt = time.Time{}
		c.adopted.Add(int64(ahead))
	}
	return 0, false
}

// lookAtTime looks at wall time for a store without a writer, while any key has
// a deadline, until the function that it returns is called.
func (s *Store) lookAtTime() (end func()) {
	if s.memory.Expiring() == 0 {
		return func() {}
	}
	ctx, end := context.WithCancel(context.Background())
	s.goroutines.Go(func() error {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return nil
			}
			if step, report := s.clock.look(); report {
				s.config.Logger.Warn("kvstore: the wall clock has stepped forward", "dir", s.config.DataDir, "by", step)
			}
		}
	})
	return end
}

// untilLook returns how long it is until the next look.
func (c *clock) untilLook() time.Duration { return lookEvery - time.Since(c.looked) }
