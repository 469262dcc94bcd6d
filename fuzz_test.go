package kvstore

// Arbitrary bytes on disk (P6, P8, P11): Open does not panic, returns nil, ErrCorrupt or ErrVersion, changes nothing when
// it refuses, and serves the same state ever after when it does not. Fuzzers do not guess checksums, so each target has
// modes that repair them, and mutations reach what lies behind.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"testing"
	"time"

	"kvstore/internal/vfs"
)

// fuzzDir is the data directory of a fuzzed store: the files to begin with, and the disk they are put on.
type fuzzDir struct {
	t     *testing.T
	files map[string][]byte
	disk  *vfs.Mem
}

// judge puts files on a disk and opens them in all the ways that must agree. It returns what became of it and, if that is
// opened, the state found.
func judge(t *testing.T, files map[string][]byte) (verdict string, state map[string]string) {
	t.Helper()
	d := fuzzDir{t: t, files: files, disk: vfs.NewMem(nil)}
	if err := errors.Join(d.disk.Mkdir("/db"), d.disk.SyncParent("/db")); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := d.disk.WriteFile("/db/"+name, data); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := d.open(true)
	verdict = d.verdict(err)
	if err == nil {
		state = stateOf(reader)
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d.wantUntouched()
	s, err := d.open(false)
	if d.verdict(err) != verdict {
		t.Fatalf("open: %v, ReadOnly: %s", err, verdict)
	}
	if err != nil {
		if _, again := d.open(false); d.verdict(again) != verdict {
			t.Fatalf("open: %v, and again: %v", err, again)
		}
		d.wantUntouched()
		return verdict, nil
	}
	if got := stateOf(s); !maps.Equal(got, state) {
		t.Fatalf("ReadOnly found %d keys, then there were %d", len(state), len(got))
	}
	d.serve(s, maps.Clone(state))
	return verdict, state
}

// What Open may make of bytes.
const (
	opened       = "opened"
	corrupt      = "ErrCorrupt"
	laterVersion = "ErrVersion"
)

// verdict names what Open made of the bytes.
func (d *fuzzDir) verdict(err error) string {
	d.t.Helper()
	switch {
	case err == nil:
		return opened
	case errors.Is(err, ErrCorrupt):
		return corrupt
	case errors.Is(err, ErrVersion):
		return laterVersion
	}
	d.t.Fatalf("open: %v", err)
	return ""
}

func (d *fuzzDir) open(readOnly bool) (*Store, error) {
	config := DefaultConfig("/db")
	config.ReadOnly = readOnly
	return open(config, environment{fs: d.disk, now: time.Now, maxKeys: MaxKeys, firstSegmentBytes: 4096})
}

func (d *fuzzDir) wantUntouched() {
	d.t.Helper()
	got := map[string][]byte{}
	for _, name := range d.disk.Names("/db") {
		if name != lockName {
			got[name], _ = d.disk.ReadFile("/db/" + name)
		}
	}
	if !maps.EqualFunc(got, d.files, bytes.Equal) {
		d.t.Fatal("files were changed")
	}
}

// serve checks that the state survives a power cut, a write, another power cut, and a Close.
func (d *fuzzDir) serve(s *Store, want map[string]string) {
	d.t.Helper()
	d.disk.PowerCut()
	_ = s.Close() // fails: its disk is gone
	s = d.reopen(want)
	if err := s.Set("written", []byte("later")); err != nil {
		d.t.Fatalf("set: %v", err)
	}
	want["written"] = "later"
	d.disk.PowerCut()
	_ = s.Close() // fails: its disk is gone
	for range 2 {
		if err := d.reopen(want).Close(); err != nil {
			d.t.Fatalf("close: %v", err)
		}
	}
}

func (d *fuzzDir) reopen(want map[string]string) *Store {
	d.t.Helper()
	s, err := d.open(false)
	if err != nil {
		d.t.Fatalf("open again: %v", err)
	}
	if got := stateOf(s); !maps.Equal(got, want) {
		d.t.Fatalf("another state when opened again: %d keys, there were %d", len(got), len(want))
	}
	if dropped := s.Stats().Recovery.Dropped; len(dropped) > 0 {
		d.t.Fatalf("dropped when opened again: %+v", dropped)
	}
	return s
}

func stateOf(s *Store) map[string]string {
	state := map[string]string{}
	for _, key := range s.Keys() {
		value, _ := s.Get(key)
		state[key] = string(value)
	}
	return state
}

// Bytes that no accident makes: every checksum is right, and what they say is judged (P6, P8).
func TestSealedBytesAreJudged(t *testing.T) {
	set := appendEntry(nil, opSet, 1, "k", "v")
	longKey := func(n int) []byte { return appendEntry(nil, opSet, 1, bytes.Repeat([]byte("k"), n), "") }
	rows := []struct {
		name   string
		first  func(s *segmentBytes)
		second func(s *segmentBytes) // nil if there is one segment
		want   string
		keys   int
	}{
		{"a segment without a group", func(*segmentBytes) {}, nil, opened, 0},
		{"a segment without a group, ended", func(s *segmentBytes) { addEnd(s, 0, 0) }, nil, opened, 0},
		{"a group", func(s *segmentBytes) { addGroup(s, 1, 0, set) }, nil, opened, 1},
		{"a group in each of two segments", func(s *segmentBytes) {
			addGroup(s, 1, 0, set)
			addEnd(s, 1, 1)
		}, func(s *segmentBytes) { addGroup(s, 2, 1, longKey(9)) }, opened, 2},
		{"an unknown op", func(s *segmentBytes) { addGroup(s, 1, 0, appendEntry(set, 0x03, 1, "k", "v")) }, nil, laterVersion, 0},
		{"an unknown op without a key", func(s *segmentBytes) { addGroup(s, 1, 0, appendEntry(set, 0x13, 1, "", "v")) }, nil, laterVersion, 0},
		{"an unknown op in a group that is not whole", func(s *segmentBytes) {
			addGroup(s, 1, 0, appendEntry(nil, 0x03, 1, "k", "v"))
			s.data[len(s.data)-1]++
		}, nil, opened, 0},
		{"an unknown op in a group that is not the next", func(s *segmentBytes) { addGroup(s, 2, 0, appendEntry(nil, 0x03, 1, "k", "v")) }, nil, corrupt, 0},
		{"a segment of a later version", func(s *segmentBytes) {
			s.data = appendSegmentHeader(nil, 1, segmentHeader{version: 2, id: goldenID, number: 9})
		}, nil, laterVersion, 0},
		{"a second segment of a later version", func(s *segmentBytes) { addEnd(s, 0, 0) }, func(s *segmentBytes) {
			s.data = appendSegmentHeader(nil, 1, segmentHeader{version: 2, id: goldenID, number: 2})
		}, laterVersion, 0},
		{"a segment of version 0", func(s *segmentBytes) {
			s.data = appendSegmentHeader(nil, 1, segmentHeader{version: 0, id: goldenID, number: 1})
		}, nil, corrupt, 0},
		{"a key at the limit", func(s *segmentBytes) { addGroup(s, 1, 0, longKey(MaxKeyBytes)) }, nil, opened, 1},
		{"a key beyond it", func(s *segmentBytes) { addGroup(s, 1, 0, longKey(MaxKeyBytes+1)) }, nil, corrupt, 0},
		{"a DELETE with a value", func(s *segmentBytes) { addGroup(s, 1, 0, appendEntry(nil, opDelete, 1, "k", "v")) }, nil, corrupt, 0},
		{"a first group that is not group 1", func(s *segmentBytes) { addGroup(s, 2, 0, set) }, nil, corrupt, 0},
		{"a group twice", func(s *segmentBytes) { addGroup(s, 1, 0, set); addGroup(s, 1, 0, set) }, nil, corrupt, 0},
		{"a group left out", func(s *segmentBytes) { addGroup(s, 1, 0, set); addGroup(s, 3, 0, set) }, nil, corrupt, 0},
		{"a group left out between segments", func(s *segmentBytes) {
			addGroup(s, 1, 0, set)
			addEnd(s, 1, 1)
		}, func(s *segmentBytes) { addGroup(s, 3, 1, set) }, corrupt, 0},
		{"an END of another group, which proves nothing", func(s *segmentBytes) { addGroup(s, 1, 0, set); addEnd(s, 2, 1) }, nil, opened, 1},
		{"an END that knows a group behind the last durable", func(s *segmentBytes) { addGroup(s, 1, 0, set); addEnd(s, 2, 2) }, nil, corrupt, 0},
		{"an END of another group before a later segment", func(s *segmentBytes) {
			addGroup(s, 1, 0, set)
			addEnd(s, 2, 1)
		}, func(*segmentBytes) {}, corrupt, 0},
		{"a torn group, then one that did not know it durable", func(s *segmentBytes) {
			addGroup(s, 1, 0, set)
			s.data[60]++
			addGroup(s, 2, 0, set)
		}, nil, opened, 0},
		{"a damaged group, then one that knew it durable", func(s *segmentBytes) {
			addGroup(s, 1, 0, set)
			s.data[60]++
			addGroup(s, 2, 1, set)
		}, nil, corrupt, 0},
		{"a second segment of another store", func(s *segmentBytes) { addEnd(s, 0, 0) }, func(s *segmentBytes) {
			s.data = appendSegmentHeader(nil, 1, segmentHeader{version: 1, id: storeID{1}, number: 2})
		}, corrupt, 0},
		{"a second segment with another number", func(s *segmentBytes) { addEnd(s, 0, 0) }, func(s *segmentBytes) {
			s.data = newSegment(3).data
		}, corrupt, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newSegment(1)
			row.first(s)
			files := map[string][]byte{segmentName(1): s.data}
			if row.second != nil {
				s := newSegment(2)
				row.second(s)
				files[segmentName(2)] = s.data
			}
			verdict, state := judge(t, files)
			if verdict != row.want || len(state) != row.keys {
				t.Fatalf("%s with %d keys, want %s with %d", verdict, len(state), row.want, row.keys)
			}
		})
	}
}

