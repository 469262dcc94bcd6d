package kvstore

// Directories whose checksums are right and whose content is not: only a faulty or a later writer makes them (P6, P8, P11).

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

func TestP8SealedNonsenseIsRefused(t *testing.T) {
	rows := []struct {
		name  string
		files func() map[string][]byte
		want  string
	}{
		{"op 0x00 in a group", func() map[string][]byte {
			s := newSegment(1)
			addGroup(s, 1, 0, format.AppendEntry(nil, 0x00, 1, "k", "v"))
			return map[string][]byte{format.SegmentName(1): s.Data}
		}, laterVersion},
		{"snapshot of version 0", func() map[string][]byte {
			b := wrapPairs(format.AppendPair(nil, "k", nil), 1, 1)
			footerAt := len(b) - footerBytes
			binary.BigEndian.PutUint32(b[footerAt:], 0)
			return map[string][]byte{format.SnapshotName(1): format.Seal(b, footerAt-blockBytes-trailerBytes, 0)}
		}, corrupt},
		{"snapshot with a key over the limit", func() map[string][]byte {
			return map[string][]byte{format.SnapshotName(1): wrapPairs(format.AppendPair(nil, string(make([]byte, MaxKeyBytes+1)), nil), 1, 1)}
		}, corrupt},
		{"segment of a store whose id is zeros, and one of another", func() map[string][]byte {
			first := &format.Segment{Number: 1, Data: format.AppendHeader(nil, 1, format.Header{Version: 1, Number: 1})}
			addEnd(first, 0, 0)
			return map[string][]byte{format.SegmentName(1): first.Data, format.SegmentName(2): newSegment(2).Data}
		}, corrupt},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if verdict, state := judge(t, row.files()); verdict != row.want {
				t.Fatalf("%s, %q; want %s", verdict, state, row.want)
			}
		})
	}
}

// Of several damaged blocks the first one is named, whichever worker comes first.
func TestSnapshotNamesItsFirstDamage(t *testing.T) {
	const blocks = 8
	info := &format.Snapshot{Timestamp: 1, ID: someID, Number: 1, Count: blocks * 2, LastGroup: 1}
	var file bytes.Buffer
	_, err := format.EncodeSnapshot(&file, info, func(yield func(string, []byte) bool) {
		for i := range blocks * 2 {
			if !yield(fmt.Sprint(i), make([]byte, 1<<19)) {
				return
			}
		}
	})
	if err != nil || len(info.Blocks) != blocks {
		t.Fatalf("%d blocks, %v", len(info.Blocks), err)
	}
	b := file.Bytes()
	for _, block := range info.Blocks[3:] {
		b[block.Offset+100] ^= 1
	}
	m, dir := damagedDir(t)
	if err := m.WriteFile("/db/"+format.SnapshotName(1), b); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		_, err := loadSnapshot(dir, 1)
		if damage, ok := errors.AsType[*CorruptError](err); !ok || damage.Offset != int64(info.Blocks[3].Offset) {
			t.Fatalf("%v, want damage at offset %d", err, info.Blocks[3].Offset)
		}
	}
}

// Blocks large and small, read one after the other into the same memory: every pair is there afterwards, and is itself.
func TestSnapshotBlocksShareTheirRoom(t *testing.T) {
	const pairs = 400
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	want := map[string]string{}
	m, dir := damagedDir(t)
	info := &format.Snapshot{Timestamp: 1, ID: someID, Number: 1, Count: pairs, LastGroup: 1}
	var file bytes.Buffer
	_, err := format.EncodeSnapshot(&file, info, func(yield func(string, []byte) bool) {
		for i := range pairs {
			size := random.IntN(100)
			if i%10 == 0 {
				size = random.IntN(1 << 20)
			}
			key, value := fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, size)
			want[key] = string(value)
			if !yield(key, value) {
				return
			}
		}
	})
	if err = errors.Join(err, m.WriteFile("/db/"+format.SnapshotName(1), file.Bytes())); err != nil || len(info.Blocks) < 8 {
		t.Fatalf("%d blocks, %v", len(info.Blocks), err)
	}
	loaded, err := loadSnapshot(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.table.Release()
	got := map[string]string{}
	for key, value := range loaded.table.All() {
		got[key] = string(value)
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d keys of %d, or other values", len(got), len(want))
	}
}

func damagedDir(t *testing.T) (*vfs.Mem, vfs.Dir) {
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

// Judging a segment reads each of its bytes once, whatever is in it.
func TestP11JudgingReadsEachByteOnce(t *testing.T) {
	data := append(newSegment(1).Data, bytes.Repeat([]byte("KVLG\x01"), 100_000)...)
	m, dir := damagedDir(t)
	if err := m.WriteFile("/db/"+format.SegmentName(1), data); err != nil {
		t.Fatal(err)
	}
	read := 0
	m.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpRead {
			read += op.Bytes
		}
		return nil
	})
	r := &recovery{dir: dir}
	if err := r.replaySegment(1, 0); err != nil {
		t.Fatal(err)
	}
	if read != len(data) {
		t.Errorf("%d bytes read of a file of %d", read, len(data))
	}
}
