package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// readSnapshot reads and verifies a snapshot file with these bytes.
func readSnapshot(data []byte, number uint64) (map[string]string, *Snapshot, error) {
	r, err := ReadSnapshot(bytes.NewReader(data), int64(len(data)), SnapshotName(number))
	if err != nil {
		return nil, nil, err
	}
	state := map[string]string{}
	err = r.CheckNumber(number)
	var buf []byte
	for i := range r.Info.Blocks {
		var blockErr error
		buf, blockErr = r.ReadBlock(i, buf, func(p Pair) { state[string(p.Key)] = string(p.Value) })
		err = errors.Join(err, blockErr)
	}
	return state, r.Info, errors.Join(err, r.CheckKeys(len(state)))
}

func TestSnapshotRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.MapOfN(rapid.StringN(0, 20, 40), rapid.StringN(0, 50, 100), 0, 50).Draw(rt, "pairs")
		info := &Snapshot{
			Timestamp: rapid.Int64().Draw(rt, "timestamp"), Count: uint32(len(want)),
			Number:    rapid.Uint64Range(1, maxNumber).Draw(rt, "number"),
			LastGroup: rapid.Uint64().Draw(rt, "last group"),
		}
		copy(info.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "id"))
		var b bytes.Buffer
		if n, err := EncodeSnapshot(&b, info, stringPairs(want)); err != nil || n != int64(b.Len()) {
			rt.Fatalf("%d of %d bytes, %v", n, b.Len(), err)
		}
		got, read, err := readSnapshot(b.Bytes(), info.Number)
		if err != nil || !reflect.DeepEqual(read, info) {
			rt.Fatalf("%+v, %v, want %+v", read, err, info)
		}
		if !maps.Equal(got, want) {
			rt.Fatalf("%q, want %q", got, want)
		}
	})
}

func stringPairs(m map[string]string) iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		for key, value := range m {
			if !yield(Pair{Key: []byte(key), Value: []byte(value)}) {
				return
			}
		}
	}
}

