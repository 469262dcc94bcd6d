package format

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSegmentHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Header{Version: Version, Number: rapid.Uint64().Draw(t, "number")}
		copy(h.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		b := AppendHeader(nil, rapid.Int64().Draw(t, "timestamp"), h)
		got, ok := DecodeHeader(append(b, drawBytes(t, "after")...))
		if !ok || got != h || len(b) != SegmentEntryBytes {
			t.Fatalf("%+v, %v, want %+v", got, ok, h)
		}
	})
}

func TestGroupAndEndRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Segment{Number: rapid.Uint64().Draw(t, "segment"), Data: drawBytes(t, "before")}
		copy(s.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		at := len(s.Data)
		entries := rapid.IntRange(1, 5).Draw(t, "entries")
		for range entries {
			o := rapid.SampledFrom([]Op{OpSet, OpDelete, OpExpire}).Draw(t, "op")
			s.Data = AppendEntry(s.Data, o, 1, drawBytes(t, "key"), drawBytes(t, "value"))
		}
		length := len(s.Data) - at
		number, durable := rapid.Uint64().Draw(t, "group"), rapid.Uint64().Draw(t, "durable")
		s.Data = AppendCommit(s.Data, at, 1, number, durable, s.Seed(at))
		after := len(s.Data)
		s.Data = AppendEnd(s.Data, 1, End{Group: number, Durable: durable}, s.Seed(after))
		s.Data = append(s.Data, drawBytes(t, "after")...)

		g, ok := s.GroupAt(at)
		if !ok || g.Number != number || g.Durable != durable || g.Entries != entries || g.IsLater() ||
			g.Length != uint64(length) || !bytes.Equal(g.Bytes, s.Data[at:after]) {
			t.Fatalf("%+v, %v", g, ok)
		}
		end, ok := s.EndAt(after)
		if !ok || end != (End{Group: number, Durable: durable}) {
			t.Fatalf("%+v, %v", end, ok)
		}
	})
}

// Damage in a group does not affect its COMMIT, which still proves earlier
// groups durable.
func TestCommitVouchesWithoutItsGroup(t *testing.T) {
	s := goldenSegmentBytes(t)
	for i := 53; i < 107; i++ {
		s.Data[i] ^= 0xFF
	}
	if _, ok := s.GroupAt(53); ok {
		t.Error("a damaged group is valid")
	}
	if got := s.durableAt(107); got != 7 {
		t.Errorf("COMMIT proves %d durable, want 7", got)
	}
}

func TestGroupsAreBoundToTheirPlace(t *testing.T) {
	other := goldenID
	other[15]++
	rows := []struct {
		name string
		move func(s *Segment) (group, end int)
		want bool
	}{
		{"where it was written", func(*Segment) (int, int) { return 53, 160 }, true},
		{"in another store", func(s *Segment) (int, int) { s.ID = other; return 53, 160 }, false},
		{"in another segment", func(s *Segment) (int, int) { s.Number++; return 53, 160 }, false},
		{"one byte later", func(s *Segment) (int, int) {
			s.Data = slices.Insert(s.Data, 53, 0)
			return 54, 161
		}, false},
		{"one byte earlier", func(s *Segment) (int, int) { s.Data = s.Data[1:]; return 52, 159 }, false},
		{"a group later", func(s *Segment) (int, int) {
			s.Data = slices.Insert(s.Data, 53, bytes.Clone(s.Data[53:160])...)
			return 160, 267
		}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := goldenSegmentBytes(t)
			groupAt, endAt := row.move(s)
			if _, ok := s.GroupAt(groupAt); ok != row.want {
				t.Errorf("group: %v", ok)
			}
			if _, ok := s.EndAt(endAt); ok != row.want {
				t.Errorf("END: %v", ok)
			}
			if got := s.durableAt(groupAt + 54); (got == 7) != row.want {
				t.Errorf("COMMIT proves %d durable", got)
			}
		})
	}
}

