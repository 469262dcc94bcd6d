package kvstore

import (
	"bytes"
	"context"
	"slices"

	"kvstore/internal/codec"
	"kvstore/internal/format"
	"kvstore/internal/table"
)

// This file is writes that depend on what is there: the writer decides, in
// commit order.

// condition is what has to be true for a write to happen.
type condition struct {
	requirement requirement // immutable
	met         bool        // written by the writer; valid once the command is answered
}

// requirement is something that the writer can check in the table and the
// operations that are pending ahead of the command.
type requirement interface {
	holds(t *table.Table, pending pendingOps) bool
}

// pendingOps are the last operations on each key of the commands that are ahead
// in commit order and not applied yet.
type pendingOps map[string]table.Op

// expectation is the requirement of CompareAndSwap.
type expectation struct {
	key     string
	present bool   // whether key must be there
	value   []byte // with this value
}

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
	// Not pooled, because it is read after the command is given back. old is
	// copied, like everything that is queued.
	only := &condition{requirement: &expectation{key: key, present: old != nil, value: slices.Clone(old)}}
	c.condition = only
	if next == nil {
		c.list.delete(key)
	} else {
		c.list.set(key, next)
	}
	err = s.commit(ctx, c)
	return err == nil && only.met, err
}

// checkConditions selects the commands of group whose conditions are met, into
// writes. A command is checked after those before it, as if they were applied.
func checkConditions(t *table.Table, group, writes []*writeCommand) []*writeCommand {
	if !slices.ContainsFunc(group, func(c *writeCommand) bool { return c.condition != nil }) {
		return append(writes, group...)
	}
	pending := pendingOps{}
	for _, c := range group {
		if c.condition != nil {
			if c.condition.met = c.condition.requirement.holds(t, pending); !c.condition.met {
				continue
			}
		}
		for op := range codec.Ops(c.list.entries) {
			pending[string(op.Key)] = op
		}
		writes = append(writes, c)
	}
	return writes
}

func (e *expectation) holds(t *table.Table, pending pendingOps) bool {
	op, ok := pending[e.key]
	value, present := op.Value, ok && !op.Delete
	if !ok {
		value, present = t.Get(nil, e.key)
	}
	return present == e.present && (!present || bytes.Equal(value, e.value))
}
