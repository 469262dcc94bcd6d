package format

import (
	"errors"
	"testing"
)

// scan reads a segment to its end.
func scan(c *Chain, s *Segment, isLast bool) (groups int, t Tail, err error) {
	scanner, err := c.Scan(s.Number, s.Data)
	for ok := true; err == nil && ok; {
		if _, ok, err = scanner.Next(); ok {
			groups++
		}
	}
	if err == nil {
		t, err = scanner.Tail(isLast)
	}
	return groups, t, err
}

// Only the last segment of a store may lack its END or have a torn tail.
func TestTailOfASegment(t *testing.T) {
	set := AppendEntry(nil, OpSet, 1, "k", "v")
	groupBytes := len(set) + CommitEntryBytes
	rows := []struct {
		name         string
		write        func(s *Segment)
		last, others verdict
		groups       int
		torn         int64
	}{
		{"ended", func(s *Segment) { addEnd(s, 2, 1) }, intact, intact, 2, 0},
		{"not ended", func(*Segment) {}, intact, damaged, 2, 0},
		{"zeros", func(s *Segment) { s.Data = append(s.Data, make([]byte, 999)...) }, intact, damaged, 2, 0},
		{"an END of another group", func(s *Segment) { addEnd(s, 1, 1) }, intact, damaged, 2, EndEntryBytes},
		{"garbage after END", func(s *Segment) {
			addEnd(s, 2, 1)
			s.Data = append(s.Data, "ab\x00c\x00\x00"...)
		}, intact, intact, 2, 4},
		{"a torn group", func(s *Segment) {
			addGroup(s, 3, 2, set)
			s.Data = s.Data[:len(s.Data)-1]
		}, intact, damaged, 2, int64(groupBytes) - 1},
		{"a torn group, and a later one that does not prove it durable", func(s *Segment) {
			addGroup(s, 3, 2, set)
			s.Data[len(s.Data)-60]++
			addGroup(s, 4, 2, set)
		}, intact, damaged, 2, 2 * int64(groupBytes)},
		{"a damaged group, and a later one that proves it durable", func(s *Segment) {
			addGroup(s, 3, 2, set)
			s.Data[len(s.Data)-60]++
			addGroup(s, 4, 3, set)
		}, damaged, damaged, 2, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			for _, isLast := range []bool{true, false} {
				s := newSegment(7)
				addGroup(s, 1, 0, set)
				addGroup(s, 2, 1, set)
				row.write(s)
				want := row.others
				if isLast {
					want = row.last
				}
				c := Chain{}
				groups, tail, err := scan(&c, s, isLast)
				if got := verdictOn(err); got != want || groups != row.groups || c.LastGroup != uint64(row.groups) {
					t.Fatalf("last %v: %s, %v, with %d groups; want %s", isLast, got, err, groups, want)
				}
				if isLast && tail.Torn != row.torn {
					t.Fatalf("%d torn bytes, want %d", tail.Torn, row.torn)
				}
			}
		})
	}
}

// Each file must continue where the one before it ended.
func TestChain(t *testing.T) {
	set := AppendEntry(nil, OpSet, 1, "k", "v")
	other := StoreID{1}
	rows := []struct {
		name   string
		begin  *Snapshot // nil for no snapshot
		groups []uint64  // of the first segment
		id     StoreID   // of the second segment
		want   verdict
	}{
		{"from nothing", nil, []uint64{1, 2}, goldenID, intact},
		{"from a snapshot", &Snapshot{ID: goldenID, LastGroup: 4}, []uint64{5}, goldenID, intact},
		{"a gap after a snapshot", &Snapshot{ID: goldenID, LastGroup: 4}, []uint64{6}, goldenID, damaged},
		{"a group that the snapshot has", &Snapshot{ID: goldenID, LastGroup: 4}, []uint64{4}, goldenID, damaged},
		{"a snapshot of another store", &Snapshot{ID: other}, []uint64{1}, goldenID, damaged},
		{"a segment of another store", nil, []uint64{1}, other, damaged},
		{"a snapshot of a store whose id is zeros", &Snapshot{}, []uint64{1}, goldenID, damaged},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := Chain{}
			if row.begin != nil {
				c.Begin(row.begin)
			}
			first := newSegment(1)
			for _, number := range row.groups {
				addGroup(first, number, number-1, set)
			}
			last := row.groups[len(row.groups)-1]
			addEnd(first, last, last)
			_, _, err := scan(&c, first, false)
			second := &Segment{Number: 2, Data: AppendHeader(nil, 1, Header{Version: Version, ID: row.id, Number: 2})}
			if err == nil {
				_, _, err = scan(&c, second, true)
			}
			if got := verdictOn(err); got != row.want {
				t.Fatalf("%s, %v; want %s", got, err, row.want)
			}
		})
	}
}

// An error names the file and says what the user of a store reads.
func TestErrorTexts(t *testing.T) {
	s := newSegment(1)
	addGroup(s, 1, 0, AppendEntry(nil, 0x7f, 1, "k", ""))
	_, _, err := scan(&Chain{}, s, true)
	if want := "wal-00000000000000000001.log at offset 53: unknown op 0x7f"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	later := &Segment{Number: 1, Data: AppendHeader(nil, 1, Header{Version: 3, Number: 1})}
	_, _, err = scan(&Chain{}, later, true)
	want := "wal-00000000000000000001.log is of version 3, this package reads up to 1"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	_, _, err = scan(&Chain{}, newSegment(1), false)
	damage, ok := errors.AsType[*Damage](err)
	if !ok || damage.Offset != SegmentEntryBytes || damage.File != SegmentName(1) {
		t.Errorf("%v", err)
	}
}