// All checksums in the rows are valid, so only the grammar decides.
func TestWhatIsAGroup(t *testing.T) {
	set := func(b []byte) []byte { return AppendEntry(b, OpSet, 1, "k", "v") }
	commit := func(b []byte) []byte { return AppendCommit(b, 0, 1, 1, 0, Seed(goldenID, 1, 0)) }
	rows := []struct {
		name   string
		bytes  []byte
		want   bool
		defect string
	}{
		{"a SET and a COMMIT", commit(set(nil)), true, ""},
		{"a DELETE and a COMMIT", commit(AppendEntry(nil, OpDelete, 1, "k", "")), true, ""},
		{"a COMMIT alone", commit(nil), false, ""},
		{"entries without a COMMIT", set(set(nil)), false, ""},
		{"zeros", make([]byte, 200), false, ""},
		{"nothing", nil, false, ""},
		{
			"a SEGMENT among its entries",
			commit(AppendHeader(set(nil), 1, Header{Version: 1, ID: goldenID, Number: 1})), false, "",
		},
		{"an END among its entries", commit(AppendEnd(set(nil), 1, End{}, Seed(goldenID, 1, 23))), false, ""},
		{"an unknown op among its entries", commit(AppendEntry(set(nil), 0x13, 1, "", "")), true, "unknown op 0x13"},
		{
			"unknown ops, the first of which is reported",
			commit(AppendEntry(AppendEntry(nil, 0x77, 1, "", ""), 0x88, 1, "", "")), true, "unknown op 0x77",
		},
		{"a COMMIT with a key", resealed(set(nil), "k", commitValueBytes), false, ""},
		{"a COMMIT with a longer value", resealed(set(nil), "", commitValueBytes+1), false, ""},
		{"a COMMIT with a shorter value", resealed(set(nil), "", commitValueBytes-1), false, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := &Segment{ID: goldenID, Number: 1, Data: row.bytes}
			g, ok := s.GroupAt(0)
			if ok != row.want || (ok && g.Defect() != row.defect) {
				t.Fatalf("%v, %q", ok, g.Defect())
			}
		})
	}
}

// resealed appends a COMMIT entry of an odd shape to the group b. Its value is
// that of a COMMIT, as far as it fits, and its checksums are valid.
func resealed(b []byte, key string, valueBytes int) []byte {
	seed := Seed(goldenID, 1, 0)
	at := len(b)
	value := make([]byte, max(valueBytes, 28))
	binary.BigEndian.PutUint64(value, 1)
	binary.BigEndian.PutUint64(value[8:], uint64(at))
	binary.BigEndian.PutUint32(value[24:], crc32.Update(seed, castagnoli, b))
	return Seal(AppendEntry(b, OpCommit, 1, key, value[:valueBytes]), at, seed)
}

// A COMMIT with valid checksums over another length than its group's is
// invalid.
func TestCommitMustNameItsGroupsLength(t *testing.T) {
	for _, off := range []int{-53, -23, -1, 1, 23} {
		s := &Segment{ID: goldenID, Number: 1, Data: make([]byte, 53)}
		s.Data = AppendEntry(s.Data, OpSet, 1, "k", "v")
		at := len(s.Data)
		s.Data = AppendEntry(s.Data, OpSet, 1, "k", "v")
		commitAt := len(s.Data)
		// Seed and checksum are those of a group that begins off bytes away.
		s.Data = AppendCommit(s.Data, at+off, 1, 1, 0, s.Seed(at+off))
		if _, ok := s.GroupAt(at); ok {
			t.Errorf("off by %d: valid", off)
		}
		if _, ok := s.commitAt(commitAt, &Entry{Op: OpCommit, Value: s.Data[commitAt+21:]}); !ok {
			t.Errorf("off by %d: the COMMIT alone is not valid, so the row shows nothing", off)
		}
	}
}

// A COMMIT with the valid checksum of its group and a wrong length is invalid
// too.
func TestCommitMustNameTheLengthOfWhatItSums(t *testing.T) {
	s := &Segment{ID: goldenID, Number: 1, Data: AppendEntry(make([]byte, 53), OpSet, 1, "k", "v")}
	commitAt := len(s.Data)
	s.Data = AppendCommit(s.Data, 53, 1, 1, 0, s.Seed(53))
	for length, want := range map[uint64]bool{23: true, 22: false, 24: false, 0: false} {
		binary.BigEndian.PutUint64(s.Data[commitAt+29:], length)
		Seal(s.Data, commitAt, s.Seed(commitAt-int(length)))
		if _, ok := s.GroupAt(53); ok != want {
			t.Errorf("length %d: %v", length, ok)
		}
	}
}

