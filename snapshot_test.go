package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/tuning"
	"kvstore/internal/vfs"
)

// This file is about snapshots while serving.

// names returns the names of a store's files, without LOCK.
func (r *rig) names() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.files())), func(name string) bool { return name == "LOCK" })
}

func snapshotOp(kind vfs.OpKind) func(vfs.Op) bool {
	return func(op vfs.Op) bool { return op.Kind == kind && strings.HasPrefix(op.Name, "snapshot-") }
}

// A snapshot replaces the log that it covers. Writes during and after the
// snapshot are in the log behind it.
func TestSnapshotWhileServing(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		r := newRig(t)
		r.config.SyncWrites = syncWrites
		s := r.open()
		r.ok(s.Snapshot(ctx)) // of nothing
		if names := r.names(); len(names) != 1 {
			t.Fatalf("files %q", names)
		}
		for i := range 20 {
			r.set(s, fmt.Sprint(i), strings.Repeat("x", 1000))
		}
		r.ok(s.Snapshot(ctx))
		names := r.names()
		covered := func(name string) bool { return number(name) < number(names[0]) }
		if !strings.HasPrefix(names[0], "snapshot-") || slices.ContainsFunc(names[1:], covered) {
			t.Fatalf("files %q", names)
		}
		if bytes := s.Stats().WALBytes; bytes != 0 {
			t.Fatalf("%d bytes in a log that is covered", bytes)
		}
		before := r.files()
		r.ok(s.Snapshot(ctx)) // there is nothing new
		r.unchanged(before)
		r.set(s, "later", "1")
		r.ok(s.Delete("0"))
		want := []string{"later", "1"}
		for i := 1; i < 20; i++ {
			want = append(want, fmt.Sprint(i), strings.Repeat("x", 1000))
		}
		s = r.reopenAfter(s, r.kill)
		r.want(s, want...)
		if groups := s.Stats().Recovery.Groups; groups != 2 {
			t.Fatalf("%d groups replayed", groups)
		}
		r.ok(s.Snapshot(ctx))
		s = r.reopenAfter(s, r.close)
		r.want(s, want...)
		r.want(r.reopenAfter(s, r.cutPower), want...)
	}
}

// P3: while a snapshot hangs, reads and writes go on. Other calls of Snapshot
// share it, or return when their context ends.
func TestP3SnapshotMakesNobodyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", "1")
		began, release := make(chan struct{}, 10), make(chan struct{})
		var written atomic.Int64
		r.fs.SetHook(func(op vfs.Op) error {
			if snapshotOp(vfs.OpWrite)(op) {
				written.Add(1)
				began <- struct{}{}
				<-release
			}
			return nil
		})
		first := async(func() error { return s.Snapshot(ctx) })
		<-began
		r.set(s, "a", "2", "b", "2", "large", strings.Repeat("x", 9000))
		second := async(func() error { return s.Snapshot(ctx) })
		short, cancel := context.WithCancel(ctx)
		third := async(func() error { return s.Snapshot(short) })
		synctest.Wait()
		if n := written.Load(); n != 1 {
			t.Fatalf("%d snapshots at once", n)
		}
		cancel()
		r.fails(<-third, context.Canceled)
		r.fails(s.Snapshot(short), context.Canceled)
		r.want(s, "a", "2", "b", "2", "large", strings.Repeat("x", 9000))
		<-time.After(time.Minute)
		if stats := s.Stats(); stats.ViewBytes == 0 || stats.Views != 1 || stats.OldestView != time.Minute {
			t.Fatalf("%d bytes are kept for %d views, the oldest for %v: the snapshot has one",
				stats.ViewBytes, stats.Views, stats.OldestView)
		}
		closing := async(s.Close)
		synctest.Wait()
		select {
		case err := <-closing:
			t.Fatalf("Close does not wait for the snapshot: %v", err)
		default:
		}
		if n := written.Load(); n != 1 {
			t.Error("Close writes its own snapshot beside the one under way")
		}
		close(release)
		r.ok(<-first)
		r.ok(<-second)
		r.ok(<-closing)
		r.want(r.open(), "a", "2", "b", "2", "large", strings.Repeat("x", 9000))
	})
}

