package kvstore

// The bytes of the formats: what docs/FORMAT.md says of them, frozen as golden bytes, and what is no entry, no group, no
// snapshot. What recovery makes of whole directories is in recovery_test.go.

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"maps"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kvstore/internal/vfs"
)

// The values behind the golden bytes. The bytes themselves were computed by a program that shares nothing with this
// package. They never change: a format that needs other bytes is another version.
const (
	goldenBegun     int64  = 1767225600_000000000 // 2026-01-01T00:00:00Z
	goldenCommitted int64  = 1767225601_000000000
	goldenSegment   uint64 = 2
	goldenSnapshot  uint64 = 3
	goldenGroup     uint64 = 8
)

var goldenID = storeID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

const (
	goldenSetHex    = "4b564c47 01 18867252 2994ca00 00000004 63697479 00000004 4f736c6f"
	goldenDeleteHex = "4b564c47 02 18867252 2994ca00 00000004 746f776e 00000000"
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

// goldenInfo is what the golden snapshot says.
func goldenInfo() *snapshotInfo {
	return &snapshotInfo{
		timestamp: goldenCommitted, count: 2, id: goldenID, number: goldenSnapshot, lastGroup: goldenGroup,
		blocks: []snapshotBlock{{offset: 16, pairs: 2, checksum: 0x07409694}},
	}
}

func goldenSegmentBytes(t testing.TB) *segmentBytes {
	t.Helper()
	return &segmentBytes{
		id: goldenID, number: goldenSegment,
		data: unhex(t, goldenHeaderHex+goldenSetHex+goldenDeleteHex+goldenCommitHex+goldenEndHex),
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
	// What FORMAT.md calls place goes into a checksum ahead of the bytes: the seed is nothing else.
	place := unhex(t, "000102030405060708090a0b0c0d0e0f 0000000000000002 0000000000000035")
	seed := seedAt(goldenID, goldenSegment, 0x35)
	if got, want := crc32.Update(seed, castagnoli, rising), crc32.Checksum(append(place, rising...), castagnoli); got != want {
		t.Errorf("seeded %08x, want %08x", got, want)
	}
}

func TestGoldenBytes(t *testing.T) {
	group := appendEntry(nil, opSet, goldenCommitted, "city", "Oslo")
	group = appendEntry(group, opDelete, goldenCommitted, "town", "")
	rows := []struct {
		name string
		got  []byte
		want string
	}{
		{"SET", appendEntry(nil, opSet, goldenCommitted, "city", "Oslo"), goldenSetHex},
		{"DELETE", appendEntry(nil, opDelete, goldenCommitted, "town", ""), goldenDeleteHex},
		{"SEGMENT", appendSegmentHeader(nil, goldenBegun, segmentHeader{version: 1, id: goldenID, number: goldenSegment}), goldenHeaderHex},
		{
			"COMMIT", appendCommit(group, 0, goldenCommitted, goldenGroup, 7, seedAt(goldenID, goldenSegment, 53))[len(group):],
			goldenCommitHex,
		},
		{
			"END", appendEnd(nil, goldenCommitted, endRecord{group: goldenGroup, durable: goldenGroup}, seedAt(goldenID, goldenSegment, 160)),
			goldenEndHex,
		},
		{"snapshot header", appendSnapshotHeader(nil, goldenInfo()), goldenSnapshotHeaderHex},
		{"pair", appendPair(nil, "city", []byte("Oslo")), goldenPairHex},
		{"pair with an empty value", appendPair(nil, "note", nil), goldenEmptyPairHex},
		{"snapshot trailer and footer", appendSnapshotTail(nil, goldenInfo()), goldenTailHex},
	}
	for _, row := range rows {
		if want := unhex(t, row.want); !bytes.Equal(row.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", row.name, row.got, want)
		}
	}
}

// A prefix in dst is left alone and is no part of what is sealed.
func TestEncodersAppend(t *testing.T) {
	prefix := []byte("before")
	seed := seedAt(goldenID, goldenSegment, 53)
	body := appendEntry(nil, opSet, 1, "k", "v")
	rows := []struct {
		name   string
		encode func(dst []byte) []byte
	}{
		{"entry", func(dst []byte) []byte { return appendEntry(dst, opSet, 1, "k", "v") }},
		{"SEGMENT", func(dst []byte) []byte { return appendSegmentHeader(dst, 1, segmentHeader{version: 1, id: goldenID}) }},
		{"group", func(dst []byte) []byte { return appendCommit(append(dst, body...), len(dst), 1, 2, 1, seed) }},
		{"END", func(dst []byte) []byte { return appendEnd(dst, 1, endRecord{group: 1}, seed) }},
		{"pair", func(dst []byte) []byte { return appendPair(dst, "k", []byte("v")) }},
		{"snapshot tail", func(dst []byte) []byte { return appendSnapshotTail(dst, goldenInfo()) }},
	}
	for _, row := range rows {
		want := append(bytes.Clone(prefix), row.encode(nil)...)
		if got := row.encode(bytes.Clone(prefix)); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", row.name, got, want)
		}
	}
}

// The dumps in docs/FORMAT.md are what it says they are.
func TestFormatPageHexdumps(t *testing.T) {
	dumps := formatPageDumps(t)
	s := &segmentBytes{id: goldenID, number: goldenSegment, data: dumps[segmentName(goldenSegment)]}
	header, ok := decodeSegmentHeader(s.data)
	if want := (segmentHeader{version: 1, id: goldenID, number: goldenSegment}); !ok || header != want {
		t.Errorf("SEGMENT: %+v, %v", header, ok)
	}
	g, ok := s.groupAt(segmentEntryBytes)
	if !ok || g.number != goldenGroup || g.durable != 7 || g.entries != 2 || g.unknown != 0 {
		t.Fatalf("group: %+v, %v", g, ok)
	}
	set, _ := decodeEntry(g.bytes)
	if want := (entry{opSet, goldenCommitted, []byte("city"), []byte("Oslo")}); !reflect.DeepEqual(set, want) {
		t.Errorf("first entry: %+v", set)
	}
	del, _ := decodeEntry(g.bytes[set.size():])
	if want := (entry{opDelete, goldenCommitted, []byte("town"), []byte{}}); !reflect.DeepEqual(del, want) {
		t.Errorf("second entry: %+v", del)
	}
	endAt := segmentEntryBytes + len(g.bytes)
	end, ok := s.endAt(endAt)
	if want := (endRecord{group: goldenGroup, durable: goldenGroup}); !ok || end != want || endAt+endEntryBytes != len(s.data) {
		t.Errorf("END: %+v, %v", end, ok)
	}

	state, info, err := loadSnapshotBytes(t, goldenSnapshot, dumps[snapshotName(goldenSnapshot)])
	if want := map[string]string{"city": "Oslo", "note": ""}; err != nil || !maps.Equal(state, want) {
		t.Fatalf("snapshot: %q, %v", state, err)
	}
	if !reflect.DeepEqual(info, goldenInfo()) {
		t.Errorf("snapshot: %+v", info)
	}
}

// formatPageDumps returns the bytes of the blocks that begin with ```hexdump and a name, whose lines are an offset, bytes, a
// semicolon and a comment.
func formatPageDumps(t *testing.T) map[string][]byte {
	page, err := os.ReadFile("docs/FORMAT.md")
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

// loadSnapshotBytes loads a snapshot file of these bytes.
func loadSnapshotBytes(t testing.TB, number uint64, data []byte) (map[string]string, *snapshotInfo, error) {
	t.Helper()
	m, dir := codecDir(t)
	if err := m.WriteFile("/db/"+snapshotName(number), data); err != nil {
		t.Fatal(err)
	}
	loaded, err := loadSnapshot(dir, number)
	if err != nil {
		return nil, nil, err
	}
	state := map[string]string{}
	for key, value := range loaded.table.All() {
		state[strings.Clone(key)] = string(value)
	}
	return state, loaded.snapshotInfo, nil
}

func codecDir(t testing.TB) (*vfs.Mem, vfs.Dir) {
	t.Helper()
	m := vfs.NewMem(nil)
	if err := m.Mkdir("/db"); err != nil {
		t.Fatal(err)
	}
	dir, err := m.OpenDir("/db")
	if err != nil {
		t.Fatal(err)
	}
	return m, dir
}

func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o, timestamp := op(rapid.Byte().Draw(t, "op")), rapid.Int64().Draw(t, "timestamp")
		key, value := drawBytes(t, "key"), drawBytes(t, "value")
		b := appendEntry(nil, o, timestamp, key, value)
		e, ok := decodeEntry(append(b, drawBytes(t, "behind")...))
		if !ok || e.op != o || e.timestamp != timestamp || !bytes.Equal(e.key, key) || !bytes.Equal(e.value, value) {
			t.Fatalf("%+v, %v", e, ok)
		}
		if e.size() != len(b) {
			t.Fatalf("size %d, want %d", e.size(), len(b))
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
			b = appendEntry(b, opSet, before, key, value)
			want = appendEntry(want, opSet, after, key, value)
		}
		if setTimestamps(b, after); !bytes.Equal(b, want) {
			t.Fatalf("\n got %x\nwant %x", b, want)
		}
	})
}

func TestSegmentHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := segmentHeader{version: formatVersion, number: rapid.Uint64().Draw(t, "number")}
		copy(h.id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		b := appendSegmentHeader(nil, rapid.Int64().Draw(t, "timestamp"), h)
		got, ok := decodeSegmentHeader(append(b, drawBytes(t, "behind")...))
		if !ok || got != h || len(b) != segmentEntryBytes {
			t.Fatalf("%+v, %v, want %+v", got, ok, h)
		}
	})
}

func TestGroupAndEndRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &segmentBytes{number: rapid.Uint64().Draw(t, "segment"), data: drawBytes(t, "ahead")}
		copy(s.id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		at := len(s.data)
		entries := rapid.IntRange(1, 5).Draw(t, "entries")
		for range entries {
			o := rapid.SampledFrom([]op{opSet, opDelete}).Draw(t, "op")
			s.data = appendEntry(s.data, o, 1, drawBytes(t, "key"), drawBytes(t, "value"))
		}
		length := len(s.data) - at
		number, durable := rapid.Uint64().Draw(t, "group"), rapid.Uint64().Draw(t, "durable")
		s.data = appendCommit(s.data, at, 1, number, durable, s.seed(at))
		behind := len(s.data)
		s.data = appendEnd(s.data, 1, endRecord{group: number, durable: durable}, s.seed(behind))
		s.data = append(s.data, drawBytes(t, "behind")...)

		g, ok := s.groupAt(at)
		if !ok || g.number != number || g.durable != durable || g.entries != entries || g.unknown != 0 ||
			g.length != uint64(length) || !bytes.Equal(g.bytes, s.data[at:behind]) {
			t.Fatalf("%+v, %v", g, ok)
		}
		end, ok := s.endAt(behind)
		if !ok || end != (endRecord{group: number, durable: durable}) {
			t.Fatalf("%+v, %v", end, ok)
		}
	})
}

func TestSnapshotRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.MapOfN(rapid.StringN(0, 20, 40), rapid.StringN(0, 50, 100), 0, 50).Draw(rt, "pairs")
		info := &snapshotInfo{
			timestamp: rapid.Int64().Draw(rt, "timestamp"), count: uint32(len(want)),
			number: rapid.Uint64Range(1, maxFileNumber).Draw(rt, "number"), lastGroup: rapid.Uint64().Draw(rt, "last group"),
		}
		copy(info.id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "id"))
		_, dir := codecDir(t)
		if err := writeSnapshot(dir, info, stringPairs(want)); err != nil {
			rt.Fatal(err)
		}
		loaded, err := loadSnapshot(dir, info.number)
		if err != nil || !reflect.DeepEqual(loaded.snapshotInfo, info) || loaded.table.Version() != info.timestamp {
			rt.Fatalf("%+v, %v, want %+v", loaded.snapshotInfo, err, info)
		}
		got := map[string]string{}
		for key, value := range loaded.table.All() {
			got[strings.Clone(key)] = string(value)
		}
		if !maps.Equal(got, want) {
			rt.Fatalf("%q, want %q", got, want)
		}
	})
}

func stringPairs(m map[string]string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for key, value := range m {
			if !yield(key, []byte(value)) {
				return
			}
		}
	}
}

