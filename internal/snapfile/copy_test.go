package snapfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"kvstore/internal/format"
	"kvstore/internal/snapfile"
	"kvstore/internal/testseed"
)

// encoded returns a snapshot of pairs.
func encoded(t *testing.T, id format.StoreID, number uint64, pairs []format.Pair) []byte {
	t.Helper()
	info := &format.Snapshot{Timestamp: 7, ID: id, Number: number, Count: uint32(len(pairs)), LastGroup: 9}
	var b bytes.Buffer
	if _, err := format.EncodeSnapshot(&b, info, slices.Values(pairs)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// somePairs returns pairs of two blocks. Every nth has a deadline, none if n is
// 0.
func somePairs(every int) (pairs []format.Pair) {
	for i := range 5 {
		p := format.Pair{Key: fmt.Append(nil, i), Value: make([]byte, 300_000)}
		if every > 0 && i%every == 0 {
			p.Deadline = int64(2*i - 5)
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// A copy differs from the original in id and number alone. Without deadlines it
// is a snapshot that never had any.
func TestCopy(t *testing.T) {
	ours := format.StoreID{1}
	for _, every := range []int{0, 1, 3} {
		for _, drop := range []bool{false, true} {
			original := encoded(t, someID, 3, somePairs(every))
			pairs := somePairs(every)
			if drop {
				pairs = somePairs(0)
			}
			_, dir := damagedDir(t)
			file, err := dir.Create("copy")
			if err == nil {
				err = snapfile.Copy(file, bytes.NewReader(original), ours, 8, drop)
			}
			if err != nil {
				t.Fatal(err)
			}
			size, err := file.Size()
			got := make([]byte, size)
			if _, readErr := file.ReadAt(got, 0); errors.Join(err, readErr) != nil {
				t.Fatal(err, readErr)
			}
			if want := encoded(t, ours, 8, pairs); !bytes.Equal(got, want) {
				t.Errorf("every %d, drop %v: %d bytes, want %d", every, drop, len(got), len(want))
			}
		}
	}
}

// A copy is refused if a deadline is damaged, though the deadlines are dropped:
// what is copied is whole.
func TestCopyVerifiesDeadlines(t *testing.T) {
	original := encoded(t, someID, 3, somePairs(1))
	at := bytes.LastIndex(original, []byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03")) // the last deadline
	original[at+11]++
	_, dir := damagedDir(t)
	file, err := dir.Create("copy")
	if err != nil {
		t.Fatal(err)
	}
	err = snapfile.Copy(file, bytes.NewReader(original), someID, 8, true)
	if d, ok := errors.AsType[*format.Damage](err); !ok || d.Offset != int64(at-4*12) {
		t.Errorf("%v, want damage at %d", err, at-4*12)
	}
}

// Each pair gets its own deadline, in whichever block it lies.
func TestLoadOfDeadlines(t *testing.T) {
	random := testseed.Rand(t)
	want := map[string]int64{}
	var pairs []format.Pair
	for i := range 200_000 {
		p := format.Pair{Key: fmt.Append(nil, i), Value: make([]byte, random.IntN(20))}
		if i > 10 && random.IntN(5) > 0 {
			p.Deadline = int64(i) - 1000
		}
		pairs = append(pairs, p)
		want[string(p.Key)] = p.Deadline
	}
	m, dir := damagedDir(t)
	if err := m.WriteFile("/db/"+format.SnapshotName(1), encoded(t, someID, 1, pairs)); err != nil {
		t.Fatal(err)
	}
	info, loaded, err := snapfile.Load(dir, 1)
	if err != nil || len(info.Deadlines) < 2 || len(info.Blocks) < 2 {
		t.Fatal(err)
	}
	defer loaded.Release()
	got := map[string]int64{}
	for p := range loaded.All() {
		got[string(p.Key)] = p.Deadline
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d keys of %d, or other deadlines", len(got), len(want))
	}
}

// Of several damaged places in deadlines and pairs, the error names the one
// that the first block has, whichever worker comes first.
func TestLoadNamesTheFirstDamagedDeadline(t *testing.T) {
	const pairs = 200_000
	info := &format.Snapshot{Timestamp: 1, ID: someID, Number: 1, Count: pairs, LastGroup: 1}
	var file bytes.Buffer
	_, err := format.EncodeSnapshot(&file, info, volatile(pairs))
	if err != nil || len(info.Deadlines) != 3 || len(info.Blocks) < 3 {
		t.Fatalf("%d deadline blocks, %v", len(info.Deadlines), err)
	}
	b := file.Bytes()
	b[info.Deadlines[1].Offset+3]++
	b[info.Deadlines[2].Offset+3]++
	b[info.Blocks[len(info.Blocks)-1].Offset+3]++
	m, dir := damagedDir(t)
	if err := m.WriteFile("/db/"+format.SnapshotName(1), b); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		_, _, err := snapfile.Load(dir, 1)
		if d, ok := errors.AsType[*format.Damage](err); !ok || d.Offset != int64(info.Deadlines[1].Offset) {
			t.Fatalf("%v, want damage at offset %d", err, info.Deadlines[1].Offset)
		}
	}
}

// volatile yields n pairs, each with a deadline.
func volatile(n int) iter.Seq[format.Pair] {
	return func(yield func(format.Pair) bool) {
		for i := range n {
			if !yield(format.Pair{Key: fmt.Append(nil, i), Deadline: int64(i + 1)}) {
				return
			}
		}
	}
}
