package format

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// windowOn returns a window on bytes that are read in pieces.
func windowOn(file io.ReaderAt, number uint64, size, piece int) *Window {
	var memory []byte
	return NewWindow(file, number, size, piece, func(n int) []byte {
		memory = slices.Grow(memory[:0], n)
		return memory[:n]
	})
}

// judged is all that judging a segment finds out.
type judged struct {
	groups []string // what Next returns, with the entries
	chain  Chain
	tail   Tail
	sum    uint32
	err    string
}

// judgeAll judges the segment that s has scanned.
func judgeAll(c *Chain, s *Scanner, err error, isLast bool) (j judged) {
	for ok := true; err == nil && ok; {
		var g Group
		if g, ok, err = s.Next(); !ok || err != nil {
			break
		}
		var entries []byte
		err = s.Entries(&g, func(b []byte) { entries = append(entries, b...) })
		text := fmt.Sprintf("%d at %d: %d, D %d: %x", g.Number, g.Offset, g.Entries, g.Durable, entries)
		j.groups = append(j.groups, text)
	}
	if err == nil {
		if j.tail, err = s.Tail(isLast); err == nil {
			j.sum = s.Sum()
		}
	}
	j.chain, j.err = *c, fmt.Sprint(err)
	return j
}

// drawSegment draws a segment: groups of all sizes, END or none, and damage.
func drawSegment(t *rapid.T) []byte {
	s := newSegment(1)
	groups := uint64(rapid.IntRange(0, 6).Draw(t, "groups"))
	version := int64(0)
	for number := range groups {
		var entries []byte
		for range rapid.IntRange(1, 6).Draw(t, "entries") {
			version += int64(rapid.IntRange(0, 1).Draw(t, "next commit"))
			entries = drawEntry(t, entries, version)
		}
		addGroup(s, number+1, number, entries)
	}
	if rapid.Bool().Draw(t, "end") {
		addEnd(s, groups, groups)
	}
	s.Data = append(s.Data, make([]byte, rapid.SampledFrom([]int{0, 1, 70, 6000}).Draw(t, "reserved"))...)
	for range rapid.IntRange(0, 2).Draw(t, "damages") {
		s.Data[rapid.IntRange(0, len(s.Data)-1).Draw(t, "at")] ^= 0x41
	}
	return s.Data[:rapid.IntRange(0, len(s.Data)).Draw(t, "cut")]
}

// judgeInPieces judges a segment that is read whole, and one that is read in
// pieces. The verdict must be the same.
func judgeInPieces(t rapid.TB, data []byte, piece int, isLast bool) judged {
	t.Helper()
	var whole, parts Chain
	s, err := whole.Scan(1, data)
	want := judgeAll(&whole, s, err, isLast)
	s, err = parts.ScanWindow(windowOn(bytes.NewReader(data), 1, len(data), piece))
	got := judgeAll(&parts, s, err, isLast)
	if !slices.Equal(got.groups, want.groups) || got.chain != want.chain || got.tail != want.tail ||
		got.sum != want.sum || got.err != want.err {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if want.err == "<nil>" && want.sum != crc32.Checksum(data[:want.tail.Offset], castagnoli) {
		t.Fatalf("the sum is not that of the first %d bytes", want.tail.Offset)
	}
	return want
}

// drawEntry appends an entry to dst: mostly one that is right in its place.
func drawEntry(t *rapid.T, dst []byte, version int64) []byte {
	ops := []Op{OpSet, OpSet, OpSet, OpSet, OpExpire, OpExpire, OpDelete, OpDelete, OpCause, 0x55}
	op := rapid.SampledFrom(ops).Draw(t, "op")
	key := make([]byte, rapid.SampledFrom([]int{0, 1, 30, 300, 70_000}).Draw(t, "key"))
	value := make([]byte, rapid.SampledFrom([]int{0, 5, 60, 300, 3000}).Draw(t, "value"))
	if rapid.IntRange(0, 9).Draw(t, "shape") > 0 {
		switch op {
		case OpDelete:
			value = nil
		case OpExpire:
			value = make([]byte, 8)
		case OpCause:
			version++
			dst = AppendEntry(dst, op, version, "", []byte{CauseDeadline})
			op, value = OpDelete, nil
		case OpSet, OpSegment, OpCommit, OpEnd:
		}
	}
	return AppendEntry(dst, op, version, key, value)
}

// What a segment is does not depend on the size of the pieces in which it is
// read.
func TestPiecesAreJudgedAsTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, isLast := drawSegment(t), rapid.Bool().Draw(t, "last")
		judgeInPieces(t, data, rapid.IntRange(1, 2000).Draw(t, "piece"), isLast)
	})
}

