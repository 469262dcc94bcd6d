// Package codec is where the log's entries (package format) and the table's
// operations (package table) meet: it is the one place of the
// store that turns writes into entries and entries into operations.
package codec

import (
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

// Ops iterates over the operations of entries, which are whole SET and DELETE
// entries and nothing else, with their versions. An operation points into
// entries.
func Ops(entries []byte) iter.Seq2[table.Op, int64] {
	return func(yield func(table.Op, int64) bool) {
		for _, e := range format.Entries(entries) {
			if !yield(op(e), e.Timestamp) {
				return
			}
		}
	}
}

// op returns the operation of a SET or DELETE entry. It points to the entry's
// bytes.
func op(e format.Entry) table.Op {
	switch e.Op {
	case format.OpSet:
		return table.Op{Key: e.Key, Value: e.Value}
	case format.OpDelete:
		return table.Op{Key: e.Key, Delete: true}
	case format.OpSegment, format.OpCommit, format.OpEnd:
	}
	panic("kvstore: a control entry among writes")
}

// PairOp returns the operation that sets a pair of a snapshot. It points to the
// pair's bytes.
func PairOp(p format.Pair) table.Op { return table.Op{Key: p.Key, Value: p.Value} }
