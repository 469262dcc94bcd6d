package format

// These tests check the bytes: that they are as docs/FORMAT.md says, frozen as
// golden bytes, and what is not an entry, a group or a snapshot. What Open does
// with whole directories is tested in the root package.

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The values of the golden bytes. A program that shares nothing with this
// package computed the bytes. They never change: a format with other bytes is
// another version.
const (
	goldenBegun     int64  = 1767225600_000000000 // 2026-01-01T00:00:00Z
	goldenCommitted int64  = 1767225601_000000000
	goldenSegment   uint64 = 2
	goldenSnapshot  uint64 = 3
	goldenGroup     uint64 = 8
)

var goldenID = StoreID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

const (
	goldenSetHex    = "4b564c47 01 18867252 2994ca00 00000004 63697479 00000004 4f736c6f"
	goldenDeleteHex = "4b564c47 02 18867252 2994ca00 00000004 746f776e 00000000"
	goldenExpireHex = "4b564c47 03 18867252 2994ca00 00000004 63697479 00000008 ffffffff fffffffe"
	goldenCauseHex  = "4b564c47 04 18867252 2994ca00 00000000 00000001 01"
	goldenHeaderHex = "4b564c47 10 18867251 edfa0000 00000000 00000020" +
		"00000001 000102030405060708090a0b0c0d0e0f 0000000000000002 97132906"
	goldenCommitHex = "4b564c47 11 18867252 2994ca00 00000000 00000020" +
		"0000000000000008 0000000000000036 0000000000000007 938c104b 13614873"
	goldenEndHex = "4b564c47 12 18867252 2994ca00 00000000 00000014" +
		"0000000000000008 0000000000000008 1815e993"
	goldenSnapshotHeaderHex = "4b565350 18867252 2994ca00 00000002"
	goldenPairHex           = "00000004 63697479 00000004 4f736c6f"
	goldenEmptyPairHex      = "00000004 6e6f7465 00000000"
	goldenTailHex           = "3027193c 000102030405060708090a0b0c0d0e0f 0000000000000003 0000000000000008 00000001" +
		"0000000000000010 00000002 07409694" +
		"00000001 0000000000000038 7965f4e1"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenInfo returns the content of the golden snapshot without its pairs.
func goldenInfo() *Snapshot {
	return &Snapshot{
		Timestamp: goldenCommitted, Count: 2, ID: goldenID, Number: goldenSnapshot, LastGroup: goldenGroup,
		Blocks: []Block{{Offset: 16, Pairs: 2, Checksum: 0x07409694}},
	}
}

func goldenSegmentBytes(t testing.TB) *Segment {
	t.Helper()
	return &Segment{
		ID: goldenID, Number: goldenSegment,
		Data: unhex(t, goldenHeaderHex+goldenSetHex+goldenDeleteHex+goldenCommitHex+goldenEndHex),
	}
}

func TestChecksumIsCRC32C(t *testing.T) {
	rising := make([]byte, 32)
	for i := range rising {
		rising[i] = byte(i)
	}
	rows := []struct {
		name string
		data []byte
		want uint32
	}{ // RFC 3720, B.4, which prints the bytes in the order of the wire
		{"the check value", []byte("123456789"), 0xE3069283},
		{"32 zeros", make([]byte, 32), 0x8A9136AA},
		{"32 ones", bytes.Repeat([]byte{0xFF}, 32), 0x62A8AB43},
		{"32 rising", rising, 0x46DD794E},
	}
	for _, row := range rows {
		if got := crc32.Checksum(row.data, castagnoli); got != row.want {
			t.Errorf("%s: %08x, want %08x", row.name, got, row.want)
		}
	}
	// FORMAT.md computes a checksum over the place and then the bytes. A seeded
	// checksum is the same.
	place := unhex(t, "000102030405060708090a0b0c0d0e0f 0000000000000002 0000000000000035")
	seed := Seed(goldenID, goldenSegment, 0x35)
	got, want := crc32.Update(seed, castagnoli, rising), crc32.Checksum(append(place, rising...), castagnoli)
	if got != want {
		t.Errorf("seeded %08x, want %08x", got, want)
	}
}

func TestGoldenBytes(t *testing.T) {
	early := ExpireValue(-2)
	group := AppendEntry(nil, OpSet, goldenCommitted, "city", "Oslo")
	group = AppendEntry(group, OpDelete, goldenCommitted, "town", "")
	goldenEnd := End{Group: goldenGroup, Durable: goldenGroup}
	rows := []struct {
		name string
		got  []byte
		want string
	}{
		{"SET", AppendEntry(nil, OpSet, goldenCommitted, "city", "Oslo"), goldenSetHex},
		{"DELETE", AppendEntry(nil, OpDelete, goldenCommitted, "town", ""), goldenDeleteHex},
		{
			"EXPIRE", AppendEntry(nil, OpExpire, goldenCommitted, "city", early[:]),
			goldenExpireHex,
		},
		{"CAUSE", AppendEntry(nil, OpCause, goldenCommitted, "", []byte{CauseDeadline}), goldenCauseHex},
		{
			"SEGMENT", AppendHeader(nil, goldenBegun, Header{Version: 1, ID: goldenID, Number: goldenSegment}),
			goldenHeaderHex,
		},
		{
			"COMMIT",
			AppendCommit(group, 0, goldenCommitted, goldenGroup, 7, Seed(goldenID, goldenSegment, 53))[len(group):],
			goldenCommitHex,
		},
		{
			"END",
			AppendEnd(nil, goldenCommitted, goldenEnd, Seed(goldenID, goldenSegment, 160)),
			goldenEndHex,
		},
		{"snapshot header", AppendSnapshotHeader(nil, goldenInfo()), goldenSnapshotHeaderHex},
		{"pair", AppendPair(nil, Pair{Key: []byte("city"), Value: []byte("Oslo")}), goldenPairHex},
		{"pair with an empty value", AppendPair(nil, Pair{Key: []byte("note")}), goldenEmptyPairHex},
		{"snapshot trailer and footer", AppendSnapshotTail(nil, goldenInfo()), goldenTailHex},
	}
	for _, row := range rows {
		if want := unhex(t, row.want); !bytes.Equal(row.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", row.name, row.got, want)
		}
	}
}

// An encoder leaves the bytes in dst alone and does not include them in a
// checksum.
func TestEncodersAppend(t *testing.T) {
	prefix := []byte("before")
	seed := Seed(goldenID, goldenSegment, 53)
	body := AppendEntry(nil, OpSet, 1, "k", "v")
	rows := []struct {
		name   string
		encode func(dst []byte) []byte
	}{
		{"entry", func(dst []byte) []byte { return AppendEntry(dst, OpSet, 1, "k", "v") }},
		{"SEGMENT", func(dst []byte) []byte { return AppendHeader(dst, 1, Header{Version: 1, ID: goldenID}) }},
		{"group", func(dst []byte) []byte { return AppendCommit(append(dst, body...), len(dst), 1, 2, 1, seed) }},
		{"END", func(dst []byte) []byte { return AppendEnd(dst, 1, End{Group: 1}, seed) }},
		{"pair", func(dst []byte) []byte { return AppendPair(dst, Pair{Key: []byte("k"), Value: []byte("v")}) }},
		{"snapshot tail", func(dst []byte) []byte { return AppendSnapshotTail(dst, goldenInfo()) }},
	}
	for _, row := range rows {
		want := append(bytes.Clone(prefix), row.encode(nil)...)
		if got := row.encode(bytes.Clone(prefix)); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", row.name, got, want)
		}
	}
}

