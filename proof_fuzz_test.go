package kvstore

// This file puts arbitrary bytes on disk (P6, P8, P11). Open must not panic. It
// returns nil, ErrCorrupt or ErrVersion. If it refuses the files, it changes
// nothing. If it does not, it serves the same state ever after. Fuzzers do not
// guess checksums, so each target has modes that repair them, which lets
// mutations reach what lies behind.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"kvstore/internal/codec"
	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// fuzzDir is the data directory of a fuzzed store: its initial files, and the
// disk that they are on.
type fuzzDir struct {
	t     *testing.T
	files map[string][]byte
	disk  *vfs.Mem
}

// judge puts files on a disk and opens them in all the ways that must agree. It
// returns the verdict and, if the files were opened, the state.
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

// The verdicts of Open.
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
		if name != format.LockName {
			got[name], _ = d.disk.ReadFile("/db/" + name)
		}
	}
	if !maps.EqualFunc(got, d.files, bytes.Equal) {
		d.t.Fatal("files were changed")
	}
}

// serve checks that the state survives a power cut, a write, another power cut,
// and a Close.
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

// Sizes in docs/FORMAT.md that the tests need to make files.
const (
	headerBytes        = 16 // of a snapshot
	trailerBytes       = 40 // without its blocks
	blockBytes         = 16 // of a block in the trailer
	deadlineBlockBytes = 20 // of a block of deadlines
	footerBytes        = 16
)

var (
	someID     = format.StoreID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// newSegment returns a segment with nothing but its SEGMENT entry.
func newSegment(number uint64) *format.Segment {
	header := format.Header{Version: format.Version, ID: someID, Number: number}
	return &format.Segment{ID: someID, Number: number, Data: format.AppendHeader(nil, 1, header)}
}

// addGroup appends a group of these entries, with a right COMMIT.
func addGroup(s *format.Segment, number, durable uint64, entries []byte) {
	at := len(s.Data)
	s.Data = format.AppendCommit(append(s.Data, entries...), at, int64(number), number, durable, s.Seed(at))
}

// addEnd appends an END with a right checksum.
func addEnd(s *format.Segment, group, durable uint64) {
	s.Data = format.AppendEnd(s.Data, int64(group), format.End{Group: group, Durable: durable}, s.Seed(len(s.Data)))
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
		f.Add(mode, first[:len(first)-format.EndEntryBytes], []byte{})
		f.Add(mode, first[:len(first)-format.EndEntryBytes-1], []byte("garbage"))
	}
	set := format.AppendEntry(nil, format.OpSet, 1, "k", "v")
	f.Add(byte(fuzzWrap), format.AppendEntry(set, format.OpDelete, 1, "l", ""), []byte{})
	f.Add(byte(fuzzWrap), format.AppendEntry(nil, format.OpSet, 1, "", ""), []byte("KVLG"))
	f.Add(byte(fuzzWrap), format.AppendEntry(nil, 0x7f, 1, "k", "v"), []byte{})
	f.Add(byte(fuzzWrap), format.AppendEntry(nil, format.OpDelete, 1, "k", "v"), []byte{})
	set = slices.Clip(set)
	f.Add(byte(fuzzWrap), codec.AppendExpire(set, "k", 0), []byte{})
	f.Add(byte(fuzzWrap), codec.AppendExpire(set, "k", math.MaxInt64), []byte{})
	f.Add(byte(fuzzWrap), codec.AppendExpire(nil, "k", 1), []byte{})
	f.Add(byte(fuzzWrap), codec.AppendDelete(codec.AppendCause(nil), "k"), []byte{})
	f.Add(byte(fuzzRaw), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, mode byte, first, second []byte) {
		files := map[string][]byte{}
		switch mode % fuzzModes {
		case fuzzRaw:
			files[format.SegmentName(1)] = first
		case fuzzRepair:
			files[format.SegmentName(1)] = repairSegment(first, 1)
			second = repairSegment(second, 2)
		case fuzzWrap:
			files[format.SegmentName(1)] = append(wrapGroup(first), second...)
			second = nil
		}
		if len(second) > 0 {
			files[format.SegmentName(2)] = second
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
			value := bytes.Repeat([]byte("v"), int(number))
			entries := format.AppendEntry(nil, format.OpSet, int64(number), "key", value)
			addGroup(s, number, number-1, format.AppendEntry(entries, format.OpDelete, int64(number), "gone", ""))
		}
		addEnd(s, number, number)
		return s.Data
	}
	first, second = segment(1, 3), segment(2, 2)
	// Repair must not change whole segments, or it would hide the shapes that
	// the writer makes.
	if !bytes.Equal(repairSegment(first, 1), first) || !bytes.Equal(repairSegment(second, 2), second) {
		f.Fatal("repairSegment breaks whole segments")
	}
	return first, second
}