// The modes of FuzzSegment and FuzzSnapshot.
const (
	fuzzRaw    = iota // bytes as they are
	fuzzRepair        // with right checksums wherever one belongs
	fuzzWrap          // as the innermost part of something whole
	fuzzModes
)

func FuzzSegment(f *testing.F) {
	first, second := fuzzSegmentSeeds(f)
	for mode := byte(0); mode < fuzzModes; mode++ {
		f.Add(mode, first, []byte{})
		f.Add(mode, first, second)
		f.Add(mode, first[:len(first)-endEntryBytes], []byte{})
		f.Add(mode, first[:len(first)-endEntryBytes-1], []byte("garbage"))
	}
	f.Add(byte(fuzzWrap), appendEntry(appendEntry(nil, opSet, 1, "k", "v"), opDelete, 1, "l", ""), []byte{})
	f.Add(byte(fuzzWrap), appendEntry(nil, opSet, 1, "", ""), []byte("KVLG"))
	f.Add(byte(fuzzWrap), appendEntry(nil, 0x7f, 1, "k", "v"), []byte{})
	f.Add(byte(fuzzWrap), appendEntry(nil, opDelete, 1, "k", "v"), []byte{})
	f.Add(byte(fuzzRaw), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, mode byte, first, second []byte) {
		files := map[string][]byte{}
		switch mode % fuzzModes {
		case fuzzRaw:
			files[segmentName(1)] = first
		case fuzzRepair:
			files[segmentName(1)] = repairSegment(first, 1)
			second = repairSegment(second, 2)
		case fuzzWrap:
			files[segmentName(1)] = append(wrapGroup(first), second...)
			second = nil
		}
		if len(second) > 0 {
			files[segmentName(2)] = second
		}
		_, state := judge(t, files)
		if want := wrappedState(first); mode%fuzzModes == fuzzWrap && want != nil && !maps.Equal(state, want) {
			t.Fatalf("a whole group is served as %q, want %q", state, want)
		}
	})
}

