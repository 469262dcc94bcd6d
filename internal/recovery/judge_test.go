package recovery

import (
	"bytes"
	"testing"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// Judging a segment reads each of its bytes once, whatever it holds.
func TestP11JudgingReadsEachByteOnce(t *testing.T) {
	header := format.Header{Version: format.Version, ID: format.StoreID{1}, Number: 1}
	data := append(format.AppendHeader(nil, 1, header), bytes.Repeat([]byte("KVLG\x01"), 100_000)...)
	m := vfs.NewMem(nil)
	if err := m.Mkdir("/db"); err != nil {
		t.Fatal(err)
	}
	dir, err := m.OpenDir("/db")
	if err != nil {
		t.Fatal(err)
	}
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
	j := &judge{dir: dir}
	if err := j.segment(1, 0); err != nil {
		t.Fatal(err)
	}
	if read != len(data) {
		t.Errorf("%d bytes read of a file of %d", read, len(data))
	}
}
