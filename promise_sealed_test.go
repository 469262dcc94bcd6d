package kvstore

// This file has directories whose checksums are right and whose content is not.
// Only a faulty or a later writer makes them (P6, P8, P11).

import (
	"bytes"
	"encoding/binary"
	"testing"

	"kvstore/internal/codec"
	"kvstore/internal/format"
)

// P6, P8: no accident makes these bytes. Every checksum is right, so the
// content is judged.
func TestSealedBytesAreJudged(t *testing.T) {
	set := format.AppendEntry(nil, format.OpSet, 1, "k", "v")
	longKey := func(n int) []byte { return format.AppendEntry(nil, format.OpSet, 1, bytes.Repeat([]byte("k"), n), "") }
	rows := []struct {
		name   string
		first  func(s *format.Segment)
		second func(s *format.Segment) // nil if there is one segment
		want   string
		keys   int
	}{
		{"a segment without a group", func(*format.Segment) {}, nil, opened, 0},
		{"a segment without a group, ended", func(s *format.Segment) { addEnd(s, 0, 0) }, nil, opened, 0},
		{"a group", func(s *format.Segment) { addGroup(s, 1, 0, set) }, nil, opened, 1},
		{"a group in each of two segments", func(s *format.Segment) {
			addGroup(s, 1, 0, set)
			addEnd(s, 1, 1)
		}, func(s *format.Segment) { addGroup(s, 2, 1, longKey(9)) }, opened, 2},
		{"an unknown op", func(s *format.Segment) {
			addGroup(s, 1, 0, format.AppendEntry(set, 0x77, 1, "k", "v"))
		}, nil, laterVersion, 0},
		{"an unknown op without a key", func(s *format.Segment) {
			addGroup(s, 1, 0, format.AppendEntry(set, 0x13, 1, "", "v"))
		}, nil, laterVersion, 0},
		{"an unknown op in a group that is not whole", func(s *format.Segment) {
			addGroup(s, 1, 0, format.AppendEntry(nil, 0x77, 1, "k", "v"))
			s.Data[len(s.Data)-1]++
		}, nil, opened, 0},
		{"an unknown op in a group that is not the next", func(s *format.Segment) {
			addGroup(s, 2, 0, format.AppendEntry(nil, 0x77, 1, "k", "v"))
		}, nil, corrupt, 0},
		{"a segment of a later version", func(s *format.Segment) {
			s.Data = format.AppendHeader(nil, 1, format.Header{Version: 2, ID: someID, Number: 9})
		}, nil, laterVersion, 0},
		{"a second segment of a later version", func(s *format.Segment) { addEnd(s, 0, 0) }, func(s *format.Segment) {
			s.Data = format.AppendHeader(nil, 1, format.Header{Version: 2, ID: someID, Number: 2})
		}, laterVersion, 0},
		{"a segment of version 0", func(s *format.Segment) {
			s.Data = format.AppendHeader(nil, 1, format.Header{Version: 0, ID: someID, Number: 1})
		}, nil, corrupt, 0},
		{"a key at the limit", func(s *format.Segment) { addGroup(s, 1, 0, longKey(MaxKeyBytes)) }, nil, opened, 1},
		{"a key beyond it", func(s *format.Segment) { addGroup(s, 1, 0, longKey(MaxKeyBytes+1)) }, nil, corrupt, 0},
		{"a DELETE with a value", func(s *format.Segment) {
			addGroup(s, 1, 0, format.AppendEntry(nil, format.OpDelete, 1, "k", "v"))
		}, nil, corrupt, 0},
		{"an EXPIRE without a deadline", func(s *format.Segment) {
			addGroup(s, 1, 0, format.AppendEntry(set, format.OpExpire, 1, "k", ""))
		}, nil, corrupt, 0},
		{"a CAUSE without a DELETE", func(s *format.Segment) {
			addGroup(s, 1, 0, codec.AppendCause(nil))
		}, nil, corrupt, 0},
		{"a CAUSE and a DELETE", func(s *format.Segment) {
			addGroup(s, 1, 0, codec.AppendDelete(codec.AppendCause(nil), "k"))
		}, nil, opened, 0},
		{"another cause", func(s *format.Segment) {
			addGroup(s, 1, 0, codec.AppendDelete(format.AppendEntry(nil, format.OpCause, 0, "", "\x02"), "k"))
		}, nil, laterVersion, 0},
		{"a first group that is not group 1", func(s *format.Segment) { addGroup(s, 2, 0, set) }, nil, corrupt, 0},
		{"a group twice", func(s *format.Segment) { addGroup(s, 1, 0, set); addGroup(s, 1, 0, set) }, nil, corrupt, 0},
		{"a group left out", func(s *format.Segment) {
			addGroup(s, 1, 0, set)
			addGroup(s, 3, 0, set)
		}, nil, corrupt, 0},
		{"a group left out between segments", func(s *format.Segment) {
			addGroup(s, 1, 0, set)
			addEnd(s, 1, 1)
		}, func(s *format.Segment) { addGroup(s, 3, 1, set) }, corrupt, 0},
		{"an END of another group, which proves nothing", func(s *format.Segment) {
			addGroup(s, 1, 0, set)
			addEnd(s, 2, 1)
		}, nil, opened, 1},
		{"an END that knows a group behind the last durable", func(s *format.Segment) {
			addGroup(s, 1, 0, set)
			addEnd(s, 2, 2)
		}, nil, corrupt, 0},
		{"an END of another group before a later segment", func(s *format.Segment) {
			addGroup(s, 1, 0, set)
			addEnd(s, 2, 1)
		}, func(*format.Segment) {}, corrupt, 0},
		{"a torn group, then one that did not know it durable", func(s *format.Segment) {
			addGroup(s, 1, 0, set)
			s.Data[60]++
			addGroup(s, 2, 0, set)
		}, nil, opened, 0},
		{"a damaged group, then one that knew it durable", func(s *format.Segment) {
			addGroup(s, 1, 0, set)
			s.Data[60]++
			addGroup(s, 2, 1, set)
		}, nil, corrupt, 0},
		{"a second segment of another store", func(s *format.Segment) { addEnd(s, 0, 0) }, func(s *format.Segment) {
			s.Data = format.AppendHeader(nil, 1, format.Header{Version: 1, ID: format.StoreID{1}, Number: 2})
		}, corrupt, 0},
		{"a second segment with another number", func(s *format.Segment) { addEnd(s, 0, 0) }, func(s *format.Segment) {
			s.Data = newSegment(3).Data
		}, corrupt, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newSegment(1)
			row.first(s)
			files := map[string][]byte{format.SegmentName(1): s.Data}
			if row.second != nil {
				s := newSegment(2)
				row.second(s)
				files[format.SegmentName(2)] = s.Data
			}
			verdict, state := judge(t, files)
			if verdict != row.want || len(state) != row.keys {
				t.Fatalf("%s with %d keys, want %s with %d", verdict, len(state), row.want, row.keys)
			}
		})
	}
}

