package kvstore

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"kvstore/internal/format"
)

// This file is writes to one key that depend on its value. The writer decides
// them, in commit order.

// CompareAndSwap sets key to next if its value is old, and reports whether it
// was. A nil old stands for an absent key, a nil next deletes the key; empty
// values that are not nil are values. The comparison is made in commit order,
// against everything that commits before it. The answer, false too, comes when
// all that it depends on is durable and visible.
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
	c, err := s.newCommand(ctx, format.EntryOverhead+len(key)+len(next)+len(old), true)
	if err != nil {
		return false, err
	}
	if next == nil {
		c.list.delete(key)
	} else {
		c.list.set(key, next)
	}
	wantPresent, old := old != nil, slices.Clone(old) // copied, like everything that is queued
	c.decide = func(a *ahead) (write bool, err error) {
		value, present := a.Get(nil, key)
		swapped = present == wantPresent && bytes.Equal(value, old)
		return swapped, nil
	}
	err = s.commit(ctx, c)
	return swapped && err == nil, err
}

// Add adds delta to the number in key's value, and returns the sum. The value
// is decimal text as strconv.FormatInt writes it; the number of an absent key
// is 0. Additions never conflict, however hot the key is. Add commits also if
// delta is 0.
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
	c, err := s.newCommand(ctx, format.EntryOverhead+len(key)+maxNumberBytes, true)
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	c.decide = func(a *ahead) (write bool, err error) {
		if sum, err = a.add(key, delta); err != nil {
			return false, err
		}
		var text [maxNumberBytes]byte
		c.list.set(key, strconv.AppendInt(text[:0], sum, 10))
		return true, nil
	}
	if err := s.commit(ctx, c); err != nil {
		return 0, err
	}
	return sum, nil
}

// maxNumberBytes is the length of the longest int64: of math.MinInt64.
const maxNumberBytes = len("-9223372036854775808")

// add returns the sum of key's number and delta.
func (a *ahead) add(key string, delta int64) (sum int64, err error) {
	var room [maxNumberBytes]byte
	text, present := a.Get(room[:0], key)
	number := int64(0)
	if present {
		if number, err = parseNumber(text); err != nil {
			return 0, fmt.Errorf("%w (key %.40q)", err, key)
		}
	}
	if delta > 0 && number > math.MaxInt64-delta || delta < 0 && number < math.MinInt64-delta {
		return 0, fmt.Errorf("%w: %d and %d (key %.40q)", ErrOverflow, number, delta, key)
	}
	return number + delta, nil
}

// parseNumber parses what strconv.FormatInt writes, and no other text.
func parseNumber(text []byte) (int64, error) {
	number, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || strconv.FormatInt(number, 10) != string(text) {
		return 0, fmt.Errorf("%w: %.40q", ErrNotNumber, text)
	}
	return number, nil
}