func TestSegmentHeaderVersions(t *testing.T) {
	header := func(version uint32, valueBytes int) []byte {
		value := binary.BigEndian.AppendUint32(nil, version)
		value = append(value, make([]byte, valueBytes-len(value))...)
		return Seal(AppendEntry(nil, OpSegment, 1, "", value), 0, 0)
	}
	flipped := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	rows := []struct {
		name    string
		bytes   []byte
		version uint32 // 0 if there is no SEGMENT
	}{
		{"ours", header(1, segmentValueBytes), 1},
		{"the next one", header(2, segmentValueBytes), 2},
		{"a later one with a longer value", header(math.MaxUint32, 4000), math.MaxUint32},
		{"a later one with a shorter value", header(2, 8), 2},
		{"a later one as long as may be", header(2, maxSegmentEntryBytes-EntryOverhead), 2},
		{"a later one that is longer", header(2, maxSegmentEntryBytes-EntryOverhead+1), 0},
		{"a later one with a wrong checksum", flipped(header(2, segmentValueBytes)), 0},
		{"none", header(0, segmentValueBytes), 0},
		{"ours with a longer value", header(1, segmentValueBytes+1), 0},
		{"ours with a shorter value", header(1, segmentValueBytes-1), 0},
		{"no room for version and checksum", Seal(AppendEntry(nil, OpSegment, 1, "", "1234567"), 0, 0), 0},
		{"with a key", Seal(AppendEntry(nil, OpSegment, 1, "k", header(1, segmentValueBytes)[21:]), 0, 0), 0},
		{"another op", Seal(AppendEntry(nil, OpCommit, 1, "", header(1, 32)[21:]), 0, 0), 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			h, ok := DecodeHeader(append(row.bytes, 0, 0, 0))
			if ok != (row.version > 0) || (ok && h.Version != row.version) {
				t.Fatalf("%+v, %v", h, ok)
			}
		})
	}
}

// A COMMIT whose own checksum is valid may contain any length.
func TestP11CommitLengthBombs(t *testing.T) {
	for _, length := range []uint64{
		108, 1 << 31, 1 << 32, math.MaxInt64, 1 << 63, math.MaxUint64 - 106, math.MaxUint64,
	} {
		s := goldenSegmentBytes(t)
		binary.BigEndian.PutUint64(s.Data[107+29:], length)
		Seal(s.Data[:160], 107, s.Seed(107-int(length)))
		if _, ok := s.GroupAt(53); ok {
			t.Errorf("length %#x: a valid group", length)
		}
		if got := s.durableAt(107); got != 0 {
			t.Errorf("length %#x: proves %d durable", length, got)
		}
	}
}

// newSegment returns a segment with only a SEGMENT entry.
func newSegment(number uint64) *Segment {
	header := Header{Version: Version, ID: goldenID, Number: number}
	return &Segment{ID: goldenID, Number: number, Data: AppendHeader(nil, 1, header)}
}

// addGroup appends a group of these entries, with a valid COMMIT.
func addGroup(s *Segment, number, durable uint64, entries []byte) {
	at := len(s.Data)
	s.Data = AppendCommit(append(s.Data, entries...), at, int64(number), number, durable, s.Seed(at))
}

// addEnd appends a valid END.
func addEnd(s *Segment, group, durable uint64) {
	s.Data = AppendEnd(s.Data, int64(group), End{Group: group, Durable: durable}, s.Seed(len(s.Data)))
}

func TestDurableBehind(t *testing.T) {
	base := func() *Segment {
		return &Segment{ID: goldenID, Number: 1, Data: bytes.Repeat([]byte("KVLG\x11garbage"), 20)}
	}
	group := func(s *Segment, durable uint64) {
		addGroup(s, durable+1, durable, AppendEntry(nil, OpSet, 1, "k", "v"))
	}
	end := func(s *Segment, durable uint64) { addEnd(s, durable, durable) }
	rows := []struct {
		name  string
		write func(s *Segment)
		want  uint64
	}{
		{"nothing there", func(s *Segment) { s.Data = nil }, 0},
		{"garbage", func(*Segment) {}, 0},
		{"a COMMIT", func(s *Segment) { group(s, 5) }, 5},
		{"a COMMIT that proves nothing", func(s *Segment) { group(s, 0) }, 0},
		{"an END", func(s *Segment) { end(s, 5) }, 5},
		{"the highest of several, the first", func(s *Segment) { group(s, 7); group(s, 5); end(s, 6) }, 7},
		{"the highest of several, in the middle", func(s *Segment) { group(s, 5); group(s, 7); end(s, 6) }, 7},
		{"the highest of several, the last", func(s *Segment) { group(s, 5); group(s, 6); end(s, 7) }, 7},
		{"a damaged COMMIT", func(s *Segment) { group(s, 5); s.Data[len(s.Data)-20]++ }, 0},
		{"a cut COMMIT", func(s *Segment) { group(s, 5); s.Data = s.Data[:len(s.Data)-1] }, 0},
		{"a damaged END", func(s *Segment) { end(s, 5); s.Data[len(s.Data)-20]++ }, 0},
		{"a cut END", func(s *Segment) { end(s, 5); s.Data = s.Data[:len(s.Data)-1] }, 0},
		{"a COMMIT in a value, as a copy of the log would be", func(s *Segment) {
			group(s, 5)
			s.Data = AppendEntry(s.Data[:len(s.Data)-76], OpSet, 1, "k", bytes.Clone(s.Data[len(s.Data)-76:]))
		}, 0},
		{"a COMMIT whose first byte an entry of garbage swallows", func(s *Segment) {
			s.Data = append(s.Data, "KVLG\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7f\xff\xff\xff"...)
			group(s, 5)
		}, 5},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := base()
			row.write(s)
			got, at := s.DurableBehind(0)
			if got != row.want {
				t.Fatalf("%d, want %d", got, row.want)
			}
			if got > 0 && s.durableAt(at) != got {
				t.Fatalf("offset %d is not that of the entry", at)
			}
			if got, _ := s.DurableBehind(len(s.Data)); got != 0 {
				t.Fatalf("%d after the end", got)
			}
		})
	}
}

