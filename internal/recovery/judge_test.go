package recovery

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"kvstore/internal/format"
	"kvstore/internal/table"
	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

// rig is a directory with one segment.
type rig struct {
	t    *testing.T
	fs   *vfs.Mem
	dir  vfs.Dir
	read int // bytes read so far
}

func newRig(t *testing.T, segment []byte) *rig {
	t.Helper()
	r := &rig{t: t, fs: vfs.NewMem(nil)}
	err := r.fs.Mkdir("/db")
	if err == nil {
		r.dir, err = r.fs.OpenDir("/db")
	}
	if err == nil {
		err = r.fs.WriteFile("/db/"+format.SegmentName(1), segment)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.fs.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpRead {
			r.read += op.Bytes
		}
		return nil
	})
	return r
}

// judge returns a judge that reads pieces of this size.
func (r *rig) judge(pieceBytes int) *judge {
	j := &judge{dir: r.dir, replay: replay{pieceBytes: pieceBytes, table: table.New(0)}}
	r.t.Cleanup(func() {
		j.replay.release()
		j.replay.table.Release()
	})
	return j
}

// segmentOf returns the SEGMENT entry of segment 1 and groups, each of entries
// that set a new key to a value of valueBytes.
func segmentOf(groups, entries, valueBytes int) []byte {
	s := format.Segment{ID: format.StoreID{1}, Number: 1}
	s.Data = format.AppendHeader(nil, 1, format.Header{Version: format.Version, ID: s.ID, Number: 1})
	value := bytes.Repeat([]byte("v"), valueBytes)
	for group := range groups {
		at := len(s.Data)
		for i := range entries {
			s.Data = format.AppendEntry(s.Data, format.OpSet, int64(group+1), fmt.Sprint(group, " ", i), value)
		}
		s.Data = format.AppendCommit(s.Data, at, int64(group+1), uint64(group+1), uint64(group), s.Seed(at))
	}
	return s.Data
}

// P11: judging a segment reads each of its bytes once, whatever it holds, and
// as often as that again if a group or a torn tail is larger than a piece.
func TestP11JudgingReadsEachByteOnce(t *testing.T) {
	const piece = 4096
	header := segmentOf(0, 0, 0)
	garbage := bytes.Repeat([]byte("KVLG\x01"), 100_000)
	for _, row := range []struct {
		name    string
		segment []byte
		times   int // that a byte is read, at most
	}{
		{"nothing", header, 1},
		{"garbage", append(slices.Clip(header), garbage...), 1},
		{"reserved space", append(slices.Clip(header), make([]byte, 1<<20)...), 1},
		{"small groups", segmentOf(1000, 3, 100), 1},
		{"groups as large as a piece", segmentOf(100, 10, 350), 1},
		{"a group larger than a piece", segmentOf(1, 1000, 100), 2},
		{"an entry larger than a piece", segmentOf(1, 1, 1<<20), 2},
		{"a torn group larger than a piece", segmentOf(1, 1000, 100)[:100_000], 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, row.segment)
			if err := r.judge(piece).segment(1, true); err != nil {
				t.Fatal(err)
			}
			if most := row.times*len(row.segment) + 2*piece; r.read > most || r.read < len(row.segment) {
				t.Errorf("%d bytes read of a file of %d, at most %d are right", r.read, len(row.segment), most)
			}
		})
	}
}

// However large a segment and its groups are, replay has two pieces in memory,
// and the largest entry.
func TestReplayHasTwoPiecesInMemory(t *testing.T) {
	const piece = 4096
	for _, segment := range [][]byte{segmentOf(1000, 3, 100), segmentOf(1, 10_000, 100), segmentOf(3, 1, 3<<20)} {
		r := newRig(t, segment)
		j := r.judge(piece)
		if err := j.segment(1, true); err != nil {
			t.Fatal(err)
		}
		p := &j.replay
		if cap(p.piece) > piece || cap(p.other) > piece || cap(p.ops) > piece/format.EntryOverhead*2 {
			t.Errorf("pieces of %d and %d bytes, %d operations", cap(p.piece), cap(p.other), cap(p.ops))
		}
	}
}

// P2: groups of any size, in pieces of any size, are applied whole and in their
// order. Pieces may end between a SET and its EXPIRE.
func TestReplayInPieces(t *testing.T) {
	random := testseed.Rand(t)
	for range 200 {
		s := format.Segment{ID: format.StoreID{1}, Number: 1, Data: segmentOf(0, 0, 0)}
		want := map[string]dated{}
		for group := range uint64(1 + random.IntN(10)) {
			at := len(s.Data)
			for range 1 + random.IntN(20) {
				s.Data = appendWrite(s.Data, random, byte('a'+group), want)
			}
			s.Data = format.AppendCommit(s.Data, at, 1, group+1, group, s.Seed(at))
		}
		r := newRig(t, s.Data)
		j := r.judge(64 + random.IntN(2000))
		if err := j.segment(1, true); err != nil {
			t.Fatal(err)
		}
		j.replay.finish()
		got := map[string]dated{}
		for p := range j.replay.table.All() {
			got[string(p.Key)] = dated{string(p.Value), p.Deadline}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("pieces of %d bytes: %v, want %v", j.replay.pieceBytes, got, want)
		}
	}
}

// dated is a value with its deadline.
type dated struct {
	value    string
	deadline int64
}

// appendWrite appends the entries of a write to dst, and makes it in state. b
// is the bytes of its value.
func appendWrite(dst []byte, random *rand.Rand, b byte, state map[string]dated) []byte {
	key, deadline := fmt.Sprint(random.IntN(20)), random.Int64N(3)-1
	value := bytes.Repeat([]byte{b}, random.IntN(300))
	until := format.ExpireValue(deadline)
	old, isThere := state[key]
	switch random.IntN(4) {
	case 0:
		state[key] = dated{string(value), 0}
		return format.AppendEntry(dst, format.OpSet, 1, key, value)
	case 1:
		state[key] = dated{string(value), deadline}
		dst = format.AppendEntry(dst, format.OpSet, 1, key, value)
	case 2:
		delete(state, key)
		return format.AppendEntry(dst, format.OpDelete, 1, key, "")
	default:
		if isThere {
			state[key] = dated{old.value, deadline}
		}
	}
	return format.AppendEntry(dst, format.OpExpire, 1, key, until[:])
}

// P3: what is copied are the bytes that were judged. If a second reading finds
// other bytes, at any place, the file stays as it is.
func TestP3CopyIsWhatWasJudged(t *testing.T) {
	segment := segmentOf(5, 3, 300)
	for at := 0; at < len(segment); at += 17 {
		r := newRig(t, segment)
		j := r.judge(1024)
		if err := j.segment(1, true); err != nil {
			t.Fatal(err)
		}
		j.replay.finish()
		changed := slices.Clone(segment)
		changed[at] ^= 1
		if err := r.fs.WriteFile("/db/"+format.SegmentName(1), changed); err != nil {
			t.Fatal(err)
		}
		err := replaceUnproven(j)
		if _, ok := errors.AsType[*format.Changed](err); !ok {
			t.Fatalf("byte %d has changed: %v", at, err)
		}
		left, _ := r.fs.ReadFile("/db/" + format.SegmentName(1))
		if names := r.fs.Names("/db"); len(names) != 1 || !bytes.Equal(left, changed) {
			t.Fatalf("byte %d has changed: files %q, the segment was replaced", at, names)
		}
	}
}
