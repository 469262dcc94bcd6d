package kvstore

import "time"

// clock is the store's expiry clock: wall time when the store was opened,
// advanced by the monotonic clock. It never goes back. It is immutable.
type clock struct {
	opened time.Time // wall time, without a monotonic reading
	since  time.Time // the same moment, for the monotonic clock
}

func newClock(wall func() time.Time) clock {
	return clock{opened: wall().Round(0), since: time.Now()}
}

func (c clock) now() time.Time { return c.opened.Add(time.Since(c.since)) }

// wallClock returns the clock that config asks for.
func wallClock(config Config) func() time.Time {
	if config.Now != nil {
		return config.Now
	}
	return time.Now
}

// Now returns the time by the store's clock: the wall time when the store was
// opened, advanced by the monotonic clock. It never goes back while the store
// is open, whatever happens to the wall clock.
func (s *Store) Now() time.Time { return s.clock.now() }