// fuzzSegmentSeeds returns two segments that follow each other.
func fuzzSegmentSeeds(f *testing.F) (first, second []byte) {
	number := uint64(0)
	segment := func(segmentNumber uint64, groups int) []byte {
		s := newSegment(segmentNumber)
		for range groups {
			number++
			entries := appendEntry(nil, opSet, int64(number), "key", bytes.Repeat([]byte("v"), int(number)))
			addGroup(s, number, number-1, appendEntry(entries, opDelete, int64(number), "gone", ""))
		}
		addEnd(s, number, number)
		return s.data
	}
	first, second = segment(1, 3), segment(2, 2)
	// The repair of what is right already changes nothing, or else it would hide the shapes that the writer makes.
	if !bytes.Equal(repairSegment(first, 1), first) || !bytes.Equal(repairSegment(second, 2), second) {
		f.Fatal("repairSegment breaks whole segments")
	}
	return first, second
}

// repairSegment returns data with right checksums, lengths and segment number in all control entries, as far as one entry
// follows another, or begins at a magic behind a spot where none did.
func repairSegment(data []byte, number uint64) []byte {
	data = bytes.Clone(data)
	s := segmentBytes{number: number, data: data}
	start := 0
	for at := 0; at < len(data); {
		e, ok := decodeEntry(data[at:])
		if !ok {
			next := bytes.Index(data[at+1:], []byte("KVLG"))
			if next < 0 {
				break
			}
			at += 1 + next
			start = at
			continue
		}
		if len(e.key) == 0 && s.repairEntry(start, at, &e) {
			start = at + e.size()
		}
		at += e.size()
	}
	return data
}