func TestSnapshotBlocksCloseAtTheTarget(t *testing.T) {
	const room = snapshotBlockTarget - pairOverhead - 1 // the value that fills a block, beside a key of one byte
	rows := []struct {
		name   string
		values []int
		pairs  []uint32 // of each block
	}{
		{"no pair, no block", nil, nil},
		{"a pair one byte below the target", []int{room - 1}, []uint32{1}},
		{"it is joined by the next", []int{room - 1, 0, 0}, []uint32{2, 1}},
		{"a pair that reaches the target", []int{room, 0}, []uint32{1, 1}},
		{"a pair above it", []int{room + 1, 0}, []uint32{1, 1}},
		{"a pair that is all of the last block", []int{0, 2 * room}, []uint32{2}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := map[string]string{}
			info := &snapshotInfo{number: 1, count: uint32(len(row.values))}
			var b bytes.Buffer
			err := encodeSnapshot(&b, info, func(yield func(string, []byte) bool) {
				for i, n := range row.values {
					key, value := string(rune('a'+i)), bytes.Repeat([]byte{byte(i)}, n)
					if want[key] = string(value); !yield(key, value) {
						return
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			var pairs []uint32
			for _, block := range info.blocks {
				pairs = append(pairs, block.pairs)
			}
			state, _, err := loadSnapshotBytes(t, 1, b.Bytes())
			if err != nil || !maps.Equal(state, want) || !slices.Equal(pairs, row.pairs) {
				t.Fatalf("%d pairs loaded, %v, blocks of %d pairs, want %d", len(state), err, pairs, row.pairs)
			}
		})
	}
}

func TestEntryAndPairLengths(t *testing.T) {
	for _, keyLen := range []int{0, 1, 255, 256, MaxKeyBytes, MaxKeyBytes + 1} {
		for _, valueLen := range []int{0, 1, 255, 256, 65_535, 65_536, snapshotBlockTarget} {
			key, value := bytes.Repeat([]byte("k"), keyLen), bytes.Repeat([]byte("v"), valueLen)
			b := appendEntry(nil, opSet, 1, key, value)
			e, ok := decodeEntry(b)
			if !ok || !bytes.Equal(e.key, key) || !bytes.Equal(e.value, value) || len(b) != 21+keyLen+valueLen {
				t.Errorf("entry of %d and %d bytes: %v", keyLen, valueLen, ok)
			}
			b = appendPair(nil, string(key), value)
			k, v, size, ok := decodePair(b)
			if !ok || !bytes.Equal(k, key) || !bytes.Equal(v, value) || size != len(b) || size != 8+keyLen+valueLen {
				t.Errorf("pair of %d and %d bytes: %v", keyLen, valueLen, ok)
			}
		}
	}
}

func TestOnlyTheMagicBeginsAnEntry(t *testing.T) {
	for bit := range 32 {
		b := unhex(t, goldenSetHex)
		b[bit/8] ^= 1 << (bit % 8)
		if _, ok := decodeEntry(b); ok {
			t.Errorf("%x begins an entry", b[:4])
		}
	}
	if _, ok := decodeEntry(make([]byte, 100)); ok {
		t.Error("zeros begin an entry")
	}
}

// decoders says of each kind of bytes whether it is there, whole.
func decoders() map[string]func(b []byte) bool {
	at := func(b []byte) *segmentBytes {
		// As in the golden segment: 53 bytes ahead of the group, 160 ahead of END, that nobody looks at.
		return &segmentBytes{id: goldenID, number: goldenSegment, data: b}
	}
	return map[string]func(b []byte) bool{
		"entry":   func(b []byte) bool { _, ok := decodeEntry(b); return ok },
		"pair":    func(b []byte) bool { _, _, _, ok := decodePair(b); return ok },
		"SEGMENT": func(b []byte) bool { _, ok := decodeSegmentHeader(b); return ok },
		"group":   func(b []byte) bool { _, ok := at(append(make([]byte, 53), b...)).groupAt(53); return ok },
		"COMMIT": func(b []byte) bool {
			return at(append(make([]byte, 107), b...)).durableAt(107) == 7
		},
		"END": func(b []byte) bool { _, ok := at(append(make([]byte, 160), b...)).endAt(160); return ok },
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

// hasChecksum tells the kinds that vouch for themselves from those that others vouch for.
func hasChecksum(kind string) bool { return kind != "entry" && kind != "pair" }

// Behind the flipped bytes lies a second group, so that a flip which hides the first COMMIT has another one to run into.
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

// What is damaged in a group is not in its COMMIT, which goes on to vouch for the groups before.
func TestCommitVouchesWithoutItsGroup(t *testing.T) {
	s := goldenSegmentBytes(t)
	for i := 53; i < 107; i++ {
		s.data[i] ^= 0xFF
	}
	if _, ok := s.groupAt(53); ok {
		t.Error("a damaged group is valid")
	}
	if got := s.durableAt(107); got != 7 {
		t.Errorf("COMMIT knows %d durable, want 7", got)
	}
}

func TestGroupsAreBoundToTheirPlace(t *testing.T) {
	other := goldenID
	other[15]++
	rows := []struct {
		name string
		move func(s *segmentBytes) (group, end int)
		want bool
	}{
		{"where it was written", func(*segmentBytes) (int, int) { return 53, 160 }, true},
		{"in another store", func(s *segmentBytes) (int, int) { s.id = other; return 53, 160 }, false},
		{"in another segment", func(s *segmentBytes) (int, int) { s.number++; return 53, 160 }, false},
		{"one byte later", func(s *segmentBytes) (int, int) { s.data = slices.Insert(s.data, 53, 0); return 54, 161 }, false},
		{"one byte earlier", func(s *segmentBytes) (int, int) { s.data = s.data[1:]; return 52, 159 }, false},
		{"a group later", func(s *segmentBytes) (int, int) {
			s.data = slices.Insert(s.data, 53, bytes.Clone(s.data[53:160])...)
			return 160, 267
		}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := goldenSegmentBytes(t)
			groupAt, endAt := row.move(s)
			if _, ok := s.groupAt(groupAt); ok != row.want {
				t.Errorf("group: %v", ok)
			}
			if _, ok := s.endAt(endAt); ok != row.want {
				t.Errorf("END: %v", ok)
			}
			if got := s.durableAt(groupAt + 54); (got == 7) != row.want {
				t.Errorf("COMMIT knows %d durable", got)
			}
		})
	}
}

// The checksums in all rows are right: it is the grammar that is judged.
func TestWhatIsAGroup(t *testing.T) {
	set := func(b []byte) []byte { return appendEntry(b, opSet, 1, "k", "v") }
	commit := func(b []byte) []byte { return appendCommit(b, 0, 1, 1, 0, seedAt(goldenID, 1, 0)) }
	rows := []struct {
		name    string
		bytes   []byte
		want    bool
		unknown op
	}{
		{"a SET and a COMMIT", commit(set(nil)), true, 0},
		{"a DELETE and a COMMIT", commit(appendEntry(nil, opDelete, 1, "k", "")), true, 0},
		{"a COMMIT alone", commit(nil), false, 0},
		{"entries without a COMMIT", set(set(nil)), false, 0},
		{"zeros", make([]byte, 200), false, 0},
		{"nothing", nil, false, 0},
		{"a SEGMENT among its entries", commit(appendSegmentHeader(set(nil), 1, segmentHeader{version: 1, id: goldenID, number: 1})), false, 0},
		{"an END among its entries", commit(appendEnd(set(nil), 1, endRecord{}, seedAt(goldenID, 1, 23))), false, 0},
		{"an unknown op among its entries", commit(appendEntry(set(nil), 0x13, 1, "", "")), true, 0x13},
		{"unknown ops, the first of which is told", commit(appendEntry(appendEntry(nil, 0x77, 1, "", ""), 0x88, 1, "", "")), true, 0x77},
		{"a COMMIT with a key", resealed(set(nil), "k", commitValueBytes), false, 0},
		{"a COMMIT with a longer value", resealed(set(nil), "", commitValueBytes+1), false, 0},
		{"a COMMIT with a shorter value", resealed(set(nil), "", commitValueBytes-1), false, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := &segmentBytes{id: goldenID, number: 1, data: row.bytes}
			g, ok := s.groupAt(0)
			if ok != row.want || (ok && g.unknown != row.unknown) {
				t.Fatalf("%v, unknown op %#x", ok, g.unknown)
			}
		})
	}
}

// resealed appends a COMMIT entry of an odd shape to the group b, with the values of a COMMIT as far as there is room and right
// checksums.
func resealed(b []byte, key string, valueBytes int) []byte {
	seed := seedAt(goldenID, 1, 0)
	at := len(b)
	value := make([]byte, max(valueBytes, 28))
	binary.BigEndian.PutUint64(value, 1)
	binary.BigEndian.PutUint64(value[8:], uint64(at))
	binary.BigEndian.PutUint32(value[24:], crc32.Update(seed, castagnoli, b))
	return sealEntry(appendEntry(b, opCommit, 1, key, value[:valueBytes]), at, seed)
}

// A COMMIT with right checksums over another length than its group's is none.
func TestCommitMustNameItsGroupsLength(t *testing.T) {
	for _, off := range []int{-53, -23, -1, 1, 23} {
		s := &segmentBytes{id: goldenID, number: 1, data: make([]byte, 53)}
		s.data = appendEntry(s.data, opSet, 1, "k", "v")
		at := len(s.data)
		s.data = appendEntry(s.data, opSet, 1, "k", "v")
		commitAt := len(s.data)
		// Seeded and summed as if the group began off bytes from where it does.
		s.data = appendCommit(s.data, at+off, 1, 1, 0, s.seed(at+off))
		if _, ok := s.groupAt(at); ok {
			t.Errorf("off by %d: valid", off)
		}
		if _, ok := s.commitAt(commitAt, &entry{op: opCommit, value: s.data[commitAt+21:]}); !ok {
			t.Errorf("off by %d: the COMMIT alone is not valid, so the row shows nothing", off)
		}
	}
}

// So is one with the right checksum of its group, and a length that is wrong.
func TestCommitMustNameTheLengthOfWhatItSums(t *testing.T) {
	s := &segmentBytes{id: goldenID, number: 1, data: appendEntry(make([]byte, 53), opSet, 1, "k", "v")}
	commitAt := len(s.data)
	s.data = appendCommit(s.data, 53, 1, 1, 0, s.seed(53))
	for length, want := range map[uint64]bool{23: true, 22: false, 24: false, 0: false} {
		binary.BigEndian.PutUint64(s.data[commitAt+29:], length)
		sealEntry(s.data, commitAt, s.seed(commitAt-int(length)))
		if _, ok := s.groupAt(53); ok != want {
			t.Errorf("length %d: %v", length, ok)
		}
	}
}

func TestSegmentHeaderVersions(t *testing.T) {
	header := func(version uint32, valueBytes int) []byte {
		value := binary.BigEndian.AppendUint32(nil, version)
		value = append(value, make([]byte, valueBytes-len(value))...)
		return sealEntry(appendEntry(nil, opSegment, 1, "", value), 0, 0)
	}
	flipped := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	rows := []struct {
		name    string
		bytes   []byte
		version uint32 // 0 if no SEGMENT is there
	}{
		{"ours", header(1, segmentValueBytes), 1},
		{"the next one", header(2, segmentValueBytes), 2},
		{"a later one with a longer value", header(math.MaxUint32, 4000), math.MaxUint32},
		{"a later one with a shorter value", header(2, 8), 2},
		{"a later one as long as may be", header(2, maxSegmentEntryBytes-entryOverhead), 2},
		{"a later one that is longer", header(2, maxSegmentEntryBytes-entryOverhead+1), 0},
		{"a later one with a wrong checksum", flipped(header(2, segmentValueBytes)), 0},
		{"none", header(0, segmentValueBytes), 0},
		{"ours with a longer value", header(1, segmentValueBytes+1), 0},
		{"ours with a shorter value", header(1, segmentValueBytes-1), 0},
		{"no room for version and checksum", sealEntry(appendEntry(nil, opSegment, 1, "", "1234567"), 0, 0), 0},
		{"with a key", sealEntry(appendEntry(nil, opSegment, 1, "k", header(1, segmentValueBytes)[21:]), 0, 0), 0},
		{"another op", sealEntry(appendEntry(nil, opCommit, 1, "", header(1, 32)[21:]), 0, 0), 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			h, ok := decodeSegmentHeader(append(row.bytes, 0, 0, 0))
			if ok != (row.version > 0) || (ok && h.version != row.version) {
				t.Fatalf("%+v, %v", h, ok)
			}
		})
	}
}

// bombs are lengths that must not be believed.
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
	// A value one byte longer than what is there, and one that just fits.
	b := append(unhex(t, goldenSetHex), 'x')
	for n, want := range map[uint32]bool{4: true, 5: true, 6: false} {
		binary.BigEndian.PutUint32(b[21:], n)
		if _, ok := decodeEntry(b); ok != want {
			t.Errorf("value length %d of 5 bytes: %v", n, ok)
		}
	}
}

// A COMMIT whose own checksum is right may name any length.
func TestP11CommitLengthBombs(t *testing.T) {
	for _, length := range []uint64{108, 1 << 31, 1 << 32, math.MaxInt64, 1 << 63, math.MaxUint64 - 106, math.MaxUint64} {
		s := goldenSegmentBytes(t)
		binary.BigEndian.PutUint64(s.data[107+29:], length)
		sealEntry(s.data[:160], 107, s.seed(107-int(length)))
		if _, ok := s.groupAt(53); ok {
			t.Errorf("length %#x: a valid group", length)
		}
		if got := s.durableAt(107); got != 0 {
			t.Errorf("length %#x: knows %d durable", length, got)
		}
	}
}

// goldenSnapshotBytes returns the golden snapshot after a change of what it says, with right checksums all over.
func goldenSnapshotBytes(t testing.TB, body []byte, change func(info *snapshotInfo)) []byte {
	t.Helper()
	info := goldenInfo()
	if body == nil {
		body = unhex(t, goldenPairHex+goldenEmptyPairHex)
	}
	info.blocks[0].checksum = crc32.Checksum(body, castagnoli)
	change(info)
	return appendSnapshotTail(append(appendSnapshotHeader(nil, info), body...), info)
}

// repairTail gives trailer and footer of a snapshot file a right checksum.
func repairTail(b []byte, trailerBytes int) []byte {
	return sealEntry(b, len(b)-snapshotFooterBytes-trailerBytes, 0)
}

// Every checksum in the rows is right, or the row is about it. Nothing is refused at the price of much memory (P11).
func TestSnapshotDefectsAreRefused(t *testing.T) {
	const trailer = snapshotTrailerBytes + snapshotBlockBytes
	whole := func() []byte { return goldenSnapshotBytes(t, nil, func(*snapshotInfo) {}) }
	change := func(f func(info *snapshotInfo)) []byte { return goldenSnapshotBytes(t, nil, f) }
	trailerAt := len(whole()) - snapshotFooterBytes - trailer
	edit := func(at int, value ...byte) []byte {
		b := whole()
		copy(b[at:], value)
		return repairTail(b, trailer)
	}
	block := func(i *snapshotInfo) *snapshotBlock { return &i.blocks[0] }
	footer := func(trailerBytes byte) []byte {
		return append([]byte{0, 0, 0, 1}, 0, 0, 0, 0, 0, 0, 0, trailerBytes, 0, 0, 0, 0)
	}
	longKey := func(n uint32) []byte { return append(binary.BigEndian.AppendUint32(nil, n), make([]byte, 24)...) }
	rows := []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"none", whole(), nil},
		{"nothing", nil, ErrCorrupt},
		{"31 bytes", make([]byte, 31), ErrCorrupt},
		{"32 zeros", make([]byte, 32), ErrCorrupt},
		{"zeros", make([]byte, 4096), ErrCorrupt},
		{"the roadmap's part alone", whole()[:trailerAt], ErrCorrupt},
		{"a byte behind the footer", append(whole(), 0), ErrCorrupt},
		{"a byte ahead of the header", append([]byte{0}, whole()...), ErrCorrupt},
		{"a byte between pairs and trailer", slices.Insert(whole(), trailerAt, 0), ErrCorrupt},
		{"another magic", func() []byte {
			b := edit(0, []byte("KVLG")...)
			binary.BigEndian.PutUint32(b[trailerAt:], crc32.Checksum(b[:16], castagnoli))
			return repairTail(b, trailer)
		}(), ErrCorrupt},
		{"another timestamp than the trailer knows", edit(4, 1), ErrCorrupt},
		{"another number", change(func(i *snapshotInfo) { i.number++ }), ErrCorrupt},
		{"a later version", edit(trailerAt+trailer, 0, 0, 0, 2), ErrVersion},
		{"the latest version", edit(trailerAt+trailer, 255, 255, 255, 255), ErrVersion},
		{"a later version with a wrong checksum", func() []byte { b := whole(); b[trailerAt+trailer+3] = 2; return b }(), ErrCorrupt},
		{"one pair more announced", change(func(i *snapshotInfo) { i.count = 3 }), ErrCorrupt},
		{"one pair less announced", change(func(i *snapshotInfo) { i.count = 1 }), ErrCorrupt},
		{"2³² − 1 pairs announced", change(func(i *snapshotInfo) { i.count = math.MaxUint32 }), ErrCorrupt},
		{"2³² − 1 pairs in the block too", change(func(i *snapshotInfo) { i.count, block(i).pairs = math.MaxUint32, math.MaxUint32 }), ErrCorrupt},
		{"one pair more in the block too", change(func(i *snapshotInfo) { i.count, block(i).pairs = 3, 3 }), ErrCorrupt},
		{"one pair less in the block too", change(func(i *snapshotInfo) { i.count, block(i).pairs = 1, 1 }), ErrCorrupt},
		{"no block", change(func(i *snapshotInfo) { i.blocks = nil }), ErrCorrupt},
		{"a block too many in their number", edit(trailerAt+36, 0, 0, 0, 2), ErrCorrupt},
		{"2³² − 1 blocks", edit(trailerAt+36, 255, 255, 255, 255), ErrCorrupt},
		{"the first block begins in the header", change(func(i *snapshotInfo) { block(i).offset = 15 }), ErrCorrupt},
		{"the first block leaves a gap", goldenSnapshotBytes(t, unhex(t, "00"+goldenPairHex+goldenEmptyPairHex), func(i *snapshotInfo) {
			*block(i) = goldenInfo().blocks[0]
			block(i).offset = 17
		}), ErrCorrupt},
		{"bytes in no block", goldenSnapshotBytes(t, []byte("x"), func(i *snapshotInfo) { i.count, i.blocks = 0, nil }), ErrCorrupt},
		{"a block at 2⁶⁴ − 1", change(func(i *snapshotInfo) { block(i).offset = math.MaxUint64 }), ErrCorrupt},
		{"an empty block", change(func(i *snapshotInfo) { i.blocks = append(i.blocks, snapshotBlock{offset: uint64(trailerAt)}) }), ErrCorrupt},
		{"an empty block ahead", change(func(i *snapshotInfo) { i.blocks = slices.Insert(i.blocks, 0, snapshotBlock{offset: 16}) }), ErrCorrupt},
		{"a block twice", change(func(i *snapshotInfo) { i.blocks = append(i.blocks, i.blocks[0]) }), ErrCorrupt},
		{"a block behind the trailer", change(func(i *snapshotInfo) {
			i.blocks = append(i.blocks, snapshotBlock{offset: uint64(trailerAt) + 8})
		}), ErrCorrupt},
		{"a wrong block checksum", change(func(i *snapshotInfo) { block(i).checksum++ }), ErrCorrupt},
		{"a trailer of no length", repairTail(append(whole(), footer(0)...), 0), ErrCorrupt},
		{"a trailer that ends before its number of blocks", repairTail(slices.Concat(whole()[:trailerAt+4], make([]byte, 20), footer(24)), 24), ErrCorrupt},
		{"a trailer that ends in half a block", func() []byte {
			b := append(whole()[:trailerAt+trailer], make([]byte, 8)...)
			return repairTail(append(b, footer(trailer+8)...), trailer+8)
		}(), ErrCorrupt},
		{"a trailer longer than the file", edit(trailerAt+trailer+4, 0, 0, 0, 0, 0, 0, 1, 0), ErrCorrupt},
		{"a trailer of 2⁶⁴ − 1 bytes", edit(trailerAt+trailer+4, 255, 255, 255, 255, 255, 255, 255, 255), ErrCorrupt},
		{"a key there twice", goldenSnapshotBytes(t, unhex(t, goldenPairHex+goldenPairHex), func(*snapshotInfo) {}), ErrCorrupt},
		{"a pair that leaves its block", goldenSnapshotBytes(t, longKey(25), func(*snapshotInfo) {}), ErrCorrupt},
		{"a key of 2³² − 1 bytes", goldenSnapshotBytes(t, longKey(math.MaxUint32), func(*snapshotInfo) {}), ErrCorrupt},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var err error
			took := allocated(func() { _, _, err = loadSnapshotBytes(t, goldenSnapshot, row.bytes) })
			if !errors.Is(err, row.want) {
				t.Fatalf("%v, want %v", err, row.want)
			}
			if took > 1<<20 {
				t.Fatalf("allocated %d bytes for a file of %d", took, len(row.bytes))
			}
		})
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// newSegment returns a segment with nothing but its SEGMENT entry.
func newSegment(number uint64) *segmentBytes {
	header := segmentHeader{version: formatVersion, id: goldenID, number: number}
	return &segmentBytes{id: goldenID, number: number, data: appendSegmentHeader(nil, 1, header)}
}

