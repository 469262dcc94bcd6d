package kvstore

import (
	"fmt"

	"kvstore/internal/codec"
	"kvstore/internal/format"
)

// This file is how calls become entries of the log, in the caller's goroutine,
// and what limits they meet first. The bytes are those of package format.

// entryList is a list of writes, encoded as the log's entries. Their timestamps
// are zero until the writer stamps them.
type entryList struct {
	entries []byte
	count   int // of writes
	sets    int // of them, those that set a key
	touches int // those that change a deadline alone
	expired int // deletions because a deadline has passed
}

// set adds a key that is gone at a deadline, 0 for none.
func (l *entryList) set(key string, value []byte, until int64) {
	l.entries = codec.AppendSet(l.entries, key, value)
	if until != 0 {
		l.entries = codec.AppendExpire(l.entries, key, until)
	}
	l.count++
	l.sets++
}

// expire adds a change of a key's deadline, 0 for none.
func (l *entryList) expire(key string, until int64) {
	l.entries = codec.AppendExpire(l.entries, key, until)
	l.count++
	l.touches++
}

// deleteDue adds the deletion of a key whose deadline has passed. The list must
// have nothing else but what sets keys behind it.
func (l *entryList) deleteDue(key string) {
	if l.expired == 0 {
		l.entries = codec.AppendCause(l.entries)
	}
	l.delete(key)
	l.expired++
}

func (l *entryList) delete(key string) {
	l.entries = codec.AppendDelete(l.entries, key)
	l.count++
}

// Sizes of the entries of deadlines, but for the key.
const (
	expireEntryBytes = format.EntryOverhead + 8
	causeEntryBytes  = format.EntryOverhead + 1
)

// entryBytes returns the size of the entries that set or delete a key. A
// deadline of 0 is none.
func entryBytes(key string, value []byte, until int64) int {
	size := format.EntryOverhead + len(key) + len(value)
	if until != 0 {
		size += expireEntryBytes + len(key)
	}
	return size
}

// reset empties the list and keeps its memory.
func (l *entryList) reset() { *l = entryList{entries: l.entries[:0]} }

// checkWrite is checkLimits for the write of a batch with this number, counted
// from 1. Its error says which write it is.
func checkWrite(number int, key string, value []byte) error {
	err := checkLimits(key, value)
	if err != nil {
		err = fmt.Errorf("%w (write %d, key %.40q)", err, number, key)
	}
	return err
}

// checkLimits verifies the sizes of one write.
func checkLimits(key string, value []byte) error {
	switch {
	case len(key) > MaxKeyBytes:
		return fmt.Errorf("%w: %d bytes, limit %d", ErrKeyTooLarge, len(key), MaxKeyBytes)
	case len(value) > MaxValueBytes:
		return fmt.Errorf("%w: %d bytes, limit %d", ErrValueTooLarge, len(value), MaxValueBytes)
	}
	return nil
}