// A snapshot that fails leaves the one before it and the whole log, and the
// store goes on.
func TestSnapshotFails(t *testing.T) {
	large := strings.Repeat("x", 200<<10) // more than what the disk is given at once
	for _, kind := range []vfs.OpKind{vfs.OpCreate, vfs.OpWrite, vfs.OpWriteBack, vfs.OpSync, vfs.OpRename} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(fmt.Sprint(kind, ", ", cause), func(t *testing.T) {
				needs(t, kind)
				r := newRig(t)
				s := r.open()
				r.set(s, "a", "1", "large", large)
				r.ok(s.Snapshot(ctx))
				r.set(s, "a", "2", "b", "2")
				r.fail(snapshotOp(kind), cause, forever)
				for range 3 {
					err := s.Snapshot(ctx)
					if !errors.Is(err, cause) || errors.Is(err, kvstore.ErrFailed) {
						t.Fatalf("error %v", err)
					}
				}
				if slices.ContainsFunc(r.names(), func(n string) bool { return strings.HasSuffix(n, "kvs.tmp") }) {
					t.Fatalf("a failed snapshot leaves %q", r.names())
				}
				r.set(s, "c", "3", "a", "2")
				r.want(s, "a", "2", "b", "2", "c", "3", "large", large)
				if bytes := s.Stats().ViewBytes; bytes != 0 {
					t.Fatalf("%d bytes are kept for snapshots that failed", bytes)
				}
				r.fs.SetHook(nil)
				s = r.reopenAfter(s, r.kill)
				r.want(s, "a", "2", "b", "2", "c", "3", "large", large)
				r.ok(s.Snapshot(ctx))
				r.want(r.reopenAfter(s, r.kill), "a", "2", "b", "2", "c", "3", "large", large)
			})
		}
	}
}

// A snapshot that finds no preallocated segment makes a small one, since every
// writer waits for it.
func TestSnapshotOfASmallLog(t *testing.T) {
	r := newRig(t, kvstore.WithFirstSegmentBytes(8<<20))
	s := r.open()
	r.set(s, "a", "1")
	r.ok(s.Snapshot(ctx))
	for name, b := range r.files() {
		if isSegment(name) && len(b) != kvstore.FirstSegmentBytes {
			t.Errorf("%s has %d bytes", name, len(b))
		}
	}
	r.set(s, "b", "2")
	r.want(r.reopenAfter(s, r.kill), "a", "1", "b", "2")
}

// Without space for the next segment the snapshot fails, and nothing else does.
func TestSnapshotWithoutSpaceForASegment(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	d := r.fail(reserved(vfs.OpAllocate), syscall.ENOSPC, forever)
	if err := s.Snapshot(ctx); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, kvstore.ErrFailed) {
		t.Fatalf("error %v", err)
	}
	if d.failures() == 0 {
		t.Fatal("no segment was reserved")
	}
	r.set(s, "b", "2")
	r.fs.SetHook(nil)
	r.ok(s.Snapshot(ctx))
	r.want(r.reopenAfter(s, r.kill), "a", "1", "b", "2")
}

// P5: a store that has failed writes no snapshot, even if the call came before
// the failure.
func TestP5SnapshotOfAFailedStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", "1")
		began, fail := make(chan struct{}, 10), make(chan struct{})
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind != vfs.OpSync {
				return nil
			}
			began <- struct{}{}
			<-fail
			return syscall.EIO
		})
		set := async(func() error { return s.Set("a", []byte("2")) })
		<-began
		snapshot := async(func() error { return s.Snapshot(ctx) })
		synctest.Wait() // it is queued behind the write
		close(fail)
		failedWith(r, <-set, syscall.EIO)
		failedWith(r, <-snapshot, syscall.EIO)
		if slices.ContainsFunc(r.names(), func(n string) bool { return strings.HasPrefix(n, "snapshot-") }) {
			t.Fatalf("files %q", r.names())
		}
	})
}

func TestSnapshotIsRefused(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	r.fail(written(vfs.OpSync), syscall.EIO, forever)
	r.fails(s.Set("b", nil), kvstore.ErrFailed)
	before := r.files()
	r.fails(s.Snapshot(ctx), kvstore.ErrFailed, syscall.EIO)
	r.unchanged(before)
	r.fails(s.Close(), kvstore.ErrFailed)
	r.fails(s.Snapshot(ctx), kvstore.ErrClosed)
	r.fs.SetHook(nil)
	r.ok(r.open().Close())
	r.config.ReadOnly = true
	r.fails(r.open().Snapshot(ctx), kvstore.ErrReadOnly)
	r.config.SnapshotBytes = -1
	_, err := r.tryOpen()
	r.fails(err, kvstore.ErrInvalidConfig)
}