// addGroup appends a group of these entries, with a right COMMIT.
func addGroup(s *segmentBytes, number, durable uint64, entries []byte) {
	at := len(s.data)
	s.data = appendCommit(append(s.data, entries...), at, int64(number), number, durable, s.seed(at))
}

// addEnd appends an END with a right checksum.
func addEnd(s *segmentBytes, group, durable uint64) {
	s.data = appendEnd(s.data, int64(group), endRecord{group: group, durable: durable}, s.seed(len(s.data)))
}

func TestDurableBehind(t *testing.T) {
	base := func() *segmentBytes {
		return &segmentBytes{id: goldenID, number: 1, data: bytes.Repeat([]byte("KVLG\x11garbage"), 20)}
	}
	group := func(s *segmentBytes, durable uint64) {
		addGroup(s, durable+1, durable, appendEntry(nil, opSet, 1, "k", "v"))
	}
	end := func(s *segmentBytes, durable uint64) { addEnd(s, durable, durable) }
	rows := []struct {
		name  string
		write func(s *segmentBytes)
		want  uint64
	}{
		{"nothing there", func(s *segmentBytes) { s.data = nil }, 0},
		{"garbage", func(*segmentBytes) {}, 0},
		{"a COMMIT", func(s *segmentBytes) { group(s, 5) }, 5},
		{"a COMMIT that knows nothing", func(s *segmentBytes) { group(s, 0) }, 0},
		{"an END", func(s *segmentBytes) { end(s, 5) }, 5},
		{"the highest of several, the first", func(s *segmentBytes) { group(s, 7); group(s, 5); end(s, 6) }, 7},
		{"the highest of several, in the middle", func(s *segmentBytes) { group(s, 5); group(s, 7); end(s, 6) }, 7},
		{"the highest of several, the last", func(s *segmentBytes) { group(s, 5); group(s, 6); end(s, 7) }, 7},
		{"a damaged COMMIT", func(s *segmentBytes) { group(s, 5); s.data[len(s.data)-20]++ }, 0},
		{"a cut COMMIT", func(s *segmentBytes) { group(s, 5); s.data = s.data[:len(s.data)-1] }, 0},
		{"a damaged END", func(s *segmentBytes) { end(s, 5); s.data[len(s.data)-20]++ }, 0},
		{"a cut END", func(s *segmentBytes) { end(s, 5); s.data = s.data[:len(s.data)-1] }, 0},
		{"a COMMIT in a value, as a copy of the log would be", func(s *segmentBytes) {
			group(s, 5)
			s.data = appendEntry(s.data[:len(s.data)-76], opSet, 1, "k", bytes.Clone(s.data[len(s.data)-76:]))
		}, 0},
		{"a COMMIT whose first byte an entry of garbage swallows", func(s *segmentBytes) {
			s.data = append(s.data, "KVLG\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7f\xff\xff\xff"...)
			group(s, 5)
		}, 5},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := base()
			row.write(s)
			got, at := s.durableBehind(0)
			if got != row.want {
				t.Fatalf("%d, want %d", got, row.want)
			}
			if got > 0 && s.durableAt(at) != got {
				t.Fatalf("offset %d is not that of the entry", at)
			}
			if got, _ := s.durableBehind(len(s.data)); got != 0 {
				t.Fatalf("%d behind the end", got)
			}
		})
	}
}

