package kvstore

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"
)

// This file is keys with a deadline, as callers set and read it. What becomes
// of them is in expirer.go.

// SetUntil is [Store.Set] of a key that is gone at deadline, by the store's
// clock: see [Store.Now]. A zero deadline is none, as with Set. If deadline is
// not after now, SetUntil deletes the key.
//
// From its deadline on, the key is absent for every read and every condition.
// It takes memory, and counts against MaxKeys, until the writer has deleted it,
// which is usually a matter of milliseconds. The deadline belongs to the value:
// a later Set or CompareAndSwap removes it, and the key then stays. Add keeps
// it, and Expire changes it.
//
// Errors are those of Set, and ErrDeadline.
func (s *Store) SetUntil(key string, value []byte, deadline time.Time) error {
	until, err := nanoseconds(deadline)
	if err != nil {
		return err
	}
	return s.set(key, value, until)
}

// SetFor is [Store.SetUntil] with a deadline that is ttl from now, by the
// store's clock. Errors: ErrDeadline if ttl is not positive or reaches beyond
// the year 2262, and those of Set.
func (s *Store) SetFor(key string, value []byte, ttl time.Duration) error {
	now := s.clock.now()
	if ttl <= 0 || int64(ttl) > math.MaxInt64-now {
		return fmt.Errorf("%w: %v from now", ErrDeadline, ttl)
	}
	return s.set(key, value, now+int64(ttl))
}

// Expire changes key's deadline, and reports whether the key is there. A zero
// deadline removes the one that key has, so that the key stays. If deadline is
// not after now, Expire deletes the key. The value stays as it is.
//
// Whether the key is there is decided in commit order. If it is absent, or its
// deadline has passed, Expire writes nothing and returns false: no key comes
// back.
//
// Errors are those of [Store.SetUntil]. found is false then, and as with Set
// the outcome is unknown after ErrFailed.
func (s *Store) Expire(key string, deadline time.Time) (found bool, err error) {
	ctx := context.Background()
	until, err := nanoseconds(deadline)
	if err != nil {
		return false, err
	}
	if err := checkLimits(key, nil); err != nil {
		return false, err
	}
	if err := s.checkWritable(ctx); err != nil {
		return false, err
	}
	c, err := s.newCommand(ctx, expireEntryBytes+len(key), true)
	if err != nil {
		return false, err
	}
	if isDue(until, s.clock.now()) {
		c.list.delete(key)
	} else {
		c.list.expire(key, until)
	}
	c.decide = func(a *ahead) (write bool, err error) {
		_, found = a.Deadline(key)
		return found, nil
	}
	err = s.commit(ctx, c)
	return found && err == nil, err
}

// Deadline returns when key is gone: the zero time for never. ok reports
// whether the key is there. It is false for a key whose deadline has passed,
// and if the store is closed.
func (s *Store) Deadline(key string) (deadline time.Time, ok bool) {
	t := s.table.Load()
	if t == nil {
		return time.Time{}, false
	}
	until, ok := t.Deadline(key)
	return moment(until), ok
}

// Deadline is [Store.Deadline] in the view: it may have passed since the view
// was opened. ok is false if the view is closed.
func (v *View) Deadline(key string) (deadline time.Time, ok bool) {
	defer runtime.KeepAlive(v)
	until, ok := v.view.Deadline(key)
	return moment(until), ok
}

// Due returns at most n keys whose deadline has passed and that are not deleted
// yet, in the order of deadlines to the millisecond; nil if the store is
// closed. It returns fewer if they have more than 1 MiB together. It is for a
// store whose commits come from a log elsewhere: see Config.Replicated and
// [Tx.DeleteDue].
func (s *Store) Due(n int) []string {
	t := s.table.Load()
	if t == nil || n <= 0 {
		return nil
	}
	return t.DueKeys(t.Now(), n, maxExpiredBytes, nil)
}

// nanoseconds returns a deadline as the log has it: in ns since 1970, or 0 for
// none.
func nanoseconds(deadline time.Time) (int64, error) {
	if deadline.IsZero() {
		return 0, nil
	}
	until := deadline.UnixNano()
	if !time.Unix(0, until).Equal(deadline) {
		return 0, fmt.Errorf("%w: %v", ErrDeadline, deadline)
	}
	if until == 0 {
		return 1, nil // 1970 is no deadline
	}
	return until, nil
}

// moment returns the time of a deadline, the zero time for none.
func moment(until int64) time.Time {
	if until == 0 {
		return time.Time{}
	}
	return time.Unix(0, until)
}

// isDue reports whether a key with this deadline is gone at a moment.
func isDue(until, now int64) bool { return until != 0 && until <= now }
