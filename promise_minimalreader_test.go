package kvstore_test

// This file has the minimal reader of docs/FORMAT.md ("A reader of two
// tables"). It shares no code with the package: it knows the layout of an
// entry, SET, DELETE, and a snapshot's header and pairs, skips other ops, and
// verifies nothing. It must read the right state from every directory that Open
// or Close has left whole (P8). It shows keys that are due, until the store has
// deleted them (P15).

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kvstore"
	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

// readMinimal returns the state in a data directory: that of the newest
// snapshot, changed by the segments from its number on.
func readMinimal(dir string) (map[string]string, error) {
	state := map[string]string{}
	// All numbers have the same length, so order by name is order by number.
	snapshots, err := filepath.Glob(filepath.Join(dir, "snapshot-*.kvs"))
	if err != nil {
		return nil, err
	}
	segments, err := filepath.Glob(filepath.Join(dir, "wal-*.log"))
	if err != nil {
		return nil, err
	}
	newest := ""
	if len(snapshots) > 0 {
		path := slices.Max(snapshots)
		newest = minimalNumber(path)
		if err := readMinimalSnapshot(path, state); err != nil {
			return nil, err
		}
	}
	slices.Sort(segments)
	for _, path := range segments {
		if minimalNumber(path) < newest {
			continue
		}
		if err := readMinimalSegment(path, state); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// minimalNumber returns the digits between the last hyphen and the last dot of
// a path.
func minimalNumber(path string) string {
	return path[strings.LastIndex(path, "-")+1 : strings.LastIndex(path, ".")]
}

// minimalBytes are bytes that were not read yet. A read beyond their end sets
// short, and every read from then on returns nothing.
type minimalBytes struct {
	rest  []byte
	short bool
}

func (b *minimalBytes) take(n uint64) []byte {
	if b.short || n > uint64(len(b.rest)) {
		b.short = true
		return nil
	}
	taken := b.rest[:n]
	b.rest = b.rest[n:]
	return taken
}

func (b *minimalBytes) u32() uint32 {
	if taken := b.take(4); taken != nil {
		return binary.BigEndian.Uint32(taken)
	}
	return 0
}

// text takes a length and that many bytes.
func (b *minimalBytes) text() string { return string(b.take(uint64(b.u32()))) }

func readMinimalSnapshot(path string, state map[string]string) error {
	data, err := os.ReadFile(path)
	if err == nil {
		err = decodeMinimalSnapshot(data, state)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func decodeMinimalSnapshot(data []byte, state map[string]string) error {
	b := minimalBytes{rest: data}
	if b.u32() != 0x4B565350 {
		return errors.New("no snapshot")
	}
	b.take(8) // timestamp
	for range b.u32() {
		key := b.text()
		state[key] = b.text()
	}
	if b.short {
		return errors.New("too short")
	}
	return nil
}

// readMinimalSegment applies entries up to the first place without one.
func readMinimalSegment(path string, state map[string]string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b := minimalBytes{rest: data}
	for b.u32() == 0x4B564C47 {
		op := b.take(1)
		b.take(8) // timestamp
		key := b.text()
		value := b.text()
		switch {
		case b.short:
			return nil
		case op[0] == 0x01:
			state[key] = value
		case op[0] == 0x02:
			delete(state, key)
		}
	}
	return nil
}

// minimalRun is a store on the real file system beside the state it should
// have.
type minimalRun struct {
	t    *testing.T
	rand *rand.Rand
	s    *kvstore.Store
	dir  string
	want map[string]string

	until map[string]time.Time // deadlines of keys in want, if they have one
	ahead time.Duration        // of the system's clock, the store's is
}

func newMinimalRun(t *testing.T) *minimalRun {
	seed := testseed.New(t)
	r := &minimalRun{t: t, rand: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), want: map[string]string{}}
	r.until = map[string]time.Time{}
	r.open()
	t.Cleanup(func() { _ = r.s.Close() }) // of a test that failed; otherwise it is closed already
	return r
}

func (r *minimalRun) open() {
	r.t.Helper()
	config, ahead := kvstore.DefaultConfig(r.dir), r.ahead
	config.Now = func() time.Time { return time.Now().Add(ahead) }
	s, err := kvstore.OpenWithConfig(config)
	if err != nil {
		r.t.Fatal(err)
	}
	r.s = s
	r.expire()
	r.check("Open")
}

// expire waits until the store has deleted what is due. Deadlines are many
// minutes away from the moments at which a store is opened.
func (r *minimalRun) expire() {
	r.t.Helper()
	if err := r.s.Sync(); err != nil { // the writer deletes before it answers
		r.t.Fatal(err)
	}
	for key, deadline := range r.until {
		if !deadline.After(r.s.Now()) {
			delete(r.want, key)
			delete(r.until, key)
		}
	}
}

func (r *minimalRun) close() {
	r.t.Helper()
	if err := r.s.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.check("Close")
}

// crash continues with a copy of the directory, which is what a killed process
// leaves.
func (r *minimalRun) crash() {
	r.t.Helper()
	left := r.t.TempDir()
	if err := os.CopyFS(left, os.DirFS(r.dir)); err != nil {
		r.t.Fatal(err)
	}
	if err := r.s.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.dir = left
	r.open()
}

// check compares what the minimal reader finds with the expected state.
func (r *minimalRun) check(after string) {
	r.t.Helper()
	got, err := readMinimal(r.dir)
	if err != nil {
		r.t.Fatalf("after %s: %v", after, err)
	}
	if !maps.Equal(got, r.want) {
		r.t.Fatalf("after %s: %d keys, want %d", after, len(got), len(r.want))
	}
}

// segments returns the number of segments.
func (r *minimalRun) segments() int {
	paths, err := filepath.Glob(filepath.Join(r.dir, "wal-*.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(paths)
}

// key returns one of few keys of arbitrary bytes, the empty key included, so
// that many are overwritten and deleted.
func (r *minimalRun) key() string {
	return strings.Repeat(string([]byte{0, 'K', 0xFF}), r.rand.IntN(3)) + strings.Repeat("k", r.rand.IntN(40))
}

func (r *minimalRun) value(maxBytes int) []byte {
	value := make([]byte, r.rand.IntN(maxBytes+1))
	for i := range value {
		value[i] = byte(r.rand.Uint32())
	}
	return value
}

func (r *minimalRun) set(maxBytes int) error {
	key, value, deadline := r.key(), r.value(maxBytes), r.deadline()
	r.sets(key, value, deadline)
	return r.s.SetUntil(key, value, deadline)
}

// sets notes that a key is set.
func (r *minimalRun) sets(key string, value []byte, deadline time.Time) {
	r.deletes(key)
	r.want[key] = string(value)
	r.moves(key, deadline)
}

// moves notes that a key has another deadline.
func (r *minimalRun) moves(key string, deadline time.Time) {
	delete(r.until, key)
	if !deadline.IsZero() {
		r.until[key] = deadline
	}
}

func (r *minimalRun) deletes(key string) {
	delete(r.want, key)
	delete(r.until, key)
}

// deadline returns one in some hours, or none.
func (r *minimalRun) deadline() time.Time {
	if r.rand.IntN(3) > 0 {
		return time.Time{}
	}
	return r.s.Now().Add(30*time.Minute + time.Duration(r.rand.IntN(3))*time.Hour)
}

func (r *minimalRun) delete() error {
	key := r.key()
	r.deletes(key)
	return r.s.Delete(key)
}

// touch moves a deadline, or removes it.
func (r *minimalRun) touch() error {
	key, deadline := r.key(), r.deadline()
	found, err := r.s.Expire(key, deadline)
	if _, want := r.want[key]; found != want {
		r.t.Errorf("Expire(%q): %v, %v", key, found, err)
	}
	if found {
		r.moves(key, deadline)
	}
	return err
}

// batch commits up to four batches, in call order and without waiting in
// between, so that they may share a group.
func (r *minimalRun) batch(maxBytes int) error {
	var commits []*kvstore.Commit
	var b kvstore.Batch
	for range 1 + r.rand.IntN(4) {
		b.Reset()
		for range r.rand.IntN(6) {
			key, value, deadline := r.key(), r.value(maxBytes), r.deadline()
			if r.rand.IntN(3) == 0 {
				b.Delete(key)
				r.deletes(key)
			} else {
				b.SetUntil(key, value, deadline)
				r.sets(key, value, deadline)
			}
		}
		commits = append(commits, r.s.ApplyAsync(context.Background(), &b))
	}
	var errs []error
	for _, c := range commits {
		errs = append(errs, c.Wait(context.Background()))
	}
	return errors.Join(errs...)
}

// write makes n changes with values of up to maxBytes.
func (r *minimalRun) write(n, maxBytes int) {
	r.t.Helper()
	for range n {
		var err error
		switch r.rand.IntN(5) {
		case 0:
			err = r.delete()
		case 4:
			err = r.touch()
		case 1:
			err = r.batch(maxBytes)
		default:
			err = r.set(maxBytes)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestMinimalReader(t *testing.T) {
	rows := []struct {
		name string
		run  func(r *minimalRun)
	}{
		{"a store without a write", func(*minimalRun) {}},
		{"a store that is open", func(r *minimalRun) { r.write(100, 200); r.check("writing") }},
		{"the empty key and the empty value", func(r *minimalRun) {
			r.want[""] = ""
			if err := r.s.Set("", nil); err != nil {
				r.t.Fatal(err)
			}
			r.check("writing")
		}},
		{"values that look like entries", func(r *minimalRun) {
			r.want["k"] = "KVLG\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x00\x00\x00\x00"
			if err := r.s.Set("k", []byte(r.want["k"])); err != nil {
				r.t.Fatal(err)
			}
			r.check("writing")
		}},
		{"every key deleted", func(r *minimalRun) {
			r.write(50, 200)
			for key := range r.want {
				if err := r.s.Delete(key); err != nil {
					r.t.Fatal(err)
				}
			}
			clear(r.want)
			clear(r.until)
			r.check("deleting")
		}},
		{"a store that was closed and written to again", func(r *minimalRun) {
			for range 3 {
				r.write(50, 200)
				r.close()
				r.open()
				r.write(50, 200)
				r.check("writing")
			}
		}},
		{"a store that crashed, more than once", func(r *minimalRun) {
			for range 3 {
				r.write(50, 200)
				r.crash()
				r.check("a crash")
			}
			r.close()
			r.open()
			r.write(50, 200)
			r.crash()
		}},
		{"a store whose keys expire", func(r *minimalRun) {
			for i := range 6 {
				r.write(50, 200)
				r.check("writing")
				r.ahead += time.Hour
				if i%2 == 0 {
					r.crash()
				} else {
					r.close()
					r.open()
				}
			}
			r.ahead += 24 * time.Hour
			r.crash()
			if n := r.s.Stats().Expiring; n > 0 {
				r.t.Errorf("%d keys have a deadline", n)
			}
		}},
		{"a log of many segments", func(r *minimalRun) {
			for r.segments() < 4 {
				r.write(10, 256<<10)
			}
			r.check("writing")
			r.crash()
			r.write(20, 200)
			r.check("writing")
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := newMinimalRun(t)
			row.run(r)
			r.close()
			if n := r.segments(); n > 0 {
				t.Errorf("Close left %d segments", n)
			}
			r.open()
			r.close()
		})
	}
}

// After a crash the minimal reader stops at the tear or, at worst, reads a part
// of a group that was never acknowledged. After the next Open, which repairs
// the tear, it reads what the store serves.
func TestMinimalReaderAfterTears(t *testing.T) {
	r := newMinimalRun(t)
	r.write(20, 100)
	var b kvstore.Batch
	for i := range 20 {
		b.Set(fmt.Sprintf("batch-%d", i), []byte("all or nothing"))
	}
	if err := r.s.Apply(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	end := 53 + r.s.Stats().WALBytes // behind the SEGMENT entry and the groups
	name := filepath.Join(r.dir, "wal-00000000000000000001.log")
	log, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.s.Close(); err != nil {
		t.Fatal(err)
	}
	// From the last checksums backwards: a single byte may be zero already.
	for cut := end - 8; cut > end-300; cut -= 7 {
		r.dir = t.TempDir()
		torn := append(slices.Clone(log[:cut]), make([]byte, int64(len(log))-cut)...)
		if err := os.WriteFile(filepath.Join(r.dir, filepath.Base(name)), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		r.open()
		r.close()
	}
}

// P6: after Open the minimal reader reads what the store serves, and no write
// of the torn group. One of those writes would fit behind END as if it belonged
// there. In the second case only the cache has END and zeros: the disk still
// has the torn group.
func TestP6MinimalReaderReadsNoTornGroup(t *testing.T) {
	const end, tornAt = 41, 2*512 - 41 // END takes the place of one write, up to the end of a sector
	value := strings.Repeat("x", tornAt-53-53-21-len("a"))
	for _, failedOpen := range []bool{false, true} {
		t.Run(fmt.Sprint("failed Open ", failedOpen), func(t *testing.T) {
			r := newRig(t)
			s := r.open()
			r.set(s, "a", value)
			b := &kvstore.Batch{}
			for i := range 8 {
				b.Set(fmt.Sprint(i), make([]byte, end-21-1))
			}
			r.ok(s.Apply(ctx, b))
			r.kill(s)
			log := []byte(r.files()[wal1])
			log[bytes.LastIndex(log, []byte("KVLG\x11"))+52]++
			r.ok(r.fs.WriteFile(r.config.DataDir+"/"+wal1, log))
			if failedOpen {
				r.fail(written(vfs.OpSync), syscall.EIO, 1)
				_, err := r.tryOpen()
				r.fails(err, syscall.EIO)
				r.fs.SetHook(nil)
			}
			s = r.open()
			r.want(s, "a", value)
			r.cutPower(s)
			if got := r.writes(); len(got) != 1 || got[0].key != "a" {
				t.Fatalf("%d writes can be read: %.200v", len(got), got)
			}
			r.want(r.open(), "a", value)
		})
	}
}
