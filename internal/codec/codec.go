// Package codec is where the log's entries (package format) and the table's
// operations (package table) meet: it is the one place of the
// store that turns writes into entries and entries into operations.
package codec

import (
	"bytes"
	"iter"

	"kvstore/internal/format"
	"kvstore/internal/table"
)

// AppendSet appends the SET entry of one write to dst. Its timestamp is zero
// until the writer stamps it.
func AppendSet(dst []byte, key string, value []byte) []byte {
	return format.AppendEntry(dst, format.OpSet, 0, key, value)
}

// AppendDelete appends the DELETE entry of one write to dst, like [AppendSet].
func AppendDelete(dst []byte, key string) []byte {
	return format.AppendEntry(dst, format.OpDelete, 0, key, "")
}

// AppendExpire appends the EXPIRE entry of one write to dst, like [AppendSet].
// A key that is set with a deadline has it right behind its SET.
func AppendExpire(dst []byte, key string, deadline int64) []byte {
	value := format.ExpireValue(deadline)
	return format.AppendEntry(dst, format.OpExpire, 0, key, value[:])
}

// AppendCause appends the CAUSE entry that begins a commit of expirations, like
// [AppendSet].
func AppendCause(dst []byte) []byte {
	return format.AppendEntry(dst, format.OpCause, 0, "", []byte{format.CauseDeadline})
}

// Ops iterates over the operations of entries, which are whole entries of
// writes and nothing else, with their versions. An operation points into
// entries. A CAUSE is no operation.
//
// A SET and the EXPIRE of its key right behind it are one operation if they
// have one timestamp: all entries of a commit do, stamped or not. Without its
// SET, which is so if entries were cut between the two, the EXPIRE is an
// operation of its own, with the same effect.
func Ops(entries []byte) iter.Seq2[table.Op, int64] {
	return func(yield func(table.Op, int64) bool) {
		next, ok := format.DecodeEntry(entries)
		for ok {
			e := next
			entries = entries[e.Size():]
			next, ok = format.DecodeEntry(entries)
			if e.Op == format.OpCause {
				continue
			}
			op := op(&e)
			if ok && expires(&next, &e) {
				op.Deadline, _ = next.Deadline()
				entries = entries[next.Size():]
				next, ok = format.DecodeEntry(entries)
			}
			if !yield(op, e.Timestamp) {
				return
			}
		}
	}
}

// expires reports whether next is the EXPIRE of the SET before it.
func expires(next, set *format.Entry) bool {
	return next.Op == format.OpExpire && set.Op == format.OpSet &&
		next.Timestamp == set.Timestamp && bytes.Equal(next.Key, set.Key)
}

// op returns the operation of an entry. It points to the entry's bytes.
func op(e *format.Entry) table.Op {
	switch e.Op {
	case format.OpSet:
		return table.Op{Key: e.Key, Value: e.Value}
	case format.OpDelete:
		return table.Op{Key: e.Key, Delete: true}
	case format.OpExpire:
		deadline, _ := e.Deadline() // the shape was judged before
		return table.Op{Key: e.Key, Deadline: deadline, Touch: true}
	case format.OpCause, format.OpSegment, format.OpCommit, format.OpEnd:
	}
	panic("kvstore: an entry that is no operation")
}

// PairOp returns the operation that sets a pair of a snapshot. It points to the
// pair's bytes.
func PairOp(p format.Pair) table.Op {
	return table.Op{Key: p.Key, Value: p.Value, Deadline: p.Deadline}
}