// repairEntry repairs the entry at this offset if it is a control entry; a COMMIT vouches for what lies between start and it.
func (s *segmentBytes) repairEntry(start, at int, e *entry) bool {
	whole := s.data[at : at+e.size()]
	switch {
	case e.op == opSegment && len(e.value) >= segmentValueBytes:
		binary.BigEndian.PutUint64(e.value[20:], s.number)
		copy(s.id[:], e.value[4:])
		sealEntry(whole, 0, 0)
	case e.isControl(opCommit, commitValueBytes):
		binary.BigEndian.PutUint64(e.value[8:], uint64(at-start))
		binary.BigEndian.PutUint32(e.value[24:], crc32.Update(s.seed(start), castagnoli, s.data[start:at]))
		sealEntry(whole, 0, s.seed(start))
	case e.isControl(opEnd, endValueBytes):
		sealEntry(whole, 0, s.seed(at))
	default:
		return false
	}
	return true
}

// wrapGroup returns segment 1 with these entries as its one group.
func wrapGroup(entries []byte) []byte {
	s := newSegment(1)
	addGroup(s, 1, 0, entries)
	return s.data
}

// wrappedState returns the state that SET and DELETE entries make, nil if b is anything else, or nothing.
func wrappedState(b []byte) map[string]string {
	var state map[string]string
	for len(b) > 0 {
		e, ok := decodeEntry(b)
		switch {
		case !ok || len(e.key) > MaxKeyBytes:
			return nil
		case state == nil:
			state = map[string]string{}
		}
		switch {
		case e.op == opSet:
			state[string(e.key)] = string(e.value)
		case e.op == opDelete && len(e.value) == 0:
			delete(state, string(e.key))
		default:
			return nil
		}
		b = b[e.size():]
	}
	return state
}

func FuzzSnapshot(f *testing.F) {
	pairs := appendPair(appendPair(nil, "city", []byte("Oslo")), "note", nil)
	whole := wrapPairs(pairs, 2, 2)
	if repaired := repairSnapshot(whole); !bytes.Equal(repaired, whole) {
		f.Fatal("repairSnapshot breaks a whole snapshot")
	}
	for mode := byte(0); mode < fuzzModes; mode++ {
		f.Add(mode, uint32(2), uint32(2), whole)
		f.Add(mode, uint32(2), uint32(2), twoBlocks())
		f.Add(mode, uint32(0), uint32(0), wrapPairs(nil, 0, 0))
		f.Add(mode, uint32(2), uint32(2), pairs)
		f.Add(mode, uint32(0), uint32(0), []byte{})
	}
	f.Add(byte(fuzzWrap), ^uint32(0), ^uint32(0), pairs)
	f.Fuzz(func(t *testing.T, mode byte, count, blockPairs uint32, data []byte) {
		switch mode % fuzzModes {
		case fuzzRepair:
			data = repairSnapshot(data)
		case fuzzWrap:
			data = wrapPairs(data, count, blockPairs)
		}
		judge(t, map[string][]byte{snapshotName(1): data})
	})
}

