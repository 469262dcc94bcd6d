package kvstore_test

// This file is about tears and damage: what recovery makes of each kind. The
// names of the rows are the specification (P2, P6, P8, P11).

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"

	"kvstore"
)

func TestP6TornTails(t *testing.T) {
	log, ends := killed(t, kvstore.Config{SyncWrites: true})
	lastStart, end := ends[recoveryKeys-2], ends[recoveryKeys-1]
	rows := []struct {
		name    string
		tear    func(b []byte) []byte
		keys    int
		dropped int64
	}{
		{"nothing torn", func(b []byte) []byte { return b }, 5, 0},
		{"file ends with the last group", func(b []byte) []byte { return b[:end] }, 5, 0},
		{"last group lacks its last byte", func(b []byte) []byte { return b[:end-1] }, 4, -1},
		{"last group's last byte that is not zero is", func(b []byte) []byte {
			b[len(bytes.TrimRight(b[:end], "\x00"))-1] = 0
			return b
		}, 4, -1},
		{"last group is zeros", func(b []byte) []byte { clear(b[lastStart:]); return b }, 4, 0},
		{"last group's first sector is lost", func(b []byte) []byte {
			clear(b[lastStart : lastStart+20])
			return b
		}, 4, -1},
		{"one bit of the last group is flipped", func(b []byte) []byte { b[lastStart+30] ^= 4; return b }, 4, -1},
		{"garbage behind the last group", func(b []byte) []byte { copy(b[end:], "garbage"); return b }, 5, 7},
		{"garbage behind the reserved space", func(b []byte) []byte { return append(b, "garbage"...) }, 5, -1},
		{"zeros behind the reserved space", func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, 5, 0},
		{"garbage that begins like an entry", func(b []byte) []byte {
			copy(b[end:], b[lastStart:lastStart+9])
			return b
		}, 5, -1}, // its last byte may be zero: it is one of a time
		{"a copy of the first group behind the last", func(b []byte) []byte {
			copy(b[end:], b[ends[0]:ends[1]])
			return b
		}, 5, -1},
		{"file ends with the SEGMENT entry", func(b []byte) []byte { return b[:53] }, 0, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := log.clone()
			d[wal1] = row.tear(d[wal1])
			dropped := row.dropped
			if dropped < 0 {
				at := lastStart
				if row.keys == recoveryKeys {
					at = end
				}
				dropped = int64(len(bytes.TrimRight(d[wal1][at:], "\x00")))
			}
			d.opens(t, row.keys, dropped)
		})
	}
}

func TestP6GarbageBehindTheLastEndIsReported(t *testing.T) {
	log, _ := killed(t, kvstore.Config{SyncWrites: true})
	fs := log.mount(t)
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	fs.Kill() // recovery has written END to the first segment
	_ = s.Close()
	d := readDirectory(fs)
	delete(d, wal2)
	d.opens(t, recoveryKeys, 0)
	end := bytes.LastIndex(d[wal1], []byte("KVLG\x12")) + 41
	d[wal1] = append(d[wal1][:end], "\x00garbage"...)
	d.opens(t, recoveryKeys, 8)
}

func TestP6EveryCutOfTheTailOpens(t *testing.T) {
	log, ends := killed(t, kvstore.Config{SyncWrites: true})
	for cut := 53; cut <= ends[recoveryKeys-1]; cut += bitStep() {
		for _, zeroed := range []bool{false, true} {
			d := log.clone()
			if zeroed {
				clear(d[wal1][cut:])
			} else {
				d[wal1] = d[wal1][:cut]
			}
			keys, at := 0, 53
			for _, end := range ends {
				// A byte that was cut may have been zero before.
				if end <= len(d[wal1]) && bytes.Equal(d[wal1][:end], log[wal1][:end]) {
					keys, at = keys+1, end
				}
			}
			d.opens(t, keys, int64(len(bytes.TrimRight(d[wal1][at:max(at, cut)], "\x00"))))
		}
	}
}

// bitStep is 1: every bit. Where tests are slow, it is some bits of each byte.
func bitStep() int {
	if slow() {
		return 11
	}
	return 1
}

