package kvstore

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// This file is writes to one key that depend on its value. The writer decides
// them, in commit order.

// CompareAndSwap sets key to next if its value is old, and reports whether it
// was. A nil old stands for an absent key, or one whose deadline has passed. A
// nil next deletes the key. Empty values that are not nil are values. A key
// that it sets has no deadline, also if it had one before: to keep it, use Do.
// The comparison is made in commit order, against everything that commits
// before it. The answer, false too, comes when all that it depends on is
// durable and visible.
//
// Errors are those of Set. swapped is false then, and as with Set the outcome
// is unknown after ErrFailed.
func (s *Store) CompareAndSwap(key string, old, next []byte) (swapped bool, err error) {
	ctx := context.Background()
	if err := checkLimits(key, next); err != nil {
		return false, err
	}
	if err := s.checkWritable(ctx); err != nil {
		return false, err
	}
	c, err := s.newCommand(ctx, entryBytes(key, next, 0)+len(old), true)
	if err != nil {
		return false, err
	}
	if next == nil {
		c.list.delete(key)
	} else {
		c.list.set(key, next, 0)
	}
	wantPresent, old := old != nil, slices.Clone(old) // copied, like everything that is queued
	c.decide = func(a *ahead) (write bool, err error) {
		value, _, present := a.Find(nil, key)
		swapped = present == wantPresent && bytes.Equal(value, old)
		return swapped, nil
	}
	err = s.commit(ctx, c)
	return swapped && err == nil, err
}

// Add adds delta to the number in key's value, and returns the sum. The value
// is decimal text as strconv.FormatInt writes it; the number of an absent key
// is 0. Additions never conflict, however hot the key is. Add keeps the key's
// deadline. If that has passed, the key is absent: the sum is delta, and has no
// deadline. Add commits also if delta is 0.
//
// Errors: ErrNotNumber if the value is anything else, ErrOverflow if the sum is
// not an int64, and those of Set. Nothing is written then, but as with Set the
// outcome is unknown after ErrFailed.
func (s *Store) Add(key string, delta int64) (int64, error) {
	ctx := context.Background()
	if err := checkLimits(key, nil); err != nil {
		return 0, err
	}
	if err := s.checkWritable(ctx); err != nil {
		return 0, err
	}
	c, err := s.newCommand(ctx, entryBytes(key, nil, 0)+maxNumberBytes+expireEntryBytes+len(key), true)
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	c.decide = func(a *ahead) (write bool, err error) {
		var deadline int64
		if sum, deadline, err = a.add(key, delta); err != nil {
			return false, err
		}
		var text [maxNumberBytes]byte
		c.list.set(key, strconv.AppendInt(text[:0], sum, 10), deadline)
		return true, nil
	}
	if err := s.commit(ctx, c); err != nil {
		return 0, err
	}
	return sum, nil
}

// maxNumberBytes is the length of the longest int64: of math.MinInt64.
const maxNumberBytes = len("-9223372036854775808")

// add returns the sum of key's number and delta, and key's deadline.
func (a *ahead) add(key string, delta int64) (sum, deadline int64, err error) {
	var room [maxNumberBytes]byte
	text, deadline, present := a.Find(room[:0], key)
	number := int64(0)
	if present {
		if number, err = parseNumber(text); err != nil {
			return 0, 0, fmt.Errorf("%w (key %.40q)", err, key)
		}
	}
	if delta > 0 && number > math.MaxInt64-delta || delta < 0 && number < math.MinInt64-delta {
		return 0, 0, fmt.Errorf("%w: %d and %d (key %.40q)", ErrOverflow, number, delta, key)
	}
	return number + delta, deadline, nil
}

// parseNumber parses what strconv.FormatInt writes, and no other text.
func parseNumber(text []byte) (int64, error) {
	number, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || strconv.FormatInt(number, 10) != string(text) {
		return 0, fmt.Errorf("%w: %.40q", ErrNotNumber, text)
	}
	return number, nil
}
