package logread

import (
	"slices"
	"testing"
	"time"

	"kvstore/internal/format"
)

// part is a piece without its contents.
type part struct {
	kind       PieceKind
	start, end int
}

// partsOf takes a segment apart.
func partsOf(data []byte) []part {
	s := format.Segment{ID: ours, Number: 1, Data: data}
	var parts []part
	for p := range Pieces(&s, format.SegmentEntryBytes) {
		parts = append(parts, part{p.Kind, p.Offset, p.Offset + p.Bytes})
	}
	return parts
}

// Where one piece ends and the next one begins.
func TestPieceBoundaries(t *testing.T) {
	b := newSegment(1, 1, 3)
	first, second, third, groups := b.offsets[0], b.offsets[1], b.offsets[2], len(b.Data)
	b.end()
	end := len(b.Data)
	b.zeros()
	size := len(b.Data)
	g1, g2, g3 := part{ValidGroup, first, second}, part{ValidGroup, second, third}, part{ValidGroup, third, groups}
	space := part{Zeros, end, size}
	early := newSegment(1, 1, 1).end().add()
	earlyEnd := second + format.EndEntryBytes
	for _, c := range []struct {
		name string
		data []byte
		want []part
	}{
		{"whole", b.Data, []part{g1, g2, g3, {ValidEnd, groups, end}, space}},
		{"nothing behind SEGMENT", b.Data[:first], nil},
		{"without space", b.Data[:groups], []part{g1, g2, g3}},
		{"one zero", b.Data[:end+1], []part{g1, g2, g3, {ValidEnd, groups, end}, {Zeros, end, end + 1}}},
		{"a group without its last byte", b.Data[:groups-1], []part{g1, g2, {Invalid, third, groups - 1}}},
		{
			"a group without its last byte, and space",
			b.with(func(data []byte) { clear(data[groups-1:]) }),
			[]part{g1, g2, {Invalid, third, groups - 1}, {Zeros, groups - 1, size}},
		},
		{
			"the first group damaged",
			b.with(func(data []byte) { data[first] ^= 1 }),
			[]part{{Invalid, first, second}, g2, g3, {ValidEnd, groups, end}, space},
		},
		{
			"two groups damaged are one invalid piece",
			b.with(func(data []byte) { data[first], data[third-1] = 0, data[third-1]^1 }),
			[]part{{Invalid, first, third}, g3, {ValidEnd, groups, end}, space},
		},
		{
			"zeros before a group",
			b.with(func(data []byte) { clear(data[second:third]) }),
			[]part{g1, {Invalid, second, third}, g3, {ValidEnd, groups, end}, space},
		},
		{
			"END damaged",
			b.with(func(data []byte) { data[end-1] ^= 0x80 }),
			[]part{g1, g2, g3, {Invalid, groups, end}, space},
		},
		{
			"bytes behind END",
			b.with(func(data []byte) { data[end+9] = 1 }),
			[]part{g1, g2, g3, {ValidEnd, groups, end}, {Invalid, end, end + 10}, {Zeros, end + 10, size}},
		},
		{
			"a group behind END", early.Data,
			[]part{g1, {ValidEnd, second, earlyEnd}, {Invalid, earlyEnd, len(early.Data)}},
		},
	} {
		t.Run(c.name, func(t *testing.T) { checkEqual(t, partsOf(c.data), c.want) })
	}
}

// Pieces have what a group and an END say.
func TestPieceContents(t *testing.T) {
	s := &newSegment(1, 5, 1).end().Segment
	pieces := slices.Collect(Pieces(s, format.SegmentEntryBytes))
	g := &pieces[0].Group
	if g.Number != 5 || g.Entries != 2 || FirstVersion(g) != 50 || LastVersion(g) != 51 {
		t.Errorf("%+v, versions %d to %d", g, FirstVersion(g), LastVersion(g))
	}
	if end := pieces[1].End; end != (format.End{Group: 5, Durable: 5}) {
		t.Errorf("%+v", end)
	}
}

// However a segment is cut or damaged, its pieces cover all of it without a
// gap, and the other groups stay valid.
func TestPiecesCoverTheSegment(t *testing.T) {
	b := newSegment(1, 1, 3).end().zeros()
	check := func(data []byte, from, to int) { // the damage
		t.Helper()
		at, valid := format.SegmentEntryBytes, 0
		for _, p := range partsOf(data) {
			if p.start != at || p.end <= p.start {
				t.Fatalf("damage from %d to %d: %v after %d", from, to, p, at)
			}
			at = p.end
			if p.kind == ValidGroup {
				valid++
			}
		}
		want := 0
		for i := range b.offsets {
			if b.endOf(i) <= from || b.offsets[i] >= to {
				want++
			}
		}
		if at != max(len(data), format.SegmentEntryBytes) || valid != want {
			t.Fatalf("damage from %d to %d: pieces up to %d, %d groups, want %d", from, to, at, valid, want)
		}
	}
	for i := format.SegmentEntryBytes; i < len(b.Data); i++ {
		check(b.Data[:i], i, len(b.Data))
		if i < b.endOf(2) { // behind END nothing counts
			check(b.with(func(data []byte) { data[i] ^= 0x10 }), i, i+1)
		}
	}
}

// Taking a segment apart takes time that grows with its length, and not with
// the number of groups times the space that is reserved behind them.
func TestP11ManyPiecesBeforeReservedSpace(t *testing.T) {
	b := newSegment(1, 1, 20_000)
	b.Data = append(b.Data, make([]byte, 16<<20)...)
	start, n := time.Now(), 0
	for range Pieces(&b.Segment, format.SegmentEntryBytes) {
		if n++; time.Since(start) > 20*time.Second {
			t.Fatalf("%d pieces in %v", n, time.Since(start))
		}
	}
	if n != 20_001 {
		t.Errorf("%d pieces", n)
	}
}
