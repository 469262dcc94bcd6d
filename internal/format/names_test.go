package format

import (
	"math"
	"testing"
)

func TestFileNames(t *testing.T) {
	for number, digits := range map[uint64]string{
		1: "00000000000000000001", 1234567890: "00000000001234567890", math.MaxUint64: "18446744073709551615",
	} {
		if got := SegmentName(number); got != "wal-"+digits+".log" {
			t.Error(got)
		}
		if got := SnapshotName(number); got != "snapshot-"+digits+".kvs" {
			t.Error(got)
		}
		if got := fileNumber(SegmentName(number), segmentPrefix, segmentSuffix); got != number {
			t.Error(got)
		}
	}
	got, err := Sort([]string{
		"LOCK", "wal-1.log", "wal-00000000000000000000.log", "wal-000000000000000000001.log",
		"wal-0000000000000000001.log",
		"wal-+0000000000000000001.log", "wal-0000000000000000_001.log", "wal-0x000000000000000001.log",
		"wal-99999999999999999999.log",
		"WAL-00000000000000000001.log", "wal-00000000000000000001.log.bak", "wal-00000000000000000001.kvs",
		"wal-00000000000000000001.log ",
		"wal-.log", "wal-.tmp", "x.tmp", "snapshot-00000000000000000001.log", "snapshot-00000000000000000000.kvs.tmp",
	})
	if err != nil || len(got.Segments)+len(got.Snapshots)+len(got.Temporary) > 0 {
		t.Errorf("names of other files are accepted: %+v, %v", got, err)
	}
}