// The hexdumps in docs/FORMAT.md contain what the page says.
func TestFormatPageHexdumps(t *testing.T) {
	dumps := formatPageDumps(t)
	s := &Segment{ID: goldenID, Number: goldenSegment, Data: dumps[SegmentName(goldenSegment)]}
	header, ok := DecodeHeader(s.Data)
	if want := (Header{Version: 1, ID: goldenID, Number: goldenSegment}); !ok || header != want {
		t.Errorf("SEGMENT: %+v, %v", header, ok)
	}
	g, ok := s.GroupAt(SegmentEntryBytes)
	if !ok || g.Number != goldenGroup || g.Durable != 7 || g.Entries != 2 || g.IsLater() {
		t.Fatalf("group: %+v, %v", g, ok)
	}
	set, _ := DecodeEntry(g.Bytes)
	if want := (Entry{OpSet, goldenCommitted, []byte("city"), []byte("Oslo")}); !reflect.DeepEqual(set, want) {
		t.Errorf("first entry: %+v", set)
	}
	del, _ := DecodeEntry(g.Bytes[set.Size():])
	if want := (Entry{OpDelete, goldenCommitted, []byte("town"), []byte{}}); !reflect.DeepEqual(del, want) {
		t.Errorf("second entry: %+v", del)
	}
	endAt := SegmentEntryBytes + len(g.Bytes)
	end, ok := s.EndAt(endAt)
	wantEnd := End{Group: goldenGroup, Durable: goldenGroup}
	if !ok || end != wantEnd || endAt+EndEntryBytes != len(s.Data) {
		t.Errorf("END: %+v, %v", end, ok)
	}

	state, info, err := readSnapshot(dumps[SnapshotName(goldenSnapshot)], goldenSnapshot)
	if want := map[string]string{"city": "Oslo", "note": ""}; err != nil || !maps.Equal(state, want) {
		t.Fatalf("snapshot: %q, %v", state, err)
	}
	if !reflect.DeepEqual(info, goldenInfo()) {
		t.Errorf("snapshot: %+v", info)
	}
}