// wrapPairs returns snapshot 1 with these bytes as its one block.
func wrapPairs(body []byte, count, blockPairs uint32) []byte {
	info := &snapshotInfo{timestamp: 1, count: count, id: goldenID, number: 1, lastGroup: 1}
	if len(body) > 0 {
		info.blocks = []snapshotBlock{{offset: snapshotHeaderBytes, pairs: blockPairs, checksum: crc32.Checksum(body, castagnoli)}}
	}
	return appendSnapshotTail(append(appendSnapshotHeader(nil, info), body...), info)
}

// twoBlocks returns a snapshot of two blocks, each of one pair.
func twoBlocks() []byte {
	one, two := appendPair(nil, "city", []byte("Oslo")), appendPair(nil, "note", nil)
	info := &snapshotInfo{timestamp: 1, count: 2, id: goldenID, number: 1, lastGroup: 1, blocks: []snapshotBlock{
		{offset: snapshotHeaderBytes, pairs: 1, checksum: crc32.Checksum(one, castagnoli)},
		{offset: snapshotHeaderBytes + uint64(len(one)), pairs: 1, checksum: crc32.Checksum(two, castagnoli)},
	}}
	b := append(appendSnapshotHeader(nil, info), one...)
	return appendSnapshotTail(append(b, two...), info)
}

// repairSnapshot returns data with right checksums of the blocks, the header and the trailer that its footer points to.
func repairSnapshot(data []byte) []byte {
	data = bytes.Clone(data)
	footerAt := len(data) - snapshotFooterBytes
	if footerAt < snapshotHeaderBytes+snapshotTrailerBytes {
		return data
	}
	n := decodeSnapshotFooter(data[footerAt:]).trailerBytes
	if n < snapshotTrailerBytes || n > uint64(footerAt-snapshotHeaderBytes) {
		return data
	}
	trailerAt := footerAt - int(n)
	trailer := data[trailerAt:footerAt]
	binary.BigEndian.PutUint32(trailer, crc32.Checksum(data[:snapshotHeaderBytes], castagnoli))
	end := uint64(trailerAt)
	for at := snapshotTrailerBytes + (int(n)-snapshotTrailerBytes)/snapshotBlockBytes*snapshotBlockBytes; at > snapshotTrailerBytes; {
		at -= snapshotBlockBytes
		if offset := binary.BigEndian.Uint64(trailer[at:]); offset < end {
			binary.BigEndian.PutUint32(trailer[at+12:], crc32.Checksum(data[offset:end], castagnoli))
			end = offset
		}
	}
	return sealEntry(data, trailerAt, 0)
}

// What decodes is what the encoders write, and the other way round.
func FuzzEntry(f *testing.F) {
	f.Add([]byte{}, byte(0), int64(0), []byte{}, []byte{})
	f.Add(appendEntry(nil, opSet, 1, "k", "v"), byte(opSet), int64(1), []byte("k"), []byte("v"))
	f.Add(appendPair(nil, "k", []byte("v")), byte(opDelete), int64(-1), []byte("k"), []byte{})
	f.Add([]byte("KVLG\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"), byte(0xff), int64(1)<<62, []byte{}, []byte("v"))
	f.Fuzz(func(t *testing.T, data []byte, o byte, timestamp int64, key, value []byte) {
		if e, ok := decodeEntry(data); ok {
			if again := appendEntry(nil, e.op, e.timestamp, e.key, e.value); !bytes.Equal(again, data[:e.size()]) {
				t.Fatalf("%x decodes to what encodes to %x", data[:e.size()], again)
			}
		}
		if k, v, size, ok := decodePair(data); ok {
			if again := appendPair(nil, string(k), v); !bytes.Equal(again, data[:size]) {
				t.Fatalf("%x decodes to what encodes to %x", data[:size], again)
			}
		}
		b := append(appendEntry(nil, op(o), timestamp, key, value), data...)
		e, ok := decodeEntry(b)
		if !ok || e.op != op(o) || e.timestamp != timestamp || !bytes.Equal(e.key, key) || !bytes.Equal(e.value, value) {
			t.Fatalf("entry comes back as %+v, %v", e, ok)
		}
		k, v, size, ok := decodePair(append(appendPair(nil, string(key), value), data...))
		if !ok || !bytes.Equal(k, key) || !bytes.Equal(v, value) || size != pairOverhead+len(key)+len(value) {
			t.Fatalf("pair comes back as %x, %x, %v", k, v, ok)
		}
	})
}