func TestP6EveryBitOfTheLog(t *testing.T) {
	for _, mode := range []struct {
		name       string
		syncWrites bool
	}{{"SyncWrites", true}, {"not SyncWrites", false}} {
		t.Run(mode.name, func(t *testing.T) {
			log, ends := killed(t, kvstore.Config{SyncWrites: mode.syncWrites})
			end := ends[recoveryKeys-1]
			for bit := 0; bit < end*8; bit += bitStep() {
				d := log.clone()
				d[wal1][bit/8] ^= 1 << (bit % 8)
				group := slices.IndexFunc(ends, func(e int) bool { return bit/8 < e })
				switch {
				case bit/8 < 53, mode.syncWrites && group < recoveryKeys-1:
					// A later group knows that this one was durable.
					d.refused(t, kvstore.ErrCorrupt)
				default:
					at := 53
					if group > 0 {
						at = ends[group-1]
					}
					d.opens(t, group, int64(len(bytes.TrimRight(d[wal1][at:], "\x00"))))
				}
			}
		})
	}
}

func TestP6DamageIsRefused(t *testing.T) {
	log, ends := killed(t, kvstore.Config{SyncWrites: true})
	closed := closedDirectory(t, log)
	snapshot := slices.Sorted(maps.Keys(closed))[0]
	rotated := rotatedDirectory(t)
	other, _ := killed(t, kvstore.Config{SyncWrites: true})
	rows := []struct {
		name   string
		from   directory
		damage func(d directory)
	}{
		{"a group in the middle is zeros", log, func(d directory) { clear(d[wal1][ends[1]:ends[2]]) }},
		{"two groups have changed places", log, func(d directory) {
			a, b := bytes.Clone(d[wal1][ends[0]:ends[1]]), bytes.Clone(d[wal1][ends[1]:ends[2]])
			copy(d[wal1][ends[0]:], append(b, a...))
		}},
		{"the SEGMENT entry is zeros", log, func(d directory) { clear(d[wal1][:53]) }},
		{"the file is empty", log, func(d directory) { d[wal1] = nil }},
		{"the file ends in the SEGMENT entry", log, func(d directory) { d[wal1] = d[wal1][:52] }},
		{"a segment has another's number", log, func(d directory) { d[wal2] = d[wal1] }},
		{"the first segment is missing", rotated, func(d directory) { delete(d, wal1) }},
		{"a middle segment is missing", rotated, func(d directory) { delete(d, wal2) }},
		{"a middle segment lacks its END", rotated, func(d directory) {
			at := bytes.LastIndex(d[wal1], []byte("KVLG\x12"))
			clear(d[wal1][at:])
		}},
		{"a middle segment is cut", rotated, func(d directory) { d[wal2] = d[wal2][:100] }},
		{"a segment of another store", rotated, func(d directory) { d[wal1] = other[wal1] }},
		{"the snapshot is missing and later segments are there", afterSnapshot(t, closed), func(d directory) {
			delete(d, snapshot)
		}},
		{"the snapshot is empty", closed, func(d directory) { d[snapshot] = nil }},
		{"the snapshot lacks its last byte", closed, func(d directory) {
			d[snapshot] = d[snapshot][:len(d[snapshot])-1]
		}},
		{"garbage behind the snapshot", closed, func(d directory) { d[snapshot] = append(d[snapshot], 0) }},
		{"the snapshot has another number", closed, func(d directory) {
			d["snapshot-00000000000000000009.kvs"] = d[snapshot]
		}},
		{"the newest snapshot is damaged, an older one is whole", closed, func(d directory) {
			d["snapshot-00000000000000000001.kvs"] = d[snapshot]
			d[snapshot] = d[snapshot][:30]
		}},
		{"a snapshot of another store", afterSnapshot(t, closed), func(d directory) {
			d[snapshot] = closedDirectory(t, other)[snapshot]
		}},
		{"a number out of range", closed, func(d directory) { d["snapshot-18446744073709551615.kvs"] = d[snapshot] }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := row.from.clone()
			row.damage(d)
			d.refused(t, kvstore.ErrCorrupt)
		})
	}
}

// P6: a missing segment is noticed even if no group follows it, because the
// next segment is empty.
func TestP6GapBeforeAnEmptySegment(t *testing.T) {
	log, _ := killed(t, kvstore.Config{SyncWrites: true})
	d := reopened(t, log, func(s *kvstore.Store) { setKey(t, s, recoveryKeys) })
	d = reopened(t, d) // groups and END, a group and END, nothing
	if len(d) != 3 {
		t.Fatalf("files %q", slices.Sorted(maps.Keys(d)))
	}
	d.clone().opens(t, recoveryKeys+1, 0)
	for _, name := range []string{wal1, wal2} {
		gap := d.clone()
		delete(gap, name)
		gap.refused(t, kvstore.ErrCorrupt)
	}
	d = reopened(t, afterSnapshot(t, closedDirectory(t, log))) // a snapshot, a group and END, nothing
	delete(d, wal2)
	if len(d) != 2 || d[wal3] == nil {
		t.Fatalf("files %q", slices.Sorted(maps.Keys(d)))
	}
	d.refused(t, kvstore.ErrCorrupt)
}