// repairSegment returns data with right checksums, lengths and segment number
// in all control entries. It follows entries from the start, and again from
// each magic behind a place without an entry.
func repairSegment(data []byte, number uint64) []byte {
	data = bytes.Clone(data)
	s := format.Segment{Number: number, Data: data}
	start := 0
	for at := 0; at < len(data); {
		e, ok := format.DecodeEntry(data[at:])
		if !ok {
			next := bytes.Index(data[at+1:], []byte("KVLG"))
			if next < 0 {
				break
			}
			at += 1 + next
			start = at
			continue
		}
		if len(e.Key) == 0 && repairEntry(&s, start, at, &e) {
			start = at + e.Size()
		}
		at += e.Size()
	}
	return data
}

// repairEntry repairs the entry at this offset if it is a control entry. A
// COMMIT covers what lies between start and the entry.
func repairEntry(s *format.Segment, start, at int, e *format.Entry) bool {
	whole := s.Data[at : at+e.Size()]
	switch {
	case e.Op == format.OpSegment && len(e.Value) >= 32:
		binary.BigEndian.PutUint64(e.Value[20:], s.Number)
		copy(s.ID[:], e.Value[4:])
		format.Seal(whole, 0, 0)
	case e.Op == format.OpCommit && len(whole) == format.CommitEntryBytes:
		binary.BigEndian.PutUint64(e.Value[8:], uint64(at-start))
		binary.BigEndian.PutUint32(e.Value[24:], crc32.Update(s.Seed(start), castagnoli, s.Data[start:at]))
		format.Seal(whole, 0, s.Seed(start))
	case e.Op == format.OpEnd && len(whole) == format.EndEntryBytes:
		format.Seal(whole, 0, s.Seed(at))
	default:
		return false
	}
	return true
}

// wrapGroup returns segment 1 with these entries as its one group.
func wrapGroup(entries []byte) []byte {
	s := newSegment(1)
	addGroup(s, 1, 0, entries)
	return s.Data
}

// wrappedState returns the state that entries make that set no deadline and
// have no cause. It returns nil if b is empty or anything else.
func wrappedState(b []byte) map[string]string {
	var state map[string]string
	for len(b) > 0 {
		e, ok := format.DecodeEntry(b)
		switch {
		case !ok || len(e.Key) > MaxKeyBytes:
			return nil
		case state == nil:
			state = map[string]string{}
		}
		switch {
		case e.Op == format.OpSet:
			state[string(e.Key)] = string(e.Value)
		case e.Op == format.OpDelete && len(e.Value) == 0:
			delete(state, string(e.Key))
		case e.Op == format.OpExpire && string(e.Value) == "\x00\x00\x00\x00\x00\x00\x00\x00":
		default:
			return nil
		}
		b = b[e.Size():]
	}
	return state
}