// DurableBehind takes linear time, because each offset where an entry may begin
// costs a bounded number of bytes. This test checks the bound: a candidate
// depends on the CommitEntryBytes from its offset on and on no bytes after
// them, whatever lengths it contains. There is at most one candidate in four
// bytes. (P11)
func TestP11DurableBehindIsLinear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Segment{ID: goldenID, Number: 1}
		for range rapid.IntRange(1, 8).Draw(t, "pieces") {
			o := Op(rapid.IntRange(0, 0x13).Draw(t, "op"))
			piece := AppendEntry(nil, o, 1, drawBytes(t, "key"), drawBytes(t, "value"))
			if rapid.Bool().Draw(t, "sealed") {
				at := len(s.Data)
				s.Data = AppendCommit(append(s.Data, piece...), at, 1, 2, 1, s.Seed(at))
			}
			s.Data = append(s.Data, piece[:rapid.IntRange(0, len(piece)).Draw(t, "cut")]...)
		}
		for at := range s.Data {
			window := &Segment{ID: s.ID, Number: s.Number, Data: s.Data[:min(len(s.Data), at+CommitEntryBytes)]}
			if got, want := s.durableAt(at), window.durableAt(at); got != want {
				t.Fatalf("at %d: %d with all bytes, %d with those of a COMMIT", at, got, want)
			}
		}
	})

	// The worst cases consist of candidates only. A search that followed their
	// lengths would take 2⁴⁰ steps or more.
	commit := unhex(t, goldenCommitHex)
	commit[len(commit)-1]++
	for name, unit := range map[string][]byte{
		"bare magics":                 []byte("KVLG"),
		"COMMITs with a bad checksum": commit,
		"entries up to the end": []byte(
			"KVLG\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00"),
	} {
		s := &Segment{ID: goldenID, Number: 1, Data: bytes.Repeat(unit, (4<<20)/len(unit))}
		took := allocated(func() {
			if got, _ := s.DurableBehind(0); got != 0 {
				t.Errorf("%s: %d durable", name, got)
			}
		})
		if took > uint64(len(s.Data)) {
			t.Errorf("%s: %d bytes allocated", name, took)
		}
	}
}

func TestNextIntact(t *testing.T) {
	set := AppendEntry(nil, OpSet, 1, "k", "v")
	groupBytes := len(set) + CommitEntryBytes
	first, third := SegmentEntryBytes, SegmentEntryBytes+2*groupBytes
	for _, damage := range []int{5, len(set) + 30} { // in an entry of the second group, and in its COMMIT
		s := newSegment(1)
		for number := range uint64(4) {
			addGroup(s, number+1, number, set)
		}
		endAt := len(s.Data)
		addEnd(s, 4, 4)
		s.Data[first+groupBytes+damage]++
		for _, row := range []struct{ from, want int }{
			{0, first},
			{first, first},
			{first + 1, third},
			{third, third},
			{third + 1, third + groupBytes},
			{endAt - 10, endAt},
			{endAt + 1, -1},
			{len(s.Data), -1},
		} {
			at, ok := s.NextIntact(row.from)
			if ok != (row.want >= 0) || (ok && at != row.want) {
				t.Errorf("from %d: %d, %v; want %d", row.from, at, ok, row.want)
			}
		}
		s.Number++ // groups of another segment are invalid here
		if at, ok := s.NextIntact(0); ok {
			t.Errorf("a group of another segment at %d", at)
		}
	}
}
