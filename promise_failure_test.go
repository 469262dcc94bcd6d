package kvstore_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/tuning"
	"kvstore/internal/vfs"
)

// This file is about failed writes and fsyncs of the log (P5): the first one is
// the last, for the store accepts no more writes. Running out of space is no
// such failure where kvstore can tell the two apart.

// P5, for all ways to fail: every caller in the group gets the error, and every
// later one. Nothing of the group is seen. Reads go on. Nothing is tried again.
// Close changes nothing. The next Open has everything that was acknowledged.
func TestP5FailureIsSticky(t *testing.T) {
	short := func(n int) error { return &vfs.ShortWrite{Bytes: n, Err: syscall.EIO} }
	for _, c := range []struct {
		name       string
		syncWrites bool
		fails      func(vfs.Op) bool
		err        error
		times      int
		large      bool // the group does not fit into the segment
	}{
		{"fsync once", true, written(vfs.OpSync), syscall.EIO, 1, false},
		{"fsync for ever", true, written(vfs.OpSync), syscall.EIO, forever, false},
		{"fsync without space", true, written(vfs.OpSync), syscall.ENOSPC, 1, false}, // too late to be harmless
		{"write once", true, written(vfs.OpWrite), syscall.EIO, 1, false},
		{"write for ever", true, written(vfs.OpWrite), syscall.EIO, forever, false},
		{"write without space", true, written(vfs.OpWrite), syscall.ENOSPC, 1, false},
		{"start of a write once", true, written(vfs.OpStartWrite), syscall.EIO, 1, false},
		{"start of a write for ever", true, written(vfs.OpStartWrite), syscall.EIO, forever, false},
		{"short write of nothing", true, written(vfs.OpWrite), short(0), 1, false},
		{"short write of a byte", true, written(vfs.OpWrite), short(1), 1, false},
		{"short write of most", true, written(vfs.OpWrite), short(200), forever, false},
		{"everything for ever", true, func(vfs.Op) bool { return true }, syscall.EIO, forever, false},
		{"write once, no SyncWrites", false, written(vfs.OpWrite), syscall.EIO, 1, false},
		{"short write, no SyncWrites", false, written(vfs.OpWrite), short(100), 1, false},
		{"write of END", true, written(vfs.OpWrite), syscall.EIO, 1, true},
		{"fsync of END", true, written(vfs.OpSync), syscall.EIO, 1, true},
		{"fsync of END, no SyncWrites", false, written(vfs.OpSync), syscall.EIO, 1, true},
		{"rename", true, reserved(vfs.OpRename), syscall.EIO, 1, true},
		{"fsync of the directory", true, func(op vfs.Op) bool {
			return op.Kind == vfs.OpSyncDir
		}, syscall.EIO, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "start of a write") {
				needs(t, vfs.OpStartWrite)
			}
			synctest.Test(t, func(t *testing.T) { failsForGood(t, c.syncWrites, c.fails, c.err, c.times, c.large) })
		})
	}
}

func failsForGood(t *testing.T, syncWrites bool, fails func(vfs.Op) bool, cause error, times int, large bool) {
	r, _ := newRandomRig(t)
	r.config.SyncWrites = syncWrites
	s := r.open()
	r.set(s, "before", "1", "changed", "1")
	st := r.stall(map[bool]vfs.OpKind{true: vfs.OpSync, false: vfs.OpWrite}[syncWrites])
	inFront := s.ApplyAsync(ctx, batch("in front", "1"))
	r.undecided(inFront)
	var group []<-chan error // these wait and become one group
	value := "2"
	if large {
		value = strings.Repeat("x", 5000)
	}
	for i := range 3 {
		key := fmt.Sprint("failed ", i)
		group = append(group,
			async(func() error { return s.Set(key, []byte(value)) }),
			async(func() error { return s.Apply(ctx, batch(key, "2", "changed", "2")) }),
			async(func() error { return s.ApplyAsync(ctx, batch(key, "2")).Wait(ctx) }),
			async(func() error { return s.Delete("before") }))
	}
	synctest.Wait()
	group = append(group, async(s.Sync))
	synctest.Wait()
	d := r.fail(fails, cause, times)
	st.release()
	r.ok(inFront.Wait(ctx))
	for _, result := range group {
		failedWith(r, <-result, cause)
	}
	if d.failures() == 0 {
		t.Fatal("nothing failed")
	}
	d.forget()
	left := r.files()
	stays := func() {
		t.Helper()
		r.want(s, "before", "1", "changed", "1", "in front", "1")
		r.lacks(s, "failed 0", "later")
		r.unchanged(left)
		if changes := d.changes(); len(changes) > 0 {
			t.Fatalf("the failed store has not left the disk alone: %v", changes)
		}
	}
	stays()
	for range 2 {
		failedWith(r, s.Set("later", nil), cause)
		failedWith(r, s.Delete("before"), cause)
		failedWith(r, s.Apply(ctx, batch("later", "")), cause)
		failedWith(r, s.ApplyAsync(ctx, batch("later", "")).Wait(ctx), cause)
		failedWith(r, s.Sync(), cause)
		failedWith(r, s.Err(), cause)
		<-time.After(time.Hour) // nor does any background fsync try
		stays()
	}
	if got := s.Stats(); got.Keys != 3 || got.Commits != 3 {
		t.Errorf("Stats show what no reader sees: %+v", got)
	}
	failedWith(r, s.Close(), cause)
	r.unchanged(left)
	if changes := d.changes(); len(changes) > 0 {
		t.Fatalf("Close has not left the disk alone: %v", changes)
	}
	closed(r, s)
	opensAfterFailure(r, syncWrites)
}

