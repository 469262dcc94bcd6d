package kvstore_test

// This file is about what Open serves. It is durable (P3), complete and in
// order (P2, P6), whatever has interrupted the session before or the last Open.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"kvstore"
	"kvstore/internal/format"
	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

// P3: a directory may have just been copied, with nothing of it on disk. When
// Open returns, all of its files are durable.
func TestP3OpenMakesACopyDurable(t *testing.T) {
	log, _ := killed(t, kvstore.Config{SyncWrites: true})
	for name, d := range map[string]directory{
		"one segment": log, "several segments": rotatedDirectory(t), "a snapshot": closedDirectory(t, log),
		"a snapshot and a segment":          afterSnapshot(t, closedDirectory(t, log)),
		"a segment, and one without groups": reopened(t, log),
	} {
		t.Run(name, func(t *testing.T) {
			fs := directory{}.mount(t)
			for name, data := range d {
				putNotDurable(t, fs, name, data, false)
			}
			s, served := keysOf(t, fs)
			if served == 0 {
				t.Fatal("nothing is served")
			}
			fs.PowerCut()
			_ = s.Close() // fails: its file system is gone
			s, left := keysOf(t, fs)
			if left != served {
				t.Fatalf("%d keys were served, %d are left after a power cut", served, left)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// P3: the name of a directory that Open has just made is durable, or Open
// fails, even if it has no permission to sync the parent.
func TestP3NameOfNewDirectoryCannotBeSynced(t *testing.T) {
	r := newRig(t)
	r.fs.SetHook(failing(vfs.OpSyncParent, syscall.EACCES))
	_, err := r.tryOpen()
	r.fails(err, fs.ErrPermission)
	r.fs.SetHook(nil)
	r.close(r.open())
}

// P3: a process dies in Close between the renaming of the snapshot and the sync
// of the directory. Open finds a name there that the next power cut may take
// away, and with it all that was removed for it.
func TestP3NameThatIsNotDurable(t *testing.T) {
	r := newRig(t)
	order := newOracle(func(rule string) { t.Errorf("order: %s", rule) })
	dying := false
	r.fs.SetHook(func(op vfs.Op) error {
		if dying && op.Kind == vfs.OpSyncDir && order.unsynced() {
			r.fs.Kill()
			return nil
		}
		order.happens(op)
		return nil
	})
	s := r.open()
	r.set(s, "a", "1")
	s = r.reopenAfter(s, r.close) // so there is an older snapshot
	r.set(s, "b", "2")
	dying = true
	if err := s.Close(); err == nil || !order.unsynced() {
		t.Fatalf("Close: %v; it should have died before a name was durable", err)
	}
	dying = false
	s = r.open()
	order.opened()
	r.want(s, "a", "1", "b", "2")
}

// P6: a power cut at any operation of Open is harmless, even if the name of the
// newest segment was not durable before. Open makes that name durable before
// there is a later one.
func TestP6NamesAreDurableInTheirOrder(t *testing.T) {
	seed := testseed.New(t)
	d := rotatedDirectory(t)
	newest := slices.Max(slices.Collect(maps.Keys(d)))
	older := d.clone()
	delete(older, newest)
	for cutAt := int64(1); ; cutAt++ {
		done := false
		for round := range uint64(fewerRounds(20)) {
			fs := older.mount(t).Clone(rand.New(rand.NewPCG(seed, uint64(cutAt)<<32|round)).IntN)
			putNotDurable(t, fs, newest, d[newest], true)
			var operations atomic.Int64
			fs.SetHook(func(vfs.Op) error {
				if operations.Add(1) == cutAt {
					fs.PowerCut()
				}
				return nil
			})
			s, err := kvstore.OpenFS(fs, kvstore.Config{DataDir: recoveryDir, SyncWrites: true})
			fs.SetHook(nil)
			if done = err == nil; done {
				fs.PowerCut()
				_ = s.Close() // fails: its file system is gone
			}
			s, err = kvstore.OpenFS(fs, kvstore.Config{DataDir: recoveryDir, SyncWrites: true})
			if err != nil {
				t.Fatalf("power cut at operation %d of Open: %v", cutAt, err)
			}
			if done && s.Len() != 40 {
				t.Fatalf("%d of 40 keys are left", s.Len())
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if done {
			return
		}
	}
}

// P1, P3, P6: an Open after a failed fsync, then two power cuts in a row, each
// with a torn tail. No acknowledged write is lost, and nothing is refused.
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
	// The failed group is in the cache, marked clean, and not on the disk. Open
	// must write it again before it serves it.
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

// P3: if only the cache has a group of several pages, Open rewrites all of it.
// Its last page, which END shares, is not enough.
func TestP3RecoveryRewritesLargeGroups(t *testing.T) {
	r := newRig(t)
	s := r.open()
	large := strings.Repeat("x", 3000)
	r.set(s, "a", "1")
	r.fs.SetHook(failing(vfs.OpSync, syscall.EIO))
	r.fails(s.Set("large", []byte(large)), kvstore.ErrFailed)
	r.fails(s.Close(), kvstore.ErrFailed)
	r.fs.SetHook(nil)
	s = r.open()
	r.want(s, "a", "1", "large", large)
	s = r.reopenAfter(s, r.cutPower)
	r.want(s, "a", "1", "large", large)
}

// P3: if only the cache has an END, since its fsync has failed, Open rewrites
// it before it makes a later segment. Otherwise that segment would turn a
// missing END into damage. The END lies at every place in a sector.
func TestP3RecoveryRewritesEnd(t *testing.T) {
	for pad := range 512 {
		r := newRig(t)
		s := r.open()
		value := strings.Repeat("x", pad)
		r.set(s, "a", value)
		r.fail(written(vfs.OpSync), syscall.EIO, 1)
		r.fails(s.Close(), kvstore.ErrFailed)
		r.fs.SetHook(nil)
		s = r.open()
		r.want(s, "a", value)
		s = r.reopenAfter(s, r.cutPower)
		r.want(s, "a", value)
		r.close(s)
	}
}

// P3: an fsync has failed, and while the next Open reads, the kernel drops the
// pages that only the cache has. Whenever that happens, Open serves what the
// disk has, or what it has copied to the disk, or it fails and leaves the files
// as they are. Groups are smaller and larger than the pieces that Open reads.
func TestP3PagesAreDroppedWhileOpenReads(t *testing.T) {
	pieces := []kvstore.EnvOption{kvstore.WithPieceBytes(1024)}
	for _, row := range []struct {
		name     string
		options  []kvstore.EnvOption
		readOnly bool
		want     string
	}{
		{"one piece", nil, false, "all changed old"},
		{"pieces", pieces, false, "all changed old"},
		{"one piece, read-only", nil, true, "all old"},
		{"pieces, read-only", pieces, true, "all changed old"},
	} {
		t.Run(row.name, func(t *testing.T) {
			seen := map[string]bool{}
			for dropAt := 1; ; dropAt++ {
				outcome, reads := openWhilePagesAreDropped(t, dropAt, row.readOnly, row.options)
				if seen[outcome] = true; reads < dropAt {
					break
				}
			}
			if got := strings.Join(slices.Sorted(maps.Keys(seen)), " "); got != row.want {
				t.Errorf("outcomes %q, want %q", got, row.want)
			}
		})
	}
}

// openWhilePagesAreDropped opens a store with a group that the disk has, and
// one that only the cache has. The pages are dropped before a read. It returns
// what became of Open, and the number of reads.
func openWhilePagesAreDropped(
	t *testing.T, dropAt int, readOnly bool, options []kvstore.EnvOption,
) (outcome string, reads int) {
	r := newRig(t, append(options, kvstore.WithFirstSegmentBytes(64<<10))...)
	drop := 0
	r.fs = vfs.NewMem(func(int) int { return drop })
	s := r.open()
	r.set(s, "a", "1")
	r.fs.SetHook(failing(vfs.OpSync, syscall.EIO))
	lost := batch("b", strings.Repeat("b", 300), "c", strings.Repeat("c", 9000), "d", "4")
	r.fails(s.Apply(ctx, lost), kvstore.ErrFailed)
	r.fails(s.Close(), kvstore.ErrFailed)
	before := r.files()
	r.fs.SetHook(func(op vfs.Op) error {
		if op.Kind != vfs.OpRead {
			return nil
		}
		if reads++; reads == dropAt {
			drop = 1
			r.fs.Evict()
			drop, before = 0, r.files()
			delete(before, wal1+".tmp") // a copy that is being made
		}
		return nil
	})
	r.config.ReadOnly = readOnly
	s, err := r.tryOpen()
	r.fs.SetHook(nil)
	if _, ok := errors.AsType[*format.Changed](err); ok {
		r.unchanged(before)
		r.want(r.open(), "a", "1")
		return "changed", reads
	}
	r.ok(err)
	kept := s.Len()
	if !readOnly {
		if s = r.reopenAfter(s, r.cutPower); s.Len() != kept {
			t.Errorf("%d keys were served, %d are left after a power cut", kept, s.Len())
		}
	}
	return map[int]string{1: "old", 4: "all"}[kept], reads
}

// P3: a process dies at any operation of Close, and the power is cut at any
// operation of the next Open. What the snapshot replaces is removed only when
// the snapshot cannot be lost any more.
func TestP3CrashInCloseThenInOpen(t *testing.T) {
	outcomes := uint64(4)
	if slow() {
		outcomes = 1
	}
	seed := testseed.New(t)
	pairs := some(8)
	crashAt := func(fs *vfs.Mem, n int64, crash func()) *atomic.Int64 {
		operations := new(atomic.Int64)
		fs.SetHook(func(vfs.Op) error {
			if operations.Add(1) == n {
				crash()
			}
			return nil
		})
		return operations
	}
	for killAt, more := int64(1), true; more; killAt++ {
		r := newRig(t)
		s := r.open()
		r.set(s, pairs[:8]...)
		s = r.reopenAfter(s, r.close) // so there is an older snapshot
		r.set(s, pairs[8:]...)
		operations := crashAt(r.fs, killAt, r.fs.Kill)
		_ = s.Close()
		more = operations.Load() >= killAt
		killed := r.fs
		for cutAt, more := int64(1), true; more; cutAt++ {
			for round := range outcomes {
				r.fs = killed.Clone(rand.New(rand.NewPCG(seed+round, uint64(killAt<<32|cutAt))).IntN)
				operations := crashAt(r.fs, cutAt, r.fs.PowerCut)
				if s, err := r.tryOpen(); err == nil {
					r.cutPower(s)
				}
				more = operations.Load() >= cutAt
				r.fs.SetHook(nil)
				s, err := r.tryOpen()
				if err != nil {
					t.Fatalf("kill at operation %d of Close, power cut at %d of Open: %v", killAt, cutAt, err)
				}
				r.want(s, pairs...)
				r.kill(s)
			}
		}
	}
}

// P2, P6: recovery applies so many writes in several pieces, each while it
// reads the next one.
func TestP6ManyOperationsAreReplayedInOrder(t *testing.T) {
	const keys = 10_000
	rounds := fewerRounds(20)
	r := newRig(t, kvstore.WithFirstSegmentBytes(16<<20))
	s := r.open()
	want := map[string]string{}
	for round := range rounds {
		b := &kvstore.Batch{}
		for i := range keys {
			key, value := fmt.Sprint(i), fmt.Sprint("value ", round)
			if i%3 == round%3 {
				b.Delete(key)
				delete(want, key)
				continue
			}
			b.Set(key, []byte(value))
			want[key] = value
		}
		r.ok(s.Apply(ctx, b))
	}
	s = r.reopenAfter(s, r.kill)
	if got := s.Stats().Recovery.Entries; got != uint64(rounds*keys) {
		t.Fatalf("%d entries are replayed, want %d", got, rounds*keys)
	}
	if !maps.Equal(state(s), want) {
		t.Fatal("the writes are not replayed in their order")
	}
}
