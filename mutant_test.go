package kvstore_test

// What planted faults (mutants/) have shown to be missing elsewhere. Each test names the promise that it is about.

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/vfs"
)

// P3: who has an answer can read what was written: the group is applied before anybody in it is told. Large batches, so that there is
// time between the two if they are the wrong way round.
func TestP3AnsweredIsVisible(t *testing.T) {
	const writes = 2000
	r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
	r.config.SyncWrites = false
	s := r.open()
	b := &kvstore.Batch{}
	for round := range 50 {
		b.Reset()
		want := fmt.Append(nil, round)
		for i := range writes {
			b.Set(fmt.Sprint(i), want)
		}
		c := s.ApplyAsync(ctx, b)
		for done := false; !done; { // not asleep when it comes
			select {
			case <-c.Done():
				done = true
			default:
			}
		}
		if got, _ := s.Get(fmt.Sprint(writes - 1)); !bytes.Equal(got, want) {
			t.Fatalf("round %d is acknowledged, and a reader sees %q", round, got)
		}
	}
}

// P5: all that goes into a segment goes into the space that was reserved for it, its END too: so a disk that runs full fails
// a reservation and nothing else. Groups end at every distance from the end of the space.
func TestP5NoWriteBeyondTheReservedSpace(t *testing.T) {
	const segment, header, overhead = 4096, 53, 21 + 53 // of a Set: its entry and COMMIT
	for _, large := range []bool{false, true} {         // one that takes all of its segment, one that gets a larger one for itself
		for left := range 100 {
			r := newRig(t)
			var mu sync.Mutex
			reserved := map[string]int64{}
			r.fs.SetHook(func(op vfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				name := strings.TrimSuffix(op.Name, ".tmp")
				if op.Kind == vfs.OpAllocate {
					reserved[name] = int64(op.Bytes)
				}
				if end := op.Offset + int64(op.Bytes); op.Kind == vfs.OpWrite && strings.HasPrefix(name, "wal-") && end > reserved[name] {
					t.Errorf("a group that leaves %d bytes: %s is written up to %d, and %d are reserved", left, name, end, reserved[name])
				}
				return nil
			})
			s := r.open()
			value := strings.Repeat("x", segment-header-overhead-len("k")-left)
			if large {
				value += strings.Repeat("y", 4*segment)
			}
			r.set(s, "k", value, "next", value, "last", "")
			r.close(s)
			if t.Failed() {
				return
			}
			r.want(r.open(), "k", value, "next", value, "last", "")
		}
	}
}

// P5, P6: a rotation waits for the background fsync: the kernel reports an error to one of two that overlap, and END must not
// be written behind groups whose fsync has failed.
func TestP5RotationUnderBackgroundSync(t *testing.T) {
	for _, cause := range []error{nil, syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.config.SyncWrites = false
			s := r.open()
			r.set(s, "a", "1")
			began, end := make(chan struct{}), make(chan struct{})
			var syncs atomic.Int64
			r.fs.SetHook(func(op vfs.Op) error {
				if !written(vfs.OpSync)(op) {
					return nil
				}
				if syncs.Add(1) == 1 {
					close(began)
					<-end
					return cause
				}
				return nil
			})
			<-time.After(kvstore.DefaultSyncInterval)
			<-began
			large := async(func() error { return s.Set("large", make([]byte, 5000)) })
			r.waits(large)
			if n := syncs.Load(); n != 1 {
				t.Errorf("%d fsyncs of a file at once", n)
			}
			close(end)
			if cause == nil {
				r.ok(<-large)
				r.close(s)
				return
			}
			failedWith(r, <-large, cause)
			if n := syncs.Load(); n != 1 {
				t.Errorf("%d fsyncs of a file of which one has failed", n)
			}
			failedWith(r, s.Close(), cause)
			r.fs.SetHook(nil)
			r.want(r.open(), "a", "1")
		})
	}
}