// durableBehind takes linear time because each place that looks like an entry costs a bounded number of bytes: this
// counts them. A candidate depends on the COMMIT's 53 bytes from its offset on and on nothing behind, whatever lengths it
// names; and there is at most one candidate in four bytes. (P11)
func TestP11DurableBehindIsLinear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &segmentBytes{id: goldenID, number: 1}
		for range rapid.IntRange(1, 8).Draw(t, "pieces") {
			piece := appendEntry(nil, op(rapid.IntRange(0, 0x13).Draw(t, "op")), 1, drawBytes(t, "key"), drawBytes(t, "value"))
			if rapid.Bool().Draw(t, "sealed") {
				at := len(s.data)
				s.data = appendCommit(append(s.data, piece...), at, 1, 2, 1, s.seed(at))
			}
			s.data = append(s.data, piece[:rapid.IntRange(0, len(piece)).Draw(t, "cut")]...)
		}
		for at := range s.data {
			window := &segmentBytes{id: s.id, number: s.number, data: s.data[:min(len(s.data), at+commitEntryBytes)]}
			if got, want := s.durableAt(at), window.durableAt(at); got != want {
				t.Fatalf("at %d: %d with all bytes, %d with those of a COMMIT", at, got, want)
			}
		}
	})

	// The worst cases: nothing but candidates. A search that followed the lengths they name would take 2⁴⁰ steps and more.
	commit := unhex(t, goldenCommitHex)
	commit[len(commit)-1]++
	for name, unit := range map[string][]byte{
		"bare magics":                 []byte("KVLG"),
		"COMMITs with a bad checksum": commit,
		"entries up to the end":       []byte("KVLG\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00"),
	} {
		s := &segmentBytes{id: goldenID, number: 1, data: bytes.Repeat(unit, (4<<20)/len(unit))}
		took := allocated(func() {
			if got, _ := s.durableBehind(0); got != 0 {
				t.Errorf("%s: %d durable", name, got)
			}
		})
		if took > uint64(len(s.data)) {
			t.Errorf("%s: %d bytes allocated", name, took)
		}
	}
}