// The same of the hexdumps about deadlines.
func TestFormatPageHexdumpsOfDeadlines(t *testing.T) {
	const deadline = 1767225604_500000000
	dumps := formatPageDumps(t)
	chain := Chain{ID: goldenID, KnowsID: true, LastGroup: goldenGroup}
	groups := func(number uint64, isLast bool) (entries []string) {
		s := &Segment{Number: number, Data: dumps[SegmentName(number)]}
		scanner, err := chain.Scan(number, s.Data)
		if err != nil {
			t.Fatal(err)
		}
		g, _, err := scanner.Next()
		if err != nil || chain.LastGroup != g.Number {
			t.Fatalf("group %d, %v", g.Number, err)
		}
		for _, e := range Entries(g.Body()) {
			until, _ := e.Deadline()
			entries = append(entries, fmt.Sprintf("%d %s %q %d", e.Op, e.Key, e.Value, until))
		}
		if tail, err := scanner.Tail(isLast); err != nil || tail.Offset != len(s.Data) {
			t.Errorf("%+v, %v", tail, err)
		}
		return entries
	}
	until := ExpireValue(deadline)
	want := []string{`1 city "Rome" 0`, fmt.Sprintf("3 city %q %d", until[:], int64(deadline))}
	if got := groups(3, false); !slices.Equal(got, want) {
		t.Errorf("segment 3: %q", got)
	}
	if got := groups(4, true); !slices.Equal(got, []string{`4  "\x01" 0`, `2 city "" 0`}) {
		t.Errorf("segment 4: %q", got)
	}

	raw := rawSnapshot{pairs: []rawPair{{"note", "", 0}, {"city", "Rome", deadline}}}
	b := dumps[SnapshotName(4)]
	r, err := ReadSnapshot(bytes.NewReader(b), int64(len(b)), "")
	if err != nil || r.CheckNumber(4) != nil {
		t.Fatal(err)
	}
	got, info, err := raw.read(b)
	if err != nil || !slices.Equal(got, raw.pairs) {
		t.Errorf("snapshot: %v, %v", got, err)
	}
	again := *info
	var encoded bytes.Buffer
	_, err = EncodeSnapshot(&encoded, &again, slices.Values([]Pair{
		{Key: []byte("note")}, {Key: []byte("city"), Value: []byte("Rome"), Deadline: deadline},
	}))
	if err != nil || !bytes.Equal(encoded.Bytes(), b) {
		t.Errorf("the snapshot is encoded as\n%x, %v", encoded.Bytes(), err)
	}
}