// P10: every kind of command gives back the room that it took in the queue, however it ends.
func TestP10QueueKeepsItsSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		room := func() int {
			st := r.stall(vfs.OpWrite)
			queued := r.fill(s)
			st.release()
			for _, c := range queued {
				r.ok(c.Wait(ctx))
			}
			return len(queued)
		}
		before := room()
		for range 10 {
			r.set(s, "a", "1")
			r.ok(s.Delete("a"))
			r.ok(s.Apply(ctx, batch("a", "1", "b", strings.Repeat("x", 10_000))))
			r.ok(s.ApplyAsync(ctx, batch("c", "")).Wait(ctx))
			r.ok(s.Sync())
			r.fails(s.Set(strings.Repeat("k", kvstore.MaxKeyBytes+1), nil), kvstore.ErrKeyTooLarge)
			r.fs.SetHook(failing(vfs.OpAllocate, syscall.ENOSPC))
			r.fails(s.Set("large", make([]byte, 8<<20)), syscall.ENOSPC)
			r.fs.SetHook(nil)
		}
		if after := room(); after != before {
			t.Fatalf("there is room for %d commands, before there was for %d", after, before)
		}
	})
}

// putNotDurable writes a file as cp does: nothing of it is synced but, if whole is set, its bytes.
func putNotDurable(t testing.TB, fs *vfs.Mem, name string, data []byte, whole bool) {
	t.Helper()
	dir, err := fs.OpenDir(recoveryDir)
	if err != nil {
		t.Fatal(err)
	}
	file, err := dir.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if whole {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close(), dir.Close()); err != nil {
		t.Fatal(err)
	}
}

// keysOf opens the directory and returns how many keys it has.
func keysOf(t testing.TB, fs *vfs.Mem) (*kvstore.Store, int) {
	t.Helper()
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	return s, s.Len()
}

// P3: a directory that somebody has just copied, and that the disk knows nothing of, is durable, all files of it, when Open has returned.
func TestP3OpenMakesACopyDurable(t *testing.T) {
	log, _ := killed(t, kvstore.Config{SyncWrites: true})
	for name, d := range map[string]directory{
		"one segment": log, "several segments": rotatedDirectory(t), "a snapshot": closedDirectory(t, log),
		"a snapshot and a segment": afterSnapshot(t, closedDirectory(t, log)),
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

// P6: a power cut at any operation of an Open is harmless, even if the name of the newest segment was not durable when it began: that
// name is, before a later one is there.
func TestP6NamesAreDurableInTheirOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := rotatedDirectory(t)
	newest := slices.Max(slices.Collect(maps.Keys(d)))
	older := d.clone()
	delete(older, newest)
	for cutAt := int64(1); ; cutAt++ {
		done := false
		for round := range uint64(20) {
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

// P6: a segment is missing, and no group behind it tells: the one that follows is empty.
func TestP6GapBeforeAnEmptySegment(t *testing.T) {
	log, _ := killed(t, kvstore.Config{SyncWrites: true})
	fs := log.mount(t)
	for i := range 2 {
		s := openMem(t, fs, kvstore.Config{SyncWrites: true})
		if i == 0 {
			setKey(t, s, recoveryKeys)
		}
		fs.Kill()
		_ = s.Close() // fails: its file system is gone
	}
	d := readDirectory(fs) // groups and END, a group and END, nothing
	if len(d) != 3 {
		t.Fatalf("files %q", slices.Sorted(maps.Keys(d)))
	}
	d.clone().opens(t, recoveryKeys+1, 0)
	for _, name := range []string{wal1, wal2} {
		gap := d.clone()
		delete(gap, name)
		gap.refused(t, kvstore.ErrCorrupt)
	}
	closed := afterSnapshot(t, closedDirectory(t, log)) // a snapshot, and a segment that follows it
	fs = closed.mount(t)
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	fs.Kill()
	_ = s.Close() // fails: its file system is gone
	d = readDirectory(fs)
	delete(d, wal2)
	if len(d) != 2 || d[wal3] == nil {
		t.Fatalf("files %q", slices.Sorted(maps.Keys(d)))
	}
	d.refused(t, kvstore.ErrCorrupt)
}
