package kvstore

import (
	"bytes"
	"context"
	"slices"

	"kvstore/internal/table"
)

// This file is writes that depend on what is there: the writer decides, in commit order.

// condition is what has to be true for a write to happen.
type condition struct {
	key     string // immutable
	present bool   // immutable: whether key must be there
	value   []byte // immutable: with this value
	met     bool   // written by the writer; valid once the command is answered
}

// CompareAndSwap sets key to next if its value is old, and reports whether it was. A nil old stands for an absent key, a nil next deletes
// the key; empty values that are not nil are values. The comparison is made in commit order, against everything that was queued before
// it, and the answer, false too, comes when all that it depends on is durable and visible.
//
// Errors are those of Set; swapped is false then, and as with Set, what has become of the write is unknown after ErrFailed.
func (s *Store) CompareAndSwap(key string, old, next []byte) (swapped bool, err error) {
	ctx := context.Background()
	if err := checkLimits(key, next); err != nil {
		return false, err
	}
	if err := s.admit(ctx); err != nil {
		return false, err
	}
	c, err := s.queue.reserve(ctx, entryOverhead+len(key)+len(next)+len(old))
	if err != nil {
		return false, err
	}
	// Not from the pool: it is read after the command is given back. A copy of old, like of everything that is queued.
	only := &condition{key: key, present: old != nil, value: slices.Clone(old)}
	c.condition = only
	if next == nil {
		c.delete(key)
	} else {
		c.set(key, next)
	}
	err = s.commit(ctx, c)
	return err == nil && only.met, err
}

// decide sorts out the group's commands whose condition is not met: what is left in w.writes is to be written. A command is
// looked at after those before it, as if they were applied.
func (w *walWriter) decide() {
	w.writes = append(w.writes[:0], w.group...)
	if !slices.ContainsFunc(w.group, func(c *writeCommand) bool { return c.condition != nil }) {
		return
	}
	ahead := map[string]table.Op{} // the last operation on each key, of the commands so far
	w.writes = w.writes[:0]
	for _, c := range w.group {
		if c.condition != nil {
			if c.condition.met = w.holds(c.condition, ahead); !c.condition.met {
				continue
			}
		}
		for op := range entryOps(c.entries) {
			ahead[string(op.Key)] = op
		}
		w.writes = append(w.writes, c)
	}
}

// holds reports whether a condition is met by the table and the operations ahead of it.
func (w *walWriter) holds(c *condition, ahead map[string]table.Op) bool {
	op, ok := ahead[c.key]
	value, present := op.Value, ok && !op.Delete
	if !ok {
		value, present = w.table.Get(nil, c.key)
	}
	return present == c.present && (!present || bytes.Equal(value, c.value))
}