// A snapshot that SnapshotBytes has begun earlier does not answer a call: it
// lacks what was acknowledged in between. A call shares one that has it.
func TestSnapshotHasWhatWasAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.config.SnapshotBytes = 1000
		s := r.open()
		release := make(chan struct{})
		r.fs.SetHook(func(op vfs.Op) error {
			if snapshotOp(vfs.OpSync)(op) {
				<-release
			}
			return nil
		})
		r.set(s, "begins", strings.Repeat("x", 1000))
		synctest.Wait() // the first snapshot hangs
		r.set(s, "between", "1")
		const callers = 3
		answers := make(chan error, callers)
		for range callers {
			go func() { answers <- s.Snapshot(ctx) }()
		}
		synctest.Wait()
		if len(answers) > 0 {
			t.Fatalf("answered while the snapshot hangs: %v", <-answers)
		}
		close(release)
		for range callers {
			r.ok(<-answers)
		}
		if bytes := s.Stats().WALBytes; bytes != 0 {
			t.Errorf("%d bytes of log are not covered", bytes)
		}
		if names := r.names(); number(names[0]) > 3 {
			t.Errorf("the callers have not shared one snapshot: %q", names)
		}
		s = r.reopenAfter(s, r.kill)
		r.want(s, "begins", strings.Repeat("x", 1000), "between", "1")
		if groups := s.Stats().Recovery.Groups; groups != 0 {
			t.Errorf("%d groups are not in the snapshot", groups)
		}
	})
}

// With SnapshotBytes the log bounds itself, whatever is written. A snapshot
// that fails is logged and tried again.
func TestSnapshotBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.config.SnapshotBytes = 20_000
		var log lockedBuffer
		r.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s := r.open()
		write := func(from, to int, limit int64) {
			for i := from; i < to; i++ {
				r.set(s, fmt.Sprint("key ", i%50), strings.Repeat(fmt.Sprint(i%10), 1000))
				synctest.Wait()
				if bytes := s.Stats().WALBytes; bytes > limit {
					t.Fatalf("%d bytes in the log after %d writes", bytes, i)
				}
			}
		}
		write(0, 100, 30_000)
		first := r.names()
		if !strings.HasPrefix(first[0], "snapshot-") {
			t.Fatalf("files %q", first)
		}
		d := r.fail(snapshotOp(vfs.OpSync), syscall.EIO, forever)
		write(100, 200, 150_000)
		reports := strings.Count(log.String(), "snapshot failed")
		if d.failures() < 3 || d.failures() > 6 || reports != d.failures() {
			t.Fatalf("%d failures, log: %s", d.failures(), log.String())
		}
		if names := r.names(); names[0] != first[0] {
			t.Fatalf("files %q, before %q", names, first)
		}
		r.fs.SetHook(nil)
		write(200, 225, 150_000)
		write(225, 300, 30_000)
		if names := r.names(); names[0] == first[0] || strings.HasPrefix(names[1], "snapshot-") {
			t.Fatalf("files %q, before %q", names, first)
		}
		want := state(s)
		s = r.reopenAfter(s, r.kill)
		if !maps.Equal(state(s), want) {
			t.Fatal("recovery has lost something")
		}
	})
}

// A snapshot is gentle only as long as the log can afford it. When the log has
// twice SnapshotBytes, the snapshot hands the disk large pieces.
func TestSnapshotHurriesWhenTheLogGrows(t *testing.T) {
	if !tuning.Pacing {
		return // then it is never gentle
	}
	for _, much := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const snapshotBytes, gentlePiece = 2 << 20, 128 << 10
			r := newRig(t)
			r.config.SnapshotBytes = snapshotBytes
			s := r.open()
			first, goOn := make(chan struct{}), make(chan struct{})
			var pieces []int // the snapshot's goroutine owns it until the snapshot is complete
			r.fs.SetHook(func(op vfs.Op) error {
				if snapshotOp(vfs.OpWriteBack)(op) {
					if pieces = append(pieces, op.Bytes); len(pieces) == 1 {
						close(first)
						<-goOn
					}
				}
				return nil
			})
			for i := range snapshotBytes / 10_000 {
				r.ok(s.Set(fmt.Sprint("key ", i), make([]byte, 10_000)))
			}
			<-first
			if much {
				r.ok(s.Set("much", make([]byte, snapshotBytes)))
			}
			r.ok(s.Set("the store is busy", nil))
			close(goOn)
			<-time.After(time.Second) // so that pauses end
			synctest.Wait()
			if len(pieces) < 2 || pieces[0] >= 2*gentlePiece {
				t.Fatalf("pieces %v", pieces)
			}
			hurried := slices.Max(pieces[1:]) > 2*gentlePiece
			if hurried != much {
				t.Errorf("the log has grown: %t, pieces %v", much, pieces)
			}
			r.close(s)
		})
	}
}