// formatPageDumps returns the bytes of the blocks that begin with ```hexdump
// and a name. Their lines are an offset, bytes, a semicolon and a comment.
func formatPageDumps(t *testing.T) map[string][]byte {
	page, err := os.ReadFile("../../docs/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	dumps := map[string][]byte{}
	name := ""
	for line := range strings.Lines(string(page)) {
		opened, isOpening := strings.CutPrefix(line, "```hexdump ")
		switch {
		case isOpening:
			name = strings.TrimSpace(opened)
		case strings.HasPrefix(line, "```"):
			name = ""
		case name != "":
			data, _, _ := strings.Cut(line, ";")
			offset, data, _ := strings.Cut(data, " ")
			if want := fmt.Sprintf("%04x", len(dumps[name])); offset != want {
				t.Fatalf("%s: line at %s, want %s", name, offset, want)
			}
			dumps[name] = append(dumps[name], unhex(t, data)...)
		}
	}
	return dumps
}

func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o, timestamp := Op(rapid.Byte().Draw(t, "op")), rapid.Int64().Draw(t, "timestamp")
		key, value := drawBytes(t, "key"), drawBytes(t, "value")
		b := AppendEntry(nil, o, timestamp, key, value)
		e, ok := DecodeEntry(append(b, drawBytes(t, "after")...))
		if !ok || e.Op != o || e.Timestamp != timestamp || !bytes.Equal(e.Key, key) || !bytes.Equal(e.Value, value) {
			t.Fatalf("%+v, %v", e, ok)
		}
		if e.Size() != len(b) {
			t.Fatalf("size %d, want %d", e.Size(), len(b))
		}
	})
}

func drawBytes(t *rapid.T, label string) []byte {
	return rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, label)
}

func TestSetTimestampsChangesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := rapid.Int64().Draw(t, "before"), rapid.Int64().Draw(t, "after")
		var b, want []byte
		for range rapid.IntRange(0, 5).Draw(t, "entries") {
			key, value := drawBytes(t, "key"), drawBytes(t, "value")
			b = AppendEntry(b, OpSet, before, key, value)
			want = AppendEntry(want, OpSet, after, key, value)
		}
		if SetTimestamps(b, after); !bytes.Equal(b, want) {
			t.Fatalf("\n got %x\nwant %x", b, want)
		}
	})
}

func TestEntryAndPairLengths(t *testing.T) {
	for _, keyLen := range []int{0, 1, 255, 256, MaxKeyBytes, MaxKeyBytes + 1} {
		for _, valueLen := range []int{0, 1, 255, 256, 65_535, 65_536, blockTarget} {
			key, value := bytes.Repeat([]byte("k"), keyLen), bytes.Repeat([]byte("v"), valueLen)
			b := AppendEntry(nil, OpSet, 1, key, value)
			e, ok := DecodeEntry(b)
			if !ok || !bytes.Equal(e.Key, key) || !bytes.Equal(e.Value, value) || len(b) != 21+keyLen+valueLen {
				t.Errorf("entry of %d and %d bytes: %v", keyLen, valueLen, ok)
			}
			b = AppendPair(nil, Pair{Key: key, Value: value})
			p, ok := decodePair(b)
			size := 8 + keyLen + valueLen
			if !ok || !bytes.Equal(p.Key, key) || !bytes.Equal(p.Value, value) || p.Size() != len(b) || len(b) != size {
				t.Errorf("pair of %d and %d bytes: %v", keyLen, valueLen, ok)
			}
		}
	}
}

func TestOnlyTheMagicBeginsAnEntry(t *testing.T) {
	for bit := range 32 {
		b := unhex(t, goldenSetHex)
		b[bit/8] ^= 1 << (bit % 8)
		if _, ok := DecodeEntry(b); ok {
			t.Errorf("%x begins an entry", b[:4])
		}
	}
	if _, ok := DecodeEntry(make([]byte, 100)); ok {
		t.Error("zeros begin an entry")
	}
}

// decoders returns for each kind of bytes a function that reports whether b is
// complete and valid.
func decoders() map[string]func(b []byte) bool {
	at := func(b []byte) *Segment {
		// As in the golden segment, there are 53 bytes before the group and 160
		// before END. No decoder looks at them.
		return &Segment{ID: goldenID, Number: goldenSegment, Data: b}
	}
	return map[string]func(b []byte) bool{
		"entry":   func(b []byte) bool { _, ok := DecodeEntry(b); return ok },
		"pair":    func(b []byte) bool { _, ok := decodePair(b); return ok },
		"SEGMENT": func(b []byte) bool { _, ok := DecodeHeader(b); return ok },
		"group":   func(b []byte) bool { _, ok := at(append(make([]byte, 53), b...)).GroupAt(53); return ok },
		"COMMIT": func(b []byte) bool {
			return at(append(make([]byte, 107), b...)).durableAt(107) == 7
		},
		"END": func(b []byte) bool { _, ok := at(append(make([]byte, 160), b...)).EndAt(160); return ok },
	}
}