// opensAfterFailure checks that a new Open leaves the failure behind. The
// failed group may be there or not, but not half of it.
func opensAfterFailure(r *rig, syncWrites bool) {
	r.Helper()
	r.fs.SetHook(nil)
	if syncWrites {
		r.fs.PowerCut()
	}
	s := r.open()
	got := state(s)
	_, applied := got["failed 0"]
	for i := range 3 {
		if _, ok := got[fmt.Sprint("failed ", i)]; ok != applied {
			r.Fatalf("half of the failed group: %.300v", got)
		}
	}
	_, before := got["before"]
	changed := map[bool]string{true: "2", false: "1"}[applied]
	if before == applied || got["in front"] != "1" || got["changed"] != changed {
		r.Fatalf("after a failure: %.300v", got)
	}
	r.set(s, "later", "1")
	r.ok(s.Sync())
	got["later"] = "1"
	s = r.reopenAfter(s, r.cutPower)
	if now := state(s); !maps.Equal(now, got) {
		r.Fatalf("%.300v, want %.300v", now, got)
	}
	r.close(s)
}

// P5: the sync of a large group begins while the group is being staged. Any
// error of it is returned, and nothing of the group is seen.
func TestP5SyncOfALargeGroupFails(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpStartWrite, vfs.OpStartSync, vfs.OpSync} {
		for _, size := range []int{200, 2000} { // staged by the writer, and with help
			t.Run(fmt.Sprint(kind, " ", size), func(t *testing.T) {
				needs(t, kind)
				r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
				s := r.open()
				r.set(s, "before", "1")
				var large kvstore.Batch
				for i := range size {
					large.Set(fmt.Sprint("failed ", i), nil)
				}
				d := r.fail(written(kind), syscall.EIO, 1)
				failedWith(r, s.Apply(t.Context(), &large), syscall.EIO)
				if d.failures() != 1 {
					t.Errorf("%d failures", d.failures())
				}
				failedWith(r, s.Set("later", nil), syscall.EIO)
				failedWith(r, s.Sync(), syscall.EIO)
				r.want(s, "before", "1")
				left := r.files()
				failedWith(r, s.Close(), syscall.EIO)
				r.unchanged(left)
				r.fs.SetHook(nil)
				s = r.open()
				if n := s.Len(); n != 1 && n != 1+size {
					t.Errorf("a part of the group is there: %d keys", n)
				}
				r.set(s, "later", "1")
			})
		}
	}
}

// P5: Close removes nothing even if every write of the session has failed, so
// that its segment holds no valid group.
func TestP5FirstGroupFails(t *testing.T) {
	for name, kind := range map[string]vfs.OpKind{"write": vfs.OpWrite, "fsync": vfs.OpSync} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := r.open()
			r.fail(written(kind), syscall.EIO, 1)
			failedWith(r, s.Set("a", nil), syscall.EIO)
			left := r.files()
			failedWith(r, s.Close(), syscall.EIO)
			r.unchanged(left)
			s = r.open()
			r.set(s, "b", "1")
			r.lacks(s, "c")
		})
	}
}

