package format

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"maps"
	"testing"
)

// guess returns the pairs of the blocks that have valid checksums.
func guess(t *testing.T, data []byte) map[string]string {
	t.Helper()
	r, ok, err := GuessSnapshot(bytes.NewReader(data), int64(len(data)), "")
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]string{}
	if !ok {
		return state
	}
	for i := range r.Info.Blocks {
		block := map[string]string{}
		if _, err := r.ReadBlock(i, nil, func(p Pair) { block[string(p.Key)] = string(p.Value) }); err == nil {
			maps.Copy(state, block)
		}
	}
	return state
}

// If one byte of a snapshot is damaged, only the block is lost that contains
// the byte or has its checksum there. Damage to a block's offset loses the
// block before it too. GuessSnapshot takes no other bytes for a block, and no
// length makes it allocate much memory (P11).
func TestGuessSnapshot(t *testing.T) {
	const blocks = 4
	info := &Snapshot{Count: blocks, ID: goldenID, Number: 1}
	data := AppendSnapshotHeader(nil, info)
	want := map[string]string{}
	for i := range blocks {
		pair := AppendPair(nil, Pair{Key: fmt.Append(nil, "key", i), Value: []byte("value")})
		checksum := crc32.Checksum(pair, castagnoli)
		info.Blocks = append(info.Blocks, Block{Offset: uint64(len(data)), Pairs: 1, Checksum: checksum})
		data = append(data, pair...)
		want[fmt.Sprint("key", i)] = "value"
	}
	trailerAt := len(data)
	data = AppendSnapshotTail(data, info)
	if got := guess(t, data); !maps.Equal(got, want) {
		t.Fatalf("%v", got)
	}
	for at := range data {
		for _, flip := range []byte{1, 0x80, 0xff} {
			b := bytes.Clone(data)
			b[at] ^= flip
			lost := 0
			switch {
			case at >= SnapshotHeaderBytes && at < trailerAt:
				lost = 1
			case at >= trailerAt+trailerBytes && at < len(data)-footerBytes:
				lost = 2
			case at >= trailerAt+36 && at < trailerAt+trailerBytes:
				lost = blocks // fewer blocks are read
			}
			var got map[string]string
			if took := allocated(func() { got = guess(t, b) }); took > 4*blockTarget {
				t.Fatalf("byte %d: %d bytes allocated", at, took)
			}
			for key, value := range got {
				if want[key] != value {
					t.Fatalf("byte %d: %q is %q", at, key, value)
				}
			}
			if len(got) < blocks-lost {
				t.Fatalf("byte %d: %d of %d blocks", at, len(got), blocks)
			}
		}
	}
	for cut := range data {
		got := guess(t, data[:cut])
		whole := (cut - trailerAt - trailerBytes) / blockBytes
		if len(got) < min(whole, blocks)-1 || (whole >= blocks && len(got) < blocks) {
			t.Fatalf("cut to %d bytes: %d blocks", cut, len(got))
		}
	}
	if got := guess(t, append(bytes.Clone(data), make([]byte, 100)...)); !maps.Equal(got, want) {
		t.Fatalf("with zeros after it: %v", got)
	}
}