func FuzzSnapshot(f *testing.F) {
	pairs := format.AppendPair(nil, format.Pair{Key: []byte("city"), Value: []byte("Oslo")})
	pairs = format.AppendPair(pairs, format.Pair{Key: []byte("note")})
	whole := wrapPairs(pairs, 2, 2)
	for _, whole := range [][]byte{whole, twoBlocks(0), twoBlocks(1)} {
		if repaired := repairSnapshot(whole); !bytes.Equal(repaired, whole) {
			f.Fatal("repairSnapshot breaks a whole snapshot")
		}
	}
	for mode := byte(0); mode < fuzzModes; mode++ {
		f.Add(mode, uint32(2), uint32(2), whole)
		f.Add(mode, uint32(2), uint32(2), twoBlocks(0))
		f.Add(mode, uint32(2), uint32(2), twoBlocks(math.MaxInt64))
		f.Add(mode, uint32(2), uint32(2), twoBlocks(1))
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
		judge(t, map[string][]byte{format.SnapshotName(1): data})
	})
}

// wrapPairs returns snapshot 1 with these bytes as its one block.
func wrapPairs(body []byte, count, blockPairs uint32) []byte {
	info := &format.Snapshot{Timestamp: 1, Count: count, ID: someID, Number: 1, LastGroup: 1}
	if len(body) > 0 {
		checksum := crc32.Checksum(body, castagnoli)
		info.Blocks = []format.Block{{Offset: headerBytes, Pairs: blockPairs, Checksum: checksum}}
	}
	return format.AppendSnapshotTail(append(format.AppendSnapshotHeader(nil, info), body...), info)
}

// twoBlocks returns a snapshot of two blocks, each of one pair. The second one
// has this deadline.
func twoBlocks(deadline int64) []byte {
	one := format.AppendPair(nil, format.Pair{Key: []byte("city"), Value: []byte("Oslo")})
	two := format.AppendPair(nil, format.Pair{Key: []byte("note")})
	info := &format.Snapshot{Timestamp: 1, Count: 2, ID: someID, Number: 1, LastGroup: 1, Blocks: []format.Block{
		{Offset: headerBytes, Pairs: 1, Checksum: crc32.Checksum(one, castagnoli)},
		{Offset: headerBytes + uint64(len(one)), Pairs: 1, Checksum: crc32.Checksum(two, castagnoli)},
	}}
	b := slices.Concat(format.AppendSnapshotHeader(nil, info), one, two)
	if deadline != 0 {
		entry := binary.BigEndian.AppendUint64([]byte{0, 0, 0, 1}, uint64(deadline))
		info.Deadlines = []format.DeadlineBlock{
			{Offset: uint64(len(b)), First: 1, Entries: 1, Checksum: crc32.Checksum(entry, castagnoli)},
		}
		b = append(b, entry...)
	}
	return format.AppendSnapshotTail(b, info)
}

// repairSnapshot returns data with right checksums of the blocks, the header,
// and the trailer that its footer points to.
func repairSnapshot(data []byte) []byte {
	data = bytes.Clone(data)
	footerAt := len(data) - footerBytes
	if footerAt < headerBytes+trailerBytes {
		return data
	}
	n := binary.BigEndian.Uint64(data[footerAt+4:])
	if n < trailerBytes || n > uint64(footerAt-headerBytes) {
		return data
	}
	trailerAt := footerAt - int(n)
	trailer := data[trailerAt:footerAt]
	binary.BigEndian.PutUint32(trailer, crc32.Checksum(data[:headerBytes], castagnoli))
	end, pairs := uint64(trailerAt), trailer[trailerBytes:]
	// seal goes backwards through the entries of blocks, in which the checksum
	// is last.
	seal := func(entries []byte, size int) {
		for at := len(entries) - size; at >= 0; at -= size {
			if offset := binary.BigEndian.Uint64(entries[at:]); offset < end {
				binary.BigEndian.PutUint32(entries[at+size-4:], crc32.Checksum(data[offset:end], castagnoli))
				end = offset
			}
		}
	}
	blocks := uint64(binary.BigEndian.Uint32(trailer[36:])) * blockBytes
	if version := binary.BigEndian.Uint32(data[footerAt:]); version == 2 && blocks+4 <= uint64(len(pairs)) {
		seal(pairs[blocks+4:], deadlineBlockBytes)
		pairs = pairs[:blocks]
	}
	seal(pairs[:len(pairs)/blockBytes*blockBytes], blockBytes)
	return format.Seal(data, trailerAt, 0)
}
