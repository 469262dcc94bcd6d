package kvstore

import (
	"iter"

	"kvstore/internal/format"
	"kvstore/internal/table"
)

// This file is where the store's writes and the bytes of package format meet: calls become entries on their way in, entries become
// operations of the table on their way to memory. The bytes themselves are format's.

// appendSet and appendDelete append the entry of one write. Its timestamp is the writer's to say.
func appendSet(dst []byte, key string, value []byte) []byte {
	return format.AppendEntry(dst, format.OpSet, 0, key, value)
}

func appendDelete(dst []byte, key string) []byte {
	return format.AppendEntry(dst, format.OpDelete, 0, key, "")
}

// entryOps iterates over the operations of SET and DELETE entries; they point into entries.
func entryOps(entries []byte) iter.Seq[table.Op] {
	return func(yield func(table.Op) bool) {
		for _, e := range format.Entries(entries) {
			if !yield(table.Op{Key: e.Key, Value: e.Value, Delete: e.Op == format.OpDelete}) {
				return
			}
		}
	}
}
