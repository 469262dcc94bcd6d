package kvstore

import (
	"fmt"

	"kvstore/internal/codec"
)

// This file is how calls become entries of the log, in the caller's goroutine,
// and what limits they meet first. The bytes are those of package format.

// entryList is a list of writes, encoded as the log's SET and DELETE entries.
// Their timestamps are zero until the writer stamps them.
type entryList struct {
	entries []byte
	count   int // of entries
	sets    int // of SET entries
}

func (l *entryList) set(key string, value []byte) {
	l.entries = codec.AppendSet(l.entries, key, value)
	l.count++
	l.sets++
}

func (l *entryList) delete(key string) {
	l.entries = codec.AppendDelete(l.entries, key)
	l.count++
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
