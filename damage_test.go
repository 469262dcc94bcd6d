package kvstore

// Directories whose checksums are right and whose content is not: only a faulty or a later writer makes them (P6, P8, P11).

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

func TestP8SealedNonsenseIsRefused(t *testing.T) {
	rows := []struct {
		name  string
		files func() map[string][]byte
		want  string
	}{
		{"op 0x00 in a group", func() map[string][]byte {
			s := newSegment(1)
			addGroup(s, 1, 0, appendEntry(nil, 0x00, 1, "k", "v"))
			return map[string][]byte{segmentName(1): s.data}
		}, laterVersion},
		{"snapshot of version 0", func() map[string][]byte {
			b := goldenSnapshotBytes(t, nil, func(*snapshotInfo) {})
			binary.BigEndian.PutUint32(b[len(b)-16:], 0)
			return map[string][]byte{snapshotName(goldenSnapshot): repairTail(b, 56)}
		}, corrupt},
		{"snapshot with a key over the limit", func() map[string][]byte {
			return map[string][]byte{snapshotName(1): wrapPairs(appendPair(nil, string(make([]byte, MaxKeyBytes+1)), nil), 1, 1)}
		}, corrupt},
		{"segment of a store whose id is zeros, and one of another", func() map[string][]byte {
			first := &segmentBytes{number: 1, data: appendSegmentHeader(nil, 1, segmentHeader{version: 1, number: 1})}
			addEnd(first, 0, 0)
			return map[string][]byte{segmentName(1): first.data, segmentName(2): newSegment(2).data}
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
	info := &snapshotInfo{timestamp: 1, id: goldenID, number: 1, count: blocks * 2, lastGroup: 1}
	var file bytes.Buffer
	err := encodeSnapshot(&file, info, func(yield func(string, []byte) bool) {
		for i := range blocks * 2 {
			if !yield(fmt.Sprint(i), make([]byte, snapshotBlockTarget/2)) {
				return
			}
		}
	})
	if err != nil || len(info.blocks) != blocks {
		t.Fatalf("%d blocks, %v", len(info.blocks), err)
	}
	b := file.Bytes()
	for _, block := range info.blocks[3:] {
		b[block.offset+100] ^= 1
	}
	for range 20 {
		_, _, err := loadSnapshotBytes(t, 1, b)
		if damage, ok := errors.AsType[*CorruptError](err); !ok || damage.Offset != int64(info.blocks[3].offset) {
			t.Fatalf("%v, want damage at offset %d", err, info.blocks[3].offset)
		}
	}
}