func TestP6EveryBitOfTheSnapshot(t *testing.T) {
	log, _ := killed(t, kvstore.Config{SyncWrites: true})
	closed := closedDirectory(t, log)
	snapshot := slices.Sorted(maps.Keys(closed))[0]
	for bit := 0; bit < len(closed[snapshot])*8; bit += bitStep() {
		d := closed.clone()
		d[snapshot][bit/8] ^= 1 << (bit % 8)
		d.refused(t, kvstore.ErrCorrupt)
	}
}

func TestP6WhatIsNotJudged(t *testing.T) {
	log, _ := killed(t, kvstore.Config{SyncWrites: true})
	closed := closedDirectory(t, log)
	rotated := rotatedDirectory(t)
	rows := []struct {
		name string
		from directory
		keys int
		do   func(d directory)
	}{
		{"foreign names", closed, recoveryKeys, func(d directory) {
			names := []string{"notes.txt", "wal-1.log", "wal-00000000000000000001.log.bak", "snapshot-x.kvs"}
			for _, name := range names {
				d[name] = []byte("not ours")
			}
		}},
		{"segments that the snapshot covers", closed, recoveryKeys, func(d directory) {
			d[wal1] = []byte("old and damaged")
		}},
		{"a snapshot older than the newest", closed, recoveryKeys, func(d directory) {
			d["snapshot-00000000000000000001.kvs"] = []byte("old and damaged")
		}},
		{"leftovers of a crash", closed, recoveryKeys, func(d directory) { d[wal3+".tmp"] = []byte("half") }},
		{"garbage behind the END of an earlier segment", rotated, 40, func(d directory) {
			at := bytes.LastIndex(d[wal1], []byte("KVLG\x12"))
			copy(d[wal1][at+41:], "xx")
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := row.from.clone()
			row.do(d)
			fs := d.mount(t)
			s := openMem(t, fs, kvstore.Config{SyncWrites: true})
			if s.Len() != row.keys {
				t.Fatalf("%d keys, want %d", s.Len(), row.keys)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for name := range readDirectory(fs) {
				foreign := d[name] != nil && bytes.Equal(d[name], []byte("not ours"))
				if !foreign && !strings.HasPrefix(name, "snapshot-0") {
					t.Fatalf("%s is left", name)
				}
			}
		})
	}
}

// P11: lengths that are slightly wrong are refused like those that are wrong by
// gigabytes.
func TestP11LengthsNearTheRightOne(t *testing.T) {
	log, _ := killed(t, kvstore.Config{SyncWrites: true})
	for tail := range 60 {
		for keyLen := range tail + 1 {
			// An entry that ends with the file.
			d := directory{wal1: append(bytes.Clone(log[wal1][:53]), make([]byte, 17+tail)...)}
			copy(d[wal1][53:], "KVLG\x01")
			binary.BigEndian.PutUint32(d[wal1][53+13:], uint32(keyLen))
			s := openMem(t, d.mount(t), kvstore.Config{SyncWrites: true})
			wantKeys(t, s, 0)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	closed := closedDirectory(t, log)
	snapshot := slices.Sorted(maps.Keys(closed))[0]
	size := len(closed[snapshot])
	trailerAt := size - 16 - int(binary.BigEndian.Uint64(closed[snapshot][size-12:]))
	pairAt := trailerAt - (4 + len("key-0") + 4 + 8) // the last one
	for at, right := range map[int]uint32{pairAt: 5, pairAt + 9: 8} {
		for length := range uint32(40) {
			d := closed.clone()
			b := d[snapshot]
			binary.BigEndian.PutUint32(b[at:], length)
			castagnoli := crc32.MakeTable(crc32.Castagnoli)
			binary.BigEndian.PutUint32(b[trailerAt+40+12:], crc32.Checksum(b[16:trailerAt], castagnoli)) // the block's
			binary.BigEndian.PutUint32(b[size-4:], crc32.Checksum(b[trailerAt:size-4], castagnoli))
			if length == right {
				d.opens(t, recoveryKeys, 0)
			} else {
				d.refused(t, kvstore.ErrCorrupt)
			}
		}
	}
}