// P9: a large batch that could not be written belongs to its caller again when
// Apply returns. By then the goroutine that stages it has ended, however late
// it began.
func TestP9FailedBatchesAreNotStaged(t *testing.T) {
	if !tuning.StagingHelper {
		t.Skip("no goroutine stages")
	}
	synctest.Test(t, func(t *testing.T) {
		begin := make(chan struct{})
		late := kvstore.WithBackground(func(task func() error) {
			go func() {
				<-begin
				_ = task() // it returns nil
			}()
		})
		r := newRig(t, late, kvstore.WithFirstSegmentBytes(4<<20))
		s := r.open()
		b := &kvstore.Batch{}
		for i := range 1000 {
			b.Set(fmt.Sprint(i), []byte("value"))
		}
		r.fail(written(vfs.OpWrite), syscall.EIO, 1)
		applied := async(func() error { return s.Apply(ctx, b) })
		r.waits(applied)
		close(begin)
		failedWith(r, <-applied, syscall.EIO)
		r.fails(s.Apply(ctx, b), kvstore.ErrFailed)
		r.fails(s.Close(), kvstore.ErrFailed)
	})
}

// P5: a failed background fsync, too, is the last on its file. The store fails
// when the fsync ends, and every later call gets the error.
func TestP5FailedBackgroundSyncIsSticky(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.config.SyncWrites = false
		s := r.open()
		r.set(s, "a", "1")
		d := r.fail(written(vfs.OpSync), syscall.EIO, 1)
		<-time.After(kvstore.DefaultSyncInterval)
		synctest.Wait()
		if d.failures() != 1 {
			t.Fatalf("%d failures after one interval", d.failures())
		}
		d.forget()
		left := r.files()
		failedWith(r, s.Set("b", nil), syscall.EIO)
		failedWith(r, s.Sync(), syscall.EIO)
		<-time.After(10 * kvstore.DefaultSyncInterval)
		synctest.Wait()
		failedWith(r, s.ApplyAsync(ctx, batch("b", "")).Wait(ctx), syscall.EIO)
		r.want(s, "a", "1")
		failedWith(r, s.Close(), syscall.EIO)
		r.unchanged(left)
		if changes := d.changes(); len(changes) > 0 {
			t.Fatalf("the failed store has not left the disk alone: %v", changes)
		}
		r.want(r.open(), "a", "1") // acknowledged, and the process has not crashed
	})
}

// P5: a background fsync fails while Sync waits for it and a write is queued
// behind.
func TestP5BackgroundSyncFailsUnderSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.config.SyncWrites = false
		s := r.open()
		r.set(s, "a", "1")
		st := r.stall(vfs.OpSync)
		<-time.After(kvstore.DefaultSyncInterval)
		<-st.began
		r.set(s, "b", "1") // a write does not wait for a background fsync
		sync := async(s.Sync)
		r.waits(sync)
		set := async(func() error { return s.Set("c", nil) })
		r.waits(set)
		end := make(chan struct{})
		d := &disk{fails: written(vfs.OpSync), err: syscall.EIO, left: forever, seen: map[vfs.OpKind]int{}}
		r.fs.SetHook(func(op vfs.Op) error {
			<-end
			return d.hook(op)
		})
		st.release() // the first fsync succeeds; the one of Sync follows
		r.waits(sync)
		close(end)
		failedWith(r, <-sync, syscall.EIO)
		failedWith(r, <-set, syscall.EIO)
		failedWith(r, s.Close(), syscall.EIO)
		if d.failures() != 1 {
			t.Fatalf("%d fsyncs, want 1", d.failures())
		}
		r.fs.SetHook(nil)
		r.want(r.open(), "a", "1", "b", "1")
	})
}

// P5: when the store fails, all callers that wait for room in the queue get the
// error, in bounded time.
func TestP5FailureReleasesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		st := r.stall(vfs.OpWrite)
		queued := r.fill(s)
		var results []<-chan error
		for i := range 100 {
			results = append(results,
				async(func() error { return s.Set(fmt.Sprint(i), nil) }),
				async(func() error { return s.ApplyAsync(ctx, batch("a", "")).Wait(ctx) }),
				async(s.Sync))
		}
		synctest.Wait()
		r.fail(written(vfs.OpSync), syscall.EIO, forever)
		st.release()
		for _, c := range queued {
			failedWith(r, c.Wait(ctx), syscall.EIO)
		}
		for _, result := range results {
			failedWith(r, <-result, syscall.EIO)
		}
		r.want(s)
	})
}

