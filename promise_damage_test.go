package kvstore_test

// What recovery makes of each kind of tear and damage. The names of the rows are the specification (P2, P6, P8, P11).

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"kvstore"
	"kvstore/internal/vfs"
)

const (
	recoveryDir  = "/store"
	recoveryKeys = 5 // groups in the log that the rows damage: key-0 to key-4, one Set each
)

// directory is the bytes of a data directory, by base name.
type directory map[string][]byte

func readDirectory(fs *vfs.Mem) directory {
	d := directory{}
	for _, name := range fs.Names(recoveryDir) {
		if name != "LOCK" {
			d[name], _ = fs.ReadFile(recoveryDir + "/" + name)
		}
	}
	return d
}

// mount puts the files on a fresh disk.
func (d directory) mount(t testing.TB) *vfs.Mem {
	t.Helper()
	fs := vfs.NewMem(nil)
	if err := errors.Join(fs.Mkdir(recoveryDir), fs.SyncParent(recoveryDir)); err != nil {
		t.Fatal(err)
	}
	for name, data := range d {
		if err := fs.WriteFile(recoveryDir+"/"+name, data); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

func (d directory) clone() directory {
	c := directory{}
	for name, data := range d {
		c[name] = bytes.Clone(data)
	}
	return c
}

// killed returns what a process leaves that wrote key-0 to key-4 and was killed, and the offset behind each group.
func killed(t testing.TB, config kvstore.Config) (directory, []int) {
	t.Helper()
	fs := directory{}.mount(t)
	s := openMem(t, fs, config)
	ends := []int{}
	for i := range recoveryKeys {
		setKey(t, s, i)
		ends = append(ends, 53+int(s.Stats().WALBytes)) // behind the SEGMENT entry
	}
	fs.Kill()
	d := readDirectory(fs)
	_ = s.Close() // fails: its file system is gone
	return d, ends
}

func setKey(t testing.TB, s *kvstore.Store, i int) {
	t.Helper()
	if err := s.Set(fmt.Sprintf("key-%d", i), bytes.Repeat([]byte{byte('a' + i)}, 8)); err != nil {
		t.Fatal(err)
	}
}

func openMem(t testing.TB, fs *vfs.Mem, config kvstore.Config) *kvstore.Store {
	t.Helper()
	config.DataDir = recoveryDir
	s, err := kvstore.OpenFS(fs, config)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

// wantKeys checks that exactly the first n keys are there, whole.
func wantKeys(t testing.TB, s *kvstore.Store, n int) {
	t.Helper()
	for i := range n {
		value, ok := s.Get(fmt.Sprintf("key-%d", i))
		if !ok || !bytes.Equal(value, bytes.Repeat([]byte{byte('a' + i)}, 8)) {
			t.Fatalf("key-%d = %q, %v", i, value, ok)
		}
	}
	if s.Len() != n {
		t.Fatalf("%d keys, want %d: %q", s.Len(), n, s.Keys())
	}
}

// opens checks that the directory opens with the first n keys and reports as many dropped bytes as said, that a second
// Open finds the same, and that a ReadOnly one does too and writes nothing.
func (d directory) opens(t testing.TB, n int, dropped int64) {
	t.Helper()
	fs := d.mount(t)
	ro := openMem(t, fs, kvstore.Config{ReadOnly: true})
	wantKeys(t, ro, n)
	if err := ro.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readDirectory(fs); !maps.EqualFunc(got, d, bytes.Equal) {
		t.Fatal("a ReadOnly store has changed its files")
	}
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	wantKeys(t, s, n)
	var reported int64
	for _, drop := range s.Stats().Recovery.Dropped {
		reported += drop.Bytes
	}
	if reported != dropped {
		t.Fatalf("dropped %d bytes, want %d", reported, dropped)
	}
	fs.Kill()
	_ = s.Close() // fails: its file system is gone
	s = openMem(t, fs, kvstore.Config{SyncWrites: true})
	wantKeys(t, s, n)
	if dropped := s.Stats().Recovery.Dropped; len(dropped) > 0 {
		t.Fatalf("dropped again: %+v", dropped)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// refused checks that Open returns this error and touches nothing.
func (d directory) refused(t testing.TB, want error) {
	t.Helper()
	fs := d.mount(t)
	for _, readOnly := range []bool{false, true} {
		_, err := kvstore.OpenFS(fs, kvstore.Config{DataDir: recoveryDir, SyncWrites: true, ReadOnly: readOnly})
		if !errors.Is(err, want) {
			t.Fatalf("open: %v, want %v", err, want)
		}
		if damage, ok := errors.AsType[*kvstore.CorruptError](err); errors.Is(want, kvstore.ErrCorrupt) && (!ok || damage.File == "" || damage.Reason == "") {
			t.Fatalf("no useful CorruptError: %#v", damage)
		}
	}
	if got := readDirectory(fs); !maps.EqualFunc(got, d, bytes.Equal) {
		t.Fatal("a refused Open has changed files")
	}
}

const (
	wal1 = "wal-00000000000000000001.log"
	wal2 = "wal-00000000000000000002.log"
	wal3 = "wal-00000000000000000003.log"
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
		{"last group's last byte that is not zero is", func(b []byte) []byte { b[len(bytes.TrimRight(b[:end], "\x00"))-1] = 0; return b }, 4, -1},
		{"last group is zeros", func(b []byte) []byte { clear(b[lastStart:]); return b }, 4, 0},
		{"last group's first sector is lost", func(b []byte) []byte { clear(b[lastStart : lastStart+20]); return b }, 4, -1},
		{"one bit of the last group is flipped", func(b []byte) []byte { b[lastStart+30] ^= 4; return b }, 4, -1},
		{"garbage behind the last group", func(b []byte) []byte { copy(b[end:], "garbage"); return b }, 5, 7},
		{"garbage behind the reserved space", func(b []byte) []byte { return append(b, "garbage"...) }, 5, -1},
		{"zeros behind the reserved space", func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, 5, 0},
		{"garbage that begins like an entry", func(b []byte) []byte { copy(b[end:], b[lastStart:lastStart+9]); return b }, 5, 9},
		{"a copy of the first group behind the last", func(b []byte) []byte { copy(b[end:], b[ends[0]:ends[1]]); return b }, 5, -1},
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
				if end <= len(d[wal1]) && bytes.Equal(d[wal1][:end], log[wal1][:end]) { // a cut byte may have been zero before
					keys, at = keys+1, end
				}
			}
			d.opens(t, keys, int64(len(bytes.TrimRight(d[wal1][at:max(at, cut)], "\x00"))))
		}
	}
}

// bitStep is 1: every bit. The race detector, which is slow and learns nothing from bytes, gets some of each byte's.
func bitStep() int {
	if raceEnabled {
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
		{"the snapshot is missing and later segments are there", afterSnapshot(t, closed), func(d directory) { delete(d, snapshot) }},
		{"the snapshot is empty", closed, func(d directory) { d[snapshot] = nil }},
		{"the snapshot lacks its last byte", closed, func(d directory) { d[snapshot] = d[snapshot][:len(d[snapshot])-1] }},
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
			for _, name := range []string{"notes.txt", "wal-1.log", "wal-00000000000000000001.log.bak", "snapshot-x.kvs"} {
				d[name] = []byte("not ours")
			}
		}},
		{"segments that the snapshot covers", closed, recoveryKeys, func(d directory) { d[wal1] = []byte("old and damaged") }},
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

// closedDirectory opens the directory, closes it and returns what is left: one snapshot.
func closedDirectory(t testing.TB, d directory) directory {
	t.Helper()
	fs := d.mount(t)
	if err := openMem(t, fs, kvstore.Config{SyncWrites: true}).Close(); err != nil {
		t.Fatal(err)
	}
	closed := readDirectory(fs)
	if len(closed) != 1 {
		t.Fatalf("Close left %q", slices.Sorted(maps.Keys(closed)))
	}
	return closed
}

// afterSnapshot writes one more key to a closed directory and kills the process.
func afterSnapshot(t testing.TB, d directory) directory {
	t.Helper()
	fs := d.mount(t)
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	if err := s.Set("later", nil); err != nil {
		t.Fatal(err)
	}
	fs.Kill()
	after := readDirectory(fs)
	_ = s.Close() // fails: its file system is gone
	return after
}

// rotatedDirectory returns what a process leaves that wrote 40 keys over at least 3 segments and was killed.
func rotatedDirectory(t testing.TB) directory {
	t.Helper()
	fs := directory{}.mount(t)
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	for i := range 40 {
		if err := s.Set(fmt.Sprint(i), make([]byte, 700)); err != nil {
			t.Fatal(err)
		}
	}
	fs.Kill()
	d := readDirectory(fs)
	_ = s.Close() // fails: its file system is gone
	if d[wal3] == nil {
		t.Fatalf("too few segments: %q", slices.Sorted(maps.Keys(d)))
	}
	return d
}

// Two power cuts in a row, each with a torn tail, and an Open after a failed fsync followed by a power cut: nothing that was
// acknowledged is lost, nothing is refused (P1, P3, P6).
func TestP3RecoveryRewritesWhatOnlyTheCacheHas(t *testing.T) {
	fs := directory{}.mount(t)
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	setKey(t, s, 0)
	fs.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync {
			return errors.New("injected EIO")
		}
		return nil
	})
	if err := s.Set("key-1", bytes.Repeat([]byte("b"), 8)); !errors.Is(err, kvstore.ErrFailed) {
		t.Fatal(err)
	}
	fs.SetHook(nil)
	if err := s.Close(); !errors.Is(err, kvstore.ErrFailed) {
		t.Fatal(err)
	}
	// The failed group is in the cache, clean, and not on the disk. Whoever serves it has to write it again.
	s = openMem(t, fs, kvstore.Config{SyncWrites: true})
	wantKeys(t, s, 2)
	for round := range 2 {
		fs.PowerCut()
		_ = s.Close() // fails: its file system is gone
		s = openMem(t, fs, kvstore.Config{SyncWrites: true})
		wantKeys(t, s, 2+round)
		setKey(t, s, 2+round)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