func TestP8SealedNonsenseIsRefused(t *testing.T) {
	rows := []struct {
		name  string
		files func() map[string][]byte
		want  string
	}{
		{"op 0x00 in a group", func() map[string][]byte {
			s := newSegment(1)
			addGroup(s, 1, 0, format.AppendEntry(nil, 0x00, 1, "k", "v"))
			return map[string][]byte{format.SegmentName(1): s.Data}
		}, laterVersion},
		{"snapshot of version 0", func() map[string][]byte {
			b := wrapPairs(format.AppendPair(nil, format.Pair{Key: []byte("k")}), 1, 1)
			footerAt := len(b) - footerBytes
			binary.BigEndian.PutUint32(b[footerAt:], 0)
			return map[string][]byte{format.SnapshotName(1): format.Seal(b, footerAt-blockBytes-trailerBytes, 0)}
		}, corrupt},
		{"snapshot with a key over the limit", func() map[string][]byte {
			pair := format.AppendPair(nil, format.Pair{Key: make([]byte, MaxKeyBytes+1)})
			return map[string][]byte{format.SnapshotName(1): wrapPairs(pair, 1, 1)}
		}, corrupt},
		{"segment of a store whose id is zeros, and one of another", func() map[string][]byte {
			first := &format.Segment{Number: 1, Data: format.AppendHeader(nil, 1, format.Header{Version: 1, Number: 1})}
			addEnd(first, 0, 0)
			return map[string][]byte{format.SegmentName(1): first.Data, format.SegmentName(2): newSegment(2).Data}
		}, corrupt},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if verdict, state := judge(t, row.files()); verdict != row.want {
				t.Fatalf("%s, %q; want %s", verdict, state, row.want)
			}
		})
	}
}