// P5: without disk space for the next segment, the group that needs it fails
// and nothing else does. It was not written, smaller writes go on, and with
// space again everything does.
func TestP5OutOfSpace(t *testing.T) {
	for name, where := range map[string]func(vfs.Op) bool{
		"create":   reserved(vfs.OpCreate),
		"allocate": reserved(vfs.OpAllocate),
		"write":    reserved(vfs.OpWrite),
		"fsync":    reserved(vfs.OpSync),
	} {
		for _, syncWrites := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", SyncWrites ", syncWrites), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.config.SyncWrites = syncWrites
					s := r.open()
					large := strings.Repeat("x", 3000)
					d := r.fail(where, syscall.ENOSPC, forever)
					r.set(s, "large 1", large)
					synctest.Wait() // until preallocating the next segment has failed
					if d.failures() == 0 {
						t.Fatal("no segment is made ahead of time")
					}
					before := r.files()
					for range 3 {
						r.ok(s.Err()) // it has not failed
						err := s.Set("large 2", []byte(large))
						if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, kvstore.ErrFailed) {
							t.Fatalf("no space: %v", err)
						}
						r.unchanged(before) // no left-overs either
						r.want(s, "large 1", large)
					}
					r.set(s, "small 1", "1")
					r.ok(s.Delete("small 1"))
					r.set(s, "small 2", "2")
					r.ok(s.Sync())
					r.fs.SetHook(nil)
					r.set(s, "large 2", large, "small 3", "3")
					want := []string{"large 1", large, "small 2", "2", "large 2", large, "small 3", "3"}
					r.want(s, want...)
					r.groupsRise(6)
					s = r.reopenAfter(s, r.kill)
					r.want(s, want...)
					if dropped := s.Stats().Recovery.Dropped; dropped != nil {
						t.Fatalf("dropped %v", dropped)
					}
					r.want(r.reopenAfter(s, r.close), want...)
				})
			})
		}
	}
}

// P5: on a full disk, the ballast is for deletions and a snapshot. Other writes
// fail, even if they would fit, until there is room for the ballast again.
func TestP5BallastIsForDeletions(t *testing.T) {
	const segment = 64 << 10
	for _, syncWrites := range []bool{true, false} {
		r := newRig(t, kvstore.WithFirstSegmentBytes(segment))
		r.config.SyncWrites = syncWrites
		s := r.open()
		held := r.fs.Reserved(r.config.DataDir)
		if held < 4*segment {
			t.Fatalf("%d bytes are held back", held)
		}
		r.fs.RefuseReserve(true)
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpAllocate && r.fs.Reserved(r.config.DataDir) > 0 {
				return syscall.ENOSPC
			}
			return nil
		})
		large := strings.Repeat("x", 10_000)
		stored := 0
		for s.Set(fmt.Sprint("key ", stored), []byte(large)) == nil {
			stored++
		}
		if r.fs.Reserved(r.config.DataDir) == 0 {
			t.Fatal("a Set has had the ballast")
		}
		deleted := 0
		for r.fs.Reserved(r.config.DataDir) > 0 {
			r.ok(s.Delete("absent"))
			if deleted++; deleted > segment {
				t.Fatal("no deletion has needed the ballast")
			}
		}
		for range 3 {
			r.fails(s.Set("small", nil), syscall.ENOSPC)
			r.fails(s.Apply(ctx, batch("small", "")), syscall.ENOSPC)
			r.ok(s.Delete("key 0"))
			r.ok(s.Err())
		}
		r.fs.RefuseReserve(false)
		r.set(s, "small", "1")
		if got := r.fs.Reserved(r.config.DataDir); got < held {
			t.Errorf("%d bytes are held again, %d before", got, held)
		}
		r.fs.SetHook(nil)
		want := []string{"small", "1"}
		for i := 1; i < stored; i++ {
			want = append(want, fmt.Sprint("key ", i), large)
		}
		r.want(s, want...)
		r.want(r.reopenAfter(s, r.kill), want...)
	}
}