// Judging a segment reads each of its bytes once, whatever is in it.
func TestP11JudgingReadsEachByteOnce(t *testing.T) {
	data := unhex(t, goldenHeaderHex)
	data = append(data, bytes.Repeat([]byte("KVLG\x01"), 100_000)...)
	m, dir := codecDir(t)
	if err := m.WriteFile("/db/"+segmentName(goldenSegment), data); err != nil {
		t.Fatal(err)
	}
	read := 0
	m.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpRead {
			read += op.Bytes
		}
		return nil
	})
	r := &recovery{dir: dir, snapshot: goldenSegment, lastGroup: goldenGroup - 1}
	if err := r.replaySegment(goldenSegment, 0); err != nil {
		t.Fatal(err)
	}
	if read != len(data) {
		t.Errorf("%d bytes read of a file of %d", read, len(data))
	}
}

func TestFileNames(t *testing.T) {
	for number, digits := range map[uint64]string{
		1: "00000000000000000001", 1234567890: "00000000001234567890", math.MaxUint64: "18446744073709551615",
	} {
		if got := segmentName(number); got != "wal-"+digits+".log" {
			t.Error(got)
		}
		if got := snapshotName(number); got != "snapshot-"+digits+".kvs" {
			t.Error(got)
		}
		if got := fileNumber(segmentName(number), segmentPrefix, segmentSuffix); got != number {
			t.Error(got)
		}
	}
	m, dir := codecDir(t)
	for _, foreign := range []string{
		"LOCK", "wal-1.log", "wal-00000000000000000000.log", "wal-000000000000000000001.log", "wal-0000000000000000001.log",
		"wal-+0000000000000000001.log", "wal-0000000000000000_001.log", "wal-0x000000000000000001.log", "wal-99999999999999999999.log",
		"WAL-00000000000000000001.log", "wal-00000000000000000001.log.bak", "wal-00000000000000000001.kvs", "wal-00000000000000000001.log ",
		"wal-.log", "wal-.tmp", "x.tmp", "snapshot-00000000000000000001.log", "snapshot-00000000000000000000.kvs.tmp",
	} {
		if err := m.WriteFile("/db/"+foreign, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := list(dir)
	if err != nil || len(got.segments)+len(got.snapshots)+len(got.temporary) > 0 {
		t.Errorf("foreign names are taken for ours: %+v, %v", got, err)
	}
}
