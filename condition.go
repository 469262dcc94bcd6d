package kvstore

import (
	"bytes"
	"context"
	"slices"

	"kvstore/internal/format"
	"kvstore/internal/table"
)

// This file is writes that depend on what is there: the writer decides, in commit order.

// condition is what has to be true for a write to happen.
type condition struct {
	requirement requirement // immutable
	met         bool        // written by the writer; valid once the command is answered
}

// requirement is something that the writer can look at: whether it is so in the table, after the operations ahead of it.
type requirement interface {
	holds(t *table.Table, ahead operations) bool
}

// operations are the last ones on each key.
type operations map[string]table.Op

// expectation is the requirement of CompareAndSwap.
type expectation struct {
	key     string
	present bool   // whether key must be there
	value   []byte // with this value
}

// CompareAndSwap sets key to next if its value is old, and reports whether it was. A nil old stands for an absent key, a nil next deletes
// the key; empty values that are not nil are values. The comparison is made in commit order, against everything that commits before
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
	c, err := s.newCommand(ctx, format.EntryOverhead+len(key)+len(next)+len(old), true)
	if err != nil {
		return false, err
	}
	// Not from the pool: it is read after the command is given back. A copy of old, like of everything that is queued.
	only := &condition{requirement: &expectation{key: key, present: old != nil, value: slices.Clone(old)}}
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
	ahead := operations{} // of the commands so far
	w.writes = w.writes[:0]
	for _, c := range w.group {
		if c.condition != nil {
			if c.condition.met = c.condition.requirement.holds(w.table, ahead); !c.condition.met {
				continue
			}
		}
		for op := range entryOps(c.entries) {
			ahead[string(op.Key)] = op
		}
		w.writes = append(w.writes, c)
	}
}

func (e *expectation) holds(t *table.Table, ahead operations) bool {
	op, ok := ahead[e.key]
	value, present := op.Value, ok && !op.Delete
	if !ok {
		value, present = t.Get(nil, e.key)
	}
	return present == e.present && (!present || bytes.Equal(value, e.value))
}