// P5: a snapshot that has no room gets the ballast, once.
func TestP5BallastIsForASnapshot(t *testing.T) {
	for _, where := range []func(vfs.Op) bool{
		snapshotOp(vfs.OpWrite), snapshotOp(vfs.OpCreate), reserved(vfs.OpAllocate), reserved(vfs.OpCreate),
	} {
		r := newRig(t, kvstore.WithFirstSegmentBytes(64<<10))
		s := r.open()
		r.set(s, "a", "1")
		r.fs.SetHook(func(op vfs.Op) error {
			if where(op) && r.fs.Reserved(r.config.DataDir) > 0 {
				return syscall.ENOSPC
			}
			return nil
		})
		r.ok(s.Snapshot(ctx))
		if s.Stats().WALBytes != 0 {
			t.Error("the snapshot has not shortened the log")
		}
		r.set(s, "b", "2") // the ballast is held again
		if r.fs.Reserved(r.config.DataDir) == 0 {
			t.Error("no ballast is held after a snapshot")
		}
		r.fs.SetHook(nil)
		r.want(r.reopenAfter(s, r.close), "a", "1", "b", "2")
		if held := r.fs.Reserved(r.config.DataDir); held == 0 {
			t.Error("a closed store holds no ballast")
		}
	}
}

// P5: an Open that fails leaves the ballast to the next one.
func TestP5FailedOpenKeepsTheBallast(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, some(60)...)
	r.close(s)
	held := r.fs.Reserved(r.config.DataDir)
	if held == 0 {
		t.Fatal("a closed store holds no ballast")
	}
	r.fs.SetHook(failing(vfs.OpAllocate, syscall.ENOSPC))
	_, err := r.tryOpen()
	r.fails(err, syscall.ENOSPC)
	if got := r.fs.Reserved(r.config.DataDir); got < held {
		t.Errorf("after an Open without room %d bytes are held, %d before", got, held)
	}
	r.fs.SetHook(failing(vfs.OpRead, syscall.EIO))
	_, err = r.tryOpen()
	r.fails(err, syscall.EIO)
	if got := r.fs.Reserved(r.config.DataDir); got < held {
		t.Errorf("after an Open that was refused %d bytes are held, %d before", got, held)
	}
}

// groupsRise checks that the log's groups are numbered from 1 to n.
func (r *rig) groupsRise(n uint64) {
	r.Helper()
	var numbers []uint64
	for _, e := range r.entries() {
		if e.op == 0x11 { // COMMIT, whose value begins with the number
			numbers = append(numbers, binary.BigEndian.Uint64([]byte(e.value)))
		}
	}
	for i, number := range numbers {
		if number != uint64(i+1) {
			r.Fatalf("groups %v in the log", numbers)
		}
	}
	if uint64(len(numbers)) != n {
		r.Fatalf("groups %v in the log, want %d", numbers, n)
	}
}

// P5: every caller in a group that finds no space gets that error.
func TestP5OutOfSpaceForAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		st := r.stall(vfs.OpSync)
		first := s.ApplyAsync(ctx, batch("first", ""))
		r.undecided(first)
		var group []*kvstore.Commit
		for i := range 10 {
			group = append(group, s.ApplyAsync(ctx, batch(fmt.Sprint(i), strings.Repeat("x", 1000))))
		}
		sync := async(s.Sync)
		synctest.Wait()
		r.fail(reserved(vfs.OpAllocate), syscall.ENOSPC, forever)
		st.release()
		r.ok(first.Wait(ctx))
		for _, c := range group {
			if err := c.Wait(ctx); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, kvstore.ErrFailed) {
				t.Fatalf("no space: %v", err)
			}
		}
		r.ok(<-sync)
		r.want(s, "first", "")
		r.set(s, "small", "")
		r.fs.SetHook(nil)
		r.set(s, "large", strings.Repeat("x", 10_000))
		r.want(s, "first", "", "small", "", "large", strings.Repeat("x", 10_000))
	})
}

// P5: without space for a large segment, one that just holds the group is
// enough.
func TestP5ShortOfSpace(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.fail(func(op vfs.Op) bool { return op.Kind == vfs.OpAllocate && op.Bytes > 4096 }, syscall.ENOSPC, forever)
	pairs := some(60)
	r.set(s, pairs...)
	r.want(s, pairs...)
	s = r.reopenAfter(s, r.kill)
	r.want(s, pairs...)
}
