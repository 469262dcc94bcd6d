package kvstore_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/vfs"
)

// DiskBytes is what the directory's files have, whatever a session does, and
// without looking.
func TestStatsDiskBytes(t *testing.T) {
	r := newRig(t)
	config := kvstore.DefaultConfig(t.TempDir())
	check := func(s *kvstore.Store, when string) {
		t.Helper()
		want, got := diskBytes(r, config.DataDir), s.Stats().DiskBytes
		if got != want {
			t.Errorf("%s: DiskBytes %d, the files have %d", when, got, want)
		}
	}
	open := func(readOnly bool) *kvstore.Store {
		t.Helper()
		config.ReadOnly = readOnly
		s, err := kvstore.OpenWithConfig(config)
		r.ok(err)
		return s
	}
	s := open(false)
	check(s, "new")
	r.set(s, "small", "1")
	check(s, "one write")
	for i := range 40 {
		r.ok(s.Set(string(rune('a'+i)), make([]byte, 50_000)))
	}
	r.ok(s.Set("larger than every segment", make([]byte, 5<<20)))
	r.ok(s.Snapshot(ctx)) // the next segment is not being made any more
	check(s, "a snapshot")
	r.set(s, "later", "1")
	check(s, "a write after it")
	r.close(s)
	check(s, "closed")
	s = open(true)
	check(s, "read-only")
	r.close(s)
	s = open(false)
	r.ok(s.Delete("larger than every segment"))
	check(s, "open again")
	r.close(s)
	check(s, "closed again")
}

// diskBytes adds up the sizes of a store's files.
func diskBytes(r *rig, dir string) (sum int64) {
	r.Helper()
	entries, err := os.ReadDir(dir)
	r.ok(err)
	for _, entry := range entries {
		if entry.Name() != "LOCK" {
			info, err := entry.Info()
			r.ok(err)
			sum += info.Size()
		}
	}
	return sum
}

// A snapshot that succeeds is counted and logged, and one that fails is not.
func TestStatsSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		h := &recorder{}
		r.config.Logger = slog.New(h)
		s := r.open()
		check := func(when string, snapshots uint64, last time.Time) {
			t.Helper()
			synctest.Wait()
			got := s.Stats()
			if got.Snapshots != snapshots || !got.LastSnapshot.Equal(last) {
				t.Errorf("%s: %d snapshots, last %v, want %d, %v",
					when, got.Snapshots, got.LastSnapshot, snapshots, last)
			}
			lines := 0
			for _, line := range h.of(slog.LevelInfo) {
				if strings.Contains(line, "snapshot written") {
					lines++
				}
			}
			if lines != int(snapshots) {
				t.Errorf("%s: %d lines in the log: %q", when, lines, h.of(slog.LevelInfo))
			}
		}
		check("new", 0, time.Time{})
		r.set(s, "a", "1")
		<-time.After(time.Hour)
		first := time.Now()
		r.ok(s.Snapshot(ctx))
		check("first", 1, first)
		r.ok(s.Snapshot(ctx))
		check("nothing new", 1, first)
		r.set(s, "b", "1")
		<-time.After(time.Hour)
		r.fs.SetHook(func(op vfs.Op) error {
			if snapshotOp(vfs.OpSync)(op) {
				return errors.New("no")
			}
			return nil
		})
		if err := s.Snapshot(ctx); err == nil {
			t.Error("a snapshot succeeded")
		}
		check("failed", 1, first)
		r.fs.SetHook(nil)
		second := time.Now()
		r.close(s)
		check("closed", 2, second)
	})
}

// QueueBytes is what the queue holds while the disk hangs, and nothing when all
// is answered.
func TestStatsQueueBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		if got := s.Stats().QueueBytes; got != 0 {
			t.Errorf("an idle store queues %d bytes", got)
		}
		disk := r.stall(vfs.OpSync)
		const large, callers = 1 << 20, 18
		answers := make(chan error, callers)
		for i := range callers {
			go func() { answers <- s.Set(string(rune('a'+i)), make([]byte, large)) }()
		}
		synctest.Wait()
		if got := s.Stats().QueueBytes; got < 16<<20 || got > 32<<20 {
			t.Errorf("%d callers with 1 MiB each queue %d bytes", callers, got)
		}
		disk.release()
		for range callers {
			r.ok(<-answers)
		}
		synctest.Wait()
		if got := s.Stats().QueueBytes; got != 0 {
			t.Errorf("when all is answered, %d bytes are queued", got)
		}
		r.close(s)
	})
}

// MemoryUsed follows what is stored, and MemoryMapped has it.
func TestStatsMemory(t *testing.T) {
	r := newRig(t)
	s := r.open()
	check := func(when string, least, most int64) {
		t.Helper()
		got := s.Stats()
		if got.MemoryUsed < least || got.MemoryUsed > most || got.MemoryMapped < got.MemoryUsed {
			t.Errorf("%s: %d bytes used, want %d to %d; %d mapped",
				when, got.MemoryUsed, least, most, got.MemoryMapped)
		}
	}
	check("empty", 0, 4<<20)
	const n, size = 1000, 10_000
	b := &kvstore.Batch{}
	for i := range n {
		b.Set(string(rune(i)), make([]byte, size))
	}
	r.ok(s.Apply(ctx, b))
	check("with 10 MB", n*size, n*size*5/4+8<<20)
	b.Reset()
	for i := range n {
		b.Delete(string(rune(i)))
	}
	r.ok(s.Apply(ctx, b))
	check("empty again", 0, 12<<20)
	last := s.Stats().MemoryUsed
	r.close(s)
	if got := s.Stats().MemoryUsed; got > last {
		t.Errorf("closed: %d bytes used, %d before", got, last)
	}
}