func goldenKinds(t *testing.T) map[string][]byte {
	return map[string][]byte{
		"entry":   unhex(t, goldenSetHex),
		"pair":    unhex(t, goldenPairHex),
		"SEGMENT": unhex(t, goldenHeaderHex),
		"group":   unhex(t, goldenSetHex+goldenDeleteHex+goldenCommitHex),
		"COMMIT":  unhex(t, goldenCommitHex),
		"END":     unhex(t, goldenEndHex),
	}
}

func TestEveryTruncationIsNothing(t *testing.T) {
	for name, whole := range goldenKinds(t) {
		isThere := decoders()[name]
		if !isThere(whole) {
			t.Errorf("%s is not there", name)
		}
		for cut := range len(whole) {
			if isThere(whole[:cut:cut]) {
				t.Errorf("%s is there with %d of %d bytes", name, cut, len(whole))
			}
			zeroed := append(bytes.Clone(whole[:cut]), make([]byte, len(whole)-cut)...)
			if hasChecksum(name) && !bytes.Equal(zeroed, whole) && isThere(zeroed) {
				t.Errorf("%s is there with %d of %d bytes, then zeros", name, cut, len(whole))
			}
		}
	}
}

// hasChecksum reports whether a kind has a checksum of its own.
func hasChecksum(kind string) bool { return kind != "entry" && kind != "pair" }

// A second group follows the flipped bytes, so that a flip that hides the first
// COMMIT makes the decoder run into another one.
func TestEveryBitFlipIsNoticed(t *testing.T) {
	for name, whole := range goldenKinds(t) {
		if !hasChecksum(name) {
			continue
		}
		isThere := decoders()[name]
		for bit := range len(whole) * 8 {
			b := bytes.Clone(whole)
			b[bit/8] ^= 1 << (bit % 8)
			if isThere(b) || isThere(append(b, whole...)) {
				t.Errorf("%s is there with bit %d of byte %d flipped", name, bit%8, bit/8)
			}
		}
	}
}

// bombs are lengths that a decoder must not trust.
var bombs = []uint32{1 << 16, 512 << 20, 1 << 30, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32 - 20, math.MaxUint32}

func TestP11LengthBombs(t *testing.T) {
	fields := []struct {
		name string
		kind string
		at   int
	}{
		{"key length", "entry", 13},
		{"value length", "entry", 21},
		{"key length", "pair", 0},
		{"value length", "pair", 8},
		{"key length", "SEGMENT", 13},
		{"value length", "SEGMENT", 17},
		{"key length of COMMIT", "group", 67},
		{"value length of COMMIT", "group", 71},
		{"key length", "END", 13},
		{"value length", "END", 17},
	}
	for _, field := range fields {
		for _, bomb := range append(slices.Clone(bombs), uint32(len(goldenKinds(t)[field.kind]))) {
			b := goldenKinds(t)[field.kind]
			binary.BigEndian.PutUint32(b[field.at:], bomb)
			if decoders()[field.kind](b) {
				t.Errorf("%s of %s is %#x: decoded", field.name, field.kind, bomb)
			}
		}
	}
	// A value that is one byte too long, and one that just fits.
	b := append(unhex(t, goldenSetHex), 'x')
	for n, want := range map[uint32]bool{4: true, 5: true, 6: false} {
		binary.BigEndian.PutUint32(b[21:], n)
		if _, ok := DecodeEntry(b); ok != want {
			t.Errorf("value length %d of 5 bytes: %v", n, ok)
		}
	}
}

// verdict is what a reader concludes from some bytes.
type verdict string

const (
	intact  verdict = "intact"
	damaged verdict = "damaged"
	later   verdict = "of a later version"
)

// verdictOn returns the verdict that an error stands for.
func verdictOn(err error) verdict {
	if err == nil {
		return intact
	}
	if _, ok := errors.AsType[*Damage](err); ok {
		return damaged
	}
	if _, ok := errors.AsType[*Later](err); ok {
		return later
	}
	return verdict(err.Error())
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
