package inspect

import (
	"fmt"
	"slices"
	"testing"

	"kvstore/internal/format"
)

// The log shows deadlines and causes, also those that no version writes.
func TestLogOfExpirations(t *testing.T) {
	entry := func(op format.Op, version int64, key, value string) []byte {
		return format.AppendEntry(nil, op, version, key, value)
	}
	until := format.ExpireValue(farAway)
	never := format.ExpireValue(0)
	s := &format.Segment{ID: ours, Number: 1}
	s.Data = format.AppendHeader(nil, 1, format.Header{Version: format.Version, ID: ours, Number: 1})
	for i, entries := range [][]byte{
		slices.Concat(entry(format.OpSet, 1, "a", "1"), entry(format.OpExpire, 1, "a", string(until[:]))),
		entry(format.OpExpire, 2, "a", string(never[:])),
		slices.Concat(entry(format.OpCause, 3, "", "\x01"), entry(format.OpDelete, 3, "a", "")),
		slices.Concat(entry(format.OpCause, 4, "", "\x02"), entry(format.OpExpire, 4, "b", "x")),
	} {
		at := len(s.Data)
		s.Data = format.AppendCommit(append(s.Data, entries...), at, int64(i+1), uint64(i+1), uint64(i), s.Seed(at))
	}
	dir := t.TempDir()
	i := &image{files: map[string][]byte{format.SegmentName(1): s.Data}}
	i.write(t, dir)
	var got []string
	err := Log(t.Context(), dir, false, func(r *Record) error {
		if r.What != Segment && r.What != Commit {
			got = append(got, fmt.Sprintf("%d %s %s until %d, %s", r.Group, r.What, r.Key, r.Expires, r.Note))
		}
		return nil
	}, nil)
	want := []string{
		"1 SET a until 0, ", fmt.Sprintf("1 EXPIRE a until %d, ", farAway),
		"2 EXPIRE a until 0, ",
		"3 CAUSE  until 0, the deadlines passed", "3 DELETE a until 0, ",
		"4 CAUSE  until 0, unknown cause 02", "4 EXPIRE b until 0, no deadline",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}