func TestSnapshotBlocksCloseAtTheTarget(t *testing.T) {
	const room = blockTarget - pairOverhead - 1 // the value that fills a block with a key of one byte
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
			info := &Snapshot{Number: 1, Count: uint32(len(row.values))}
			var b bytes.Buffer
			_, err := EncodeSnapshot(&b, info, func(yield func(Pair) bool) {
				for i, n := range row.values {
					key, value := string(rune('a'+i)), bytes.Repeat([]byte{byte(i)}, n)
					if want[key] = string(value); !yield(Pair{Key: []byte(key), Value: value}) {
						return
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			var pairs []uint32
			for _, block := range info.Blocks {
				pairs = append(pairs, block.Pairs)
			}
			state, _, err := readSnapshot(b.Bytes(), 1)
			if err != nil || !maps.Equal(state, want) || !slices.Equal(pairs, row.pairs) {
				t.Fatalf("%d pairs loaded, %v, blocks of %d pairs, want %d", len(state), err, pairs, row.pairs)
			}
		})
	}
}

// goldenSnapshotBytes returns the golden snapshot after a change of its
// content, with all checksums valid.
func goldenSnapshotBytes(t testing.TB, body []byte, change func(info *Snapshot)) []byte {
	t.Helper()
	info := goldenInfo()
	if body == nil {
		body = unhex(t, goldenPairHex+goldenEmptyPairHex)
	}
	info.Blocks[0].Checksum = crc32.Checksum(body, castagnoli)
	change(info)
	return AppendSnapshotTail(append(AppendSnapshotHeader(nil, info), body...), info)
}

// repairTail makes the checksum of a snapshot's trailer and footer valid.
func repairTail(b []byte, trailerBytes int) []byte {
	return Seal(b, len(b)-footerBytes-trailerBytes, 0)
}

// Every checksum in the rows is valid, except in rows about checksums. Refusing
// a file never costs much memory (P11).
func TestSnapshotDefectsAreRefused(t *testing.T) {
	const trailer = trailerBytes + blockBytes
	whole := func() []byte { return goldenSnapshotBytes(t, nil, func(*Snapshot) {}) }
	change := func(f func(info *Snapshot)) []byte { return goldenSnapshotBytes(t, nil, f) }
	trailerAt := len(whole()) - footerBytes - trailer
	edit := func(at int, value ...byte) []byte {
		b := whole()
		copy(b[at:], value)
		return repairTail(b, trailer)
	}
	block := func(i *Snapshot) *Block { return &i.Blocks[0] }
	footer := func(trailerBytes byte) []byte {
		return append([]byte{0, 0, 0, 1}, 0, 0, 0, 0, 0, 0, 0, trailerBytes, 0, 0, 0, 0)
	}
	longKey := func(n uint32) []byte { return append(binary.BigEndian.AppendUint32(nil, n), make([]byte, 24)...) }
	gap := func(f func(info *Snapshot)) []byte {
		return goldenSnapshotBytes(t, unhex(t, "00"+goldenPairHex+goldenEmptyPairHex), f)
	}
	rows := []struct {
		name  string
		bytes []byte
		want  verdict
	}{
		{"none", whole(), intact},
		{"nothing", nil, damaged},
		{"31 bytes", make([]byte, 31), damaged},
		{"32 zeros", make([]byte, 32), damaged},
		{"zeros", make([]byte, 4096), damaged},
		{"header and pairs alone", whole()[:trailerAt], damaged},
		{"a byte after the footer", append(whole(), 0), damaged},
		{"a byte before the header", append([]byte{0}, whole()...), damaged},
		{"a byte between pairs and trailer", slices.Insert(whole(), trailerAt, 0), damaged},
		{"another magic", func() []byte {
			b := edit(0, []byte("KVLG")...)
			binary.BigEndian.PutUint32(b[trailerAt:], crc32.Checksum(b[:16], castagnoli))
			return repairTail(b, trailer)
		}(), damaged},
		{"another timestamp than in the trailer", edit(4, 1), damaged},
		{"another number", change(func(i *Snapshot) { i.Number++ }), damaged},
		{"version 2 without deadlines", edit(trailerAt+trailer, 0, 0, 0, 2), damaged},
		{"a later version", edit(trailerAt+trailer, 0, 0, 0, 3), later},
		{"the latest version", edit(trailerAt+trailer, 255, 255, 255, 255), later},
		{"a later version with a wrong checksum", func() []byte {
			b := whole()
			b[trailerAt+trailer+3] = 3
			return b
		}(), damaged},
		{"one pair more announced", change(func(i *Snapshot) { i.Count = 3 }), damaged},
		{"one pair less announced", change(func(i *Snapshot) { i.Count = 1 }), damaged},
		{"2³² − 1 pairs announced", change(func(i *Snapshot) { i.Count = math.MaxUint32 }), damaged},
		{"2³² − 1 pairs in the block too", change(func(i *Snapshot) {
			i.Count, block(i).Pairs = math.MaxUint32, math.MaxUint32
		}), damaged},
		{"one pair more in the block too", change(func(i *Snapshot) { i.Count, block(i).Pairs = 3, 3 }), damaged},
		{"one pair less in the block too", change(func(i *Snapshot) { i.Count, block(i).Pairs = 1, 1 }), damaged},
		{"no block", change(func(i *Snapshot) { i.Blocks = nil }), damaged},
		{"a block too many in their number", edit(trailerAt+36, 0, 0, 0, 2), damaged},
		{"2³² − 1 blocks", edit(trailerAt+36, 255, 255, 255, 255), damaged},
		{"the first block begins in the header", change(func(i *Snapshot) { block(i).Offset = 15 }), damaged},
		{"the first block leaves a gap", gap(func(i *Snapshot) {
			*block(i) = goldenInfo().Blocks[0]
			block(i).Offset = 17
		}), damaged},
		{"bytes in no block", goldenSnapshotBytes(t, []byte("x"), func(i *Snapshot) {
			i.Count, i.Blocks = 0, nil
		}), damaged},
		{"a block at 2⁶⁴ − 1", change(func(i *Snapshot) { block(i).Offset = math.MaxUint64 }), damaged},
		{"an empty block", change(func(i *Snapshot) {
			i.Blocks = append(i.Blocks, Block{Offset: uint64(trailerAt)})
		}), damaged},
		{"an empty first block", change(func(i *Snapshot) {
			i.Blocks = slices.Insert(i.Blocks, 0, Block{Offset: 16})
		}), damaged},
		{"a block twice", change(func(i *Snapshot) { i.Blocks = append(i.Blocks, i.Blocks[0]) }), damaged},
		{"a block after the trailer", change(func(i *Snapshot) {
			i.Blocks = append(i.Blocks, Block{Offset: uint64(trailerAt) + 8})
		}), damaged},
		{"a wrong block checksum", change(func(i *Snapshot) { block(i).Checksum++ }), damaged},
		{"a trailer of no length", repairTail(append(whole(), footer(0)...), 0), damaged},
		{
			"a trailer that ends before its number of blocks",
			repairTail(slices.Concat(whole()[:trailerAt+4], make([]byte, 20), footer(24)), 24), damaged,
		},
		{"a trailer that ends in half a block", func() []byte {
			b := append(whole()[:trailerAt+trailer], make([]byte, 8)...)
			return repairTail(append(b, footer(trailer+8)...), trailer+8)
		}(), damaged},
		{"a trailer longer than the file", edit(trailerAt+trailer+4, 0, 0, 0, 0, 0, 0, 1, 0), damaged},
		{"a trailer of 2⁶⁴ − 1 bytes", edit(trailerAt+trailer+4, bytes.Repeat([]byte{255}, 8)...), damaged},
		{"a key twice", goldenSnapshotBytes(t, unhex(t, goldenPairHex+goldenPairHex), func(*Snapshot) {}), damaged},
		{"a pair that leaves its block", goldenSnapshotBytes(t, longKey(25), func(*Snapshot) {}), damaged},
		{"a key of 2³² − 1 bytes", goldenSnapshotBytes(t, longKey(math.MaxUint32), func(*Snapshot) {}), damaged},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var err error
			took := allocated(func() { _, _, err = readSnapshot(row.bytes, goldenSnapshot) })
			if got := verdictOn(err); got != row.want {
				t.Fatalf("%s, %v; want %s", got, err, row.want)
			}
			if took > 1<<20 {
				t.Fatalf("allocated %d bytes for a file of %d", took, len(row.bytes))
			}
		})
	}
}