// A sound segment is judged in pieces of any size, with END and without, with
// reserved bytes and without. The random ones above are seldom sound.
func TestSoundSegmentsInPieces(t *testing.T) {
	for _, groups := range []uint64{0, 1, 4} {
		for _, ended := range []bool{false, true} {
			s := newSegment(1)
			for number := range groups {
				addGroup(s, number+1, number, AppendEntry(nil, OpSet, 1, "key", make([]byte, 300)))
			}
			if ended {
				addEnd(s, groups, groups)
			}
			size := len(s.Data)
			for _, reserved := range []int{0, 1, 6000} {
				data := append(s.Data[:size:size], make([]byte, reserved)...)
				for _, piece := range []int{1, 100, 1000, 10_000} {
					for _, isLast := range []bool{false, true} {
						got := judgeInPieces(t, data, piece, isLast)
						want := Tail{Ended: ended, Offset: size}
						if !ended && !isLast {
							want = Tail{} // the END of an older segment is missing
						}
						if got.tail != want || (got.err == "<nil>") != (want != Tail{}) {
							t.Fatalf("%d groups, ended %v, last %v: %+v", groups, ended, isLast, got)
						}
					}
				}
			}
		}
	}
}

// changing is a file whose bytes are others from the nth read on.
type changing struct {
	before, after []byte
	reads         *int
	from          int
}

func (c changing) ReadAt(b []byte, off int64) (int, error) {
	*c.reads++
	if *c.reads < c.from {
		return bytes.NewReader(c.before).ReadAt(b, off)
	}
	return bytes.NewReader(c.after).ReadAt(b, off)
}

// A group that is larger than a piece is read twice. If the second reading
// differs in any byte, that is an error.
func TestSecondReadingIsCompared(t *testing.T) {
	s := newSegment(1)
	var entries []byte
	for i := range 5 {
		entries = AppendEntry(entries, OpSet, 1, fmt.Sprint(i), make([]byte, 1500))
	}
	addGroup(s, 1, 0, entries)
	scan := func(file io.ReaderAt) error {
		var c Chain
		scanner, err := c.ScanWindow(windowOn(file, 1, len(s.Data), 512))
		if err != nil {
			return err
		}
		g, ok, err := scanner.Next()
		if !ok || err != nil || g.Bytes != nil {
			t.Fatalf("%v, %v", ok, err)
		}
		return scanner.Entries(&g, func(b []byte) {
			if n := writesIn(b); n != len(b) {
				t.Errorf("%d bytes are no entries", len(b)-n)
			}
		})
	}
	reads := 0
	if err := scan(changing{s.Data, nil, &reads, 1 << 20}); err != nil {
		t.Fatal(err)
	}
	for at := SegmentEntryBytes; at < SegmentEntryBytes+len(entries); at += 1 + at%5 {
		for _, with := range []byte{0x01, 0x80, 0xff} {
			after := slices.Clone(s.Data)
			after[at] ^= with
			for from := reads; from > 0; from-- {
				n := 0
				err := scan(changing{s.Data, after, &n, from})
				if _, ok := errors.AsType[*Changed](err); ok {
					break
				}
				if from == 1 {
					t.Fatalf("byte %d has changed: %v", at, err)
				}
			}
		}
	}
}

// The entry that proves a group durable lies anywhere in two pieces.
func TestWitnessBetweenPieces(t *testing.T) {
	for pad := range 300 {
		s := newSegment(1)
		s.Data = append(s.Data, bytes.Repeat([]byte("x"), pad)...)
		addGroup(s, 8, 7, AppendEntry(nil, OpSet, 1, "k", "v"))
		used := len(bytes.TrimRight(s.Data[SegmentEntryBytes:], "\x00")) // a checksum may end with a zero
		s.Data = append(s.Data, make([]byte, 500)...)
		w := windowOn(bytes.NewReader(s.Data), 1, len(s.Data), minPieceBytes)
		w.ID = goldenID
		r, err := w.rest(SegmentEntryBytes)
		if err != nil || r.durable != 7 || r.used != used {
			t.Errorf("behind %d bytes: %+v, %v", pad, r, err)
		}
	}
}

// A copy is compared with what was judged, and a file that has become shorter
// is another one.
func TestCopyIsCompared(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 100)
	sum := crc32.Checksum(data[:900], castagnoli)
	for at := range 1000 {
		file := slices.Clone(data)
		file[at] ^= 1
		var got []byte
		err := windowOn(bytes.NewReader(file), 1, len(file), 128).CopyTo(900, sum, func(b []byte, offset int) error {
			if offset != len(got) {
				t.Errorf("offset %d behind %d bytes", offset, len(got))
			}
			got = append(got, b...)
			return nil
		})
		_, differs := errors.AsType[*Changed](err)
		if differs != (at < 900) || (err != nil) != differs || !bytes.Equal(got, file[:900]) {
			t.Fatalf("byte %d differs: %v", at, err)
		}
	}
	err := windowOn(bytes.NewReader(data[:899]), 1, 899, 128).CopyTo(900, sum, func([]byte, int) error { return nil })
	if _, ok := errors.AsType[*Changed](err); !ok {
		t.Errorf("a file that is too short: %v", err)
	}
	fails := func([]byte, int) error { return io.ErrShortWrite }
	err = windowOn(bytes.NewReader(data), 1, 1000, 128).CopyTo(900, sum, fails)
	if !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a failed write: %v", err)
	}
}
