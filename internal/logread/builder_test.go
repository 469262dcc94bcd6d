package logread

import (
	"fmt"
	"slices"
	"testing"

	"kvstore/internal/format"
)

var ours, others = format.StoreID{1, 2, 3}, format.StoreID{9}

// builder writes a segment as a store does: each group knows the one before it
// durable.
type builder struct {
	format.Segment
	group   uint64 // the last one written
	offsets []int  // of the groups
}

// newSegment returns a segment with groups, numbered from first on.
func newSegment(number, first uint64, groups int) *builder {
	b := &builder{group: first - 1}
	b.ID, b.Number = ours, number
	b.Data = format.AppendHeader(nil, 7, format.Header{Version: format.Version, ID: ours, Number: number})
	for range groups {
		b.add()
	}
	return b
}

// add appends a group of two entries. Its version is 10 times its number.
func (b *builder) add() *builder {
	b.group++
	at, version := len(b.Data), 10*int64(b.group)
	b.offsets = append(b.offsets, at)
	b.Data = format.AppendEntry(b.Data, format.OpSet, version, fmt.Sprint("key", b.group), "value")
	b.Data = format.AppendEntry(b.Data, format.OpDelete, version+1, "gone", "")
	b.Data = format.AppendCommit(b.Data, at, version+1, b.group, b.group-1, b.Seed(at))
	return b
}

// end appends END.
func (b *builder) end() *builder {
	record := format.End{Group: b.group, Durable: b.group}
	b.Data = format.AppendEnd(b.Data, 10*int64(b.group)+1, record, b.Seed(len(b.Data)))
	return b
}

// append appends bytes that are no entry.
func (b *builder) append(text string) *builder {
	b.Data = append(b.Data, text...)
	return b
}

// zeros appends reserved space.
func (b *builder) zeros() *builder { return b.append(string(make([]byte, 100))) }

// endOf returns the offset behind group i, counted from 0.
func (b *builder) endOf(i int) int {
	g, ok := b.GroupAt(b.offsets[i])
	if !ok {
		panic("no group")
	}
	return b.offsets[i] + len(g.Bytes)
}

// with returns a changed copy of the bytes.
func (b *builder) with(change func(data []byte)) []byte {
	data := slices.Clone(b.Data)
	change(data)
	return data
}

// checkEqual compares two lists.
func checkEqual[T comparable](t *testing.T, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
