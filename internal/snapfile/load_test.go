package snapfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"

	"kvstore/internal/format"
	"kvstore/internal/snapfile"
	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

var someID = format.StoreID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// Of several damaged blocks the error names the first one, whichever worker
// comes first.
func TestSnapshotNamesItsFirstDamage(t *testing.T) {
	const blocks = 8
	info := &format.Snapshot{Timestamp: 1, ID: someID, Number: 1, Count: blocks * 2, LastGroup: 1}
	var file bytes.Buffer
	_, err := format.EncodeSnapshot(&file, info, func(yield func(format.Pair) bool) {
		for i := range blocks * 2 {
			if !yield(format.Pair{Key: fmt.Append(nil, i), Value: make([]byte, 1<<19)}) {
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
		_, _, err := snapfile.Load(dir, 1)
		if damage, ok := errors.AsType[*format.Damage](err); !ok || damage.Offset != int64(info.Blocks[3].Offset) {
			t.Fatalf("%v, want damage at offset %d", err, info.Blocks[3].Offset)
		}
	}
}

// Large and small blocks are read into the same memory, one after the other.
// Every pair is there afterwards with its own value.
func TestSnapshotBlocksShareTheirRoom(t *testing.T) {
	const pairs = 400
	random := testseed.Rand(t)
	want := map[string]string{}
	m, dir := damagedDir(t)
	info := &format.Snapshot{Timestamp: 1, ID: someID, Number: 1, Count: pairs, LastGroup: 1}
	var file bytes.Buffer
	_, err := format.EncodeSnapshot(&file, info, func(yield func(format.Pair) bool) {
		for i := range pairs {
			size := random.IntN(100)
			if i%10 == 0 {
				size = random.IntN(1 << 20)
			}

			key, value := fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, size)
			want[key] = string(value)
			if !yield(format.Pair{Key: []byte(key), Value: value}) {
				return
			}
		}
	})
	if err = errors.Join(err, m.WriteFile("/db/"+format.SnapshotName(1), file.Bytes())); err != nil ||
		len(info.Blocks) < 8 {
		t.Fatalf("%d blocks, %v", len(info.Blocks), err)
	}
	_, loaded, err := snapfile.Load(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Release()
	got := map[string]string{}
	for p := range loaded.All() {
		got[string(p.Key)] = string(p.Value)
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d keys of %d, or other values", len(got), len(want))
	}
}

// Blocks that are much larger than others share memory that only one of them
// has at a time.
func TestLargeBlocksTakeTurns(t *testing.T) {
	const pairs = 6
	info := &format.Snapshot{Timestamp: 1, ID: someID, Number: 1, Count: pairs, LastGroup: 1}
	var file bytes.Buffer
	_, err := format.EncodeSnapshot(&file, info, func(yield func(format.Pair) bool) {
		for i := range pairs {
			if !yield(format.Pair{Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte{byte(i)}, 3<<20)}) {
				return
			}
		}
	})
	m, dir := damagedDir(t)
	if err = errors.Join(err, m.WriteFile("/db/"+format.SnapshotName(1), file.Bytes())); err != nil {
		t.Fatal(err)
	}
	_, loaded, err := snapfile.Load(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Release()
	for p := range loaded.All() {
		var i byte
		if _, err := fmt.Sscan(string(p.Key), &i); err != nil || !bytes.Equal(p.Value, bytes.Repeat([]byte{i}, 3<<20)) {
			t.Errorf("key %q has another value, %v", p.Key, err)
		}
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
