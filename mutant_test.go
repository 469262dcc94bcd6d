package kvstore_test

// What planted faults (mutants/) have shown to be missing elsewhere. Each test names the promise that it is about.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
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

// P3: who has an answer sees what was written, and so does everybody else. MultiGets of many keys keep the writer from showing anything for most of
// the time, so an answer that came too early would find nothing.
func TestP3AnsweredIsVisible(t *testing.T) {
	r := newRig(t)
	s := r.open()
	many := make([]string, 300_000) // of one key that is absent
	var done atomic.Bool
	var readers sync.WaitGroup
	readers.Go(func() {
		for range 10 {
			s.MultiGet(many)
		}
		done.Store(true)
	})
	for round := 0; !done.Load(); round++ {
		want := strconv.Itoa(round)
		r.set(s, "key", want)
		if got, _ := s.Get("key"); string(got) != want {
			t.Errorf("round %d is acknowledged, and a reader sees %q", round, got)
		}
	}
	readers.Wait()
}

// P3: nothing of a write is seen or acknowledged while any one operation on its way hangs, be it the last one: its own fsync, with SyncWrites
// false its own pwrite.
func TestP3EveryOperationHangs(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		for _, value := range []string{"small", strings.Repeat("too large for the segment ", 200)} {
			for hangAt, more := int64(1), true; more; hangAt++ {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.config.SyncWrites = syncWrites
					s := r.open()
					r.set(s, "old", "1", "changed", "1")
					end := make(chan struct{})
					release := sync.OnceFunc(func() { close(end) })
					t.Cleanup(release)
					var operations atomic.Int64
					r.fs.SetHook(func(op vfs.Op) error {
						if s.Has("new") { // what comes after that prepares for later writes
							if isSegment(op.Name) && (op.Kind == vfs.OpWrite || syncWrites && op.Kind == vfs.OpSync) {
								t.Errorf("seen before %v of %s", op.Kind, op.Name)
							}
							return nil
						}
						if operations.Add(1) == hangAt {
							<-end
						}
						return nil
					})
					commit := s.ApplyAsync(ctx, batch("new", value, "changed", "2"))
					synctest.Wait()
					r.fs.SetHook(nil)
					if more = operations.Load() >= hangAt; more {
						r.undecided(commit)
						r.want(s, "old", "1", "changed", "1")
						r.lacks(s, "new")
						release()
					}
					r.ok(commit.Wait(ctx))
					r.want(s, "old", "1", "changed", "2", "new", value)
				})
			}
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
		r.set(s, "larger than the queue", string(make([]byte, 33<<20)))
		r.ok(s.Delete("larger than the queue"))
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

// reopened opens the directory, lets do write to it, and kills the process.
func reopened(t testing.TB, d directory, do ...func(*kvstore.Store)) directory {
	t.Helper()
	fs := d.mount(t)
	s := openMem(t, fs, kvstore.Config{SyncWrites: true})
	for _, do := range do {
		do(s)
	}
	fs.Kill()
	_ = s.Close() // fails: its file system is gone
	return readDirectory(fs)
}

// P3: a directory that somebody has just copied, and that the disk knows nothing of, is durable, all files of it, when Open has returned.
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

// P3: a group of several pages that is in the cache alone is rewritten, all of it: its last page, which END shares, is not enough.
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

// P3: an END that is in the cache alone, since its fsync has failed, is rewritten before a later segment is there: or that one would turn
// a missing END into damage. It lies at every place in a sector.
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

// P6: after Open, a reader that knows the roadmap's rules alone reads what the store serves, and no write of the torn group, which would
// fit behind END as if it belonged there. In the second case END and zeros are in the cache, and the disk has the torn group still.
func TestP6RoadmapReaderReadsNoTornGroup(t *testing.T) {
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

// P1, P6: the log turns over many times, with END riding with a group, and not for want of a next segment.
func TestP6OrderOfRotations(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		for _, bytes := range []int{1, 200, 1000} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.config.SyncWrites = syncWrites
				o := newOracle(func(rule string) { t.Errorf("order: %s", rule) })
				var segments atomic.Int64
				r.fs.SetHook(func(op vfs.Op) error {
					if o.happens(op); op.Kind == vfs.OpRename && strings.HasPrefix(op.Name, "wal-") {
						segments.Add(1)
					}
					return nil
				})
				s := r.open()
				for segments.Load() < 5 {
					r.set(s, "key", strings.Repeat("x", bytes))
					if syncWrites {
						o.acknowledges()
					}
					synctest.Wait() // for the next segment
				}
				r.close(s)
			})
		}
	}
}

// P3: a process dies in Close, at any operation, and the power goes in the Open after it, at any operation: what the snapshot replaces
// goes only when nothing can take the snapshot away.
func TestP3CrashInCloseThenInOpen(t *testing.T) {
	const outcomes = 4
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
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
			for round := range uint64(outcomes) {
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

// P3: a process dies in Close when the snapshot has its name, and before the directory is synced. Open sees a name there that the next power cut
// may take away, and with it all that was removed for it.
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

// closingContext is a context that closes the store when it is asked whether it has ended: after the call has found the store open, and before it
// queues its command.
type closingContext struct {
	context.Context
	close func()
}

func (c *closingContext) Err() error {
	c.close()
	return nil
}

// P10: a call that meets Close between its checks and the queue gets ErrClosed. Nobody is left who would answer it.
func TestP10CallsThatMeetClose(t *testing.T) {
	for name, apply := range map[string]func(s *kvstore.Store, closing context.Context) error{
		"Apply": func(s *kvstore.Store, closing context.Context) error { return s.Apply(closing, batch("late", "")) },
		"ApplyAsync": func(s *kvstore.Store, closing context.Context) error {
			return s.ApplyAsync(closing, batch("late", "")).Wait(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				r.set(s, "a", "1")
				closing := &closingContext{ctx, func() { r.ok(s.Close()) }}
				r.fails(apply(s, closing), kvstore.ErrClosed)
				closed(r, s)
				r.want(r.open(), "a", "1")
			})
		})
	}
}

// P10: a Close that could not write its snapshot has still made the log durable, with SyncWrites false too.
func TestP10CloseWithoutSnapshotSyncsTheLog(t *testing.T) {
	r := newRig(t)
	r.config.SyncWrites = false
	s := r.open()
	r.set(s, "a", "1", "b", "2")
	r.fail(func(op vfs.Op) bool { return strings.HasPrefix(op.Name, "snapshot-") }, syscall.ENOSPC, forever)
	failedSnapshot(r, s.Close(), syscall.ENOSPC)
	r.fs.SetHook(nil)
	r.want(r.reopenAfter(s, r.cutPower), "a", "1", "b", "2")
}

// P3: the name of a directory that Open has just made is durable, or Open fails: it may not even say that it was not allowed to look.
func TestP3NameOfNewDirectoryCannotBeSynced(t *testing.T) {
	r := newRig(t)
	r.fs.SetHook(failing(vfs.OpSyncParent, syscall.EACCES))
	_, err := r.tryOpen()
	r.fails(err, fs.ErrPermission)
	r.fs.SetHook(nil)
	r.close(r.open())
}

// P11: lengths that are off by a little are as wrong as those that are off by gigabytes.
func TestP11LengthsNearTheRightOne(t *testing.T) {
	log, _ := killed(t, kvstore.Config{SyncWrites: true})
	for tail := range 60 {
		for keyLen := range tail + 1 {
			d := directory{wal1: append(bytes.Clone(log[wal1][:53]), make([]byte, 17+tail)...)} // up to the end of the file
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

// P3: a batch that is large enough to be prepared beside its fsync is seen when that has ended, all of it, and if it fails, never.
func TestP3LargeBatchIsSeenWhenDurable(t *testing.T) {
	const keys = 1000
	large := func(value string) *kvstore.Batch {
		b := &kvstore.Batch{}
		for i := range keys {
			b.Set(fmt.Sprint(i), []byte(value))
		}
		return b
	}
	for _, cause := range []error{nil, syscall.EIO} {
		t.Run(fmt.Sprint(cause), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, kvstore.WithFirstSegmentBytes(4<<20))
				s := r.open()
				r.set(s, "old", "1")
				end := make(chan struct{})
				r.fs.SetHook(func(op vfs.Op) error {
					if written(vfs.OpSync)(op) {
						<-end
						return cause
					}
					return nil
				})
				commit := s.ApplyAsync(ctx, large("1"))
				r.undecided(commit)
				r.want(s, "old", "1")
				close(end)
				err := commit.Wait(ctx)
				if cause != nil {
					failedWith(r, err, cause)
					r.want(s, "old", "1")
					return
				}
				r.ok(err)
				r.fs.SetHook(nil) // from here on, the fsync may well be done first
				// Chance says who stages what.
				for round := range 100 {
					value := strings.Repeat(fmt.Sprint(round%10), 100+8*(round%20)) // never as long as the one before, so that each needs a new record
					r.ok(s.Apply(ctx, large(value)))
					for i := range keys {
						if got, _ := s.Get(fmt.Sprint(i)); string(got) != value {
							t.Fatalf("batch %d is acknowledged, and a reader sees %q", round, got)
						}
					}
				}
			})
		})
	}
}

// P1: with SyncWrites false, who writes much does not wait for the SyncInterval: a power cut takes little even of a busy store.
func TestP1MuchIsSyncedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kvstore.WithFirstSegmentBytes(16<<20))
		r.config.SyncWrites = false
		s := r.open()
		var syncs atomic.Int64
		r.fs.SetHook(func(op vfs.Op) error {
			if written(vfs.OpSync)(op) {
				syncs.Add(1)
			}
			return nil
		})
		large := strings.Repeat("x", 1<<20)
		r.set(s, "small", "1")
		synctest.Wait() // which lets no time go by
		if n := syncs.Load(); n != 0 {
			t.Fatalf("%d fsyncs for a few bytes", n)
		}
		for n := range int64(3) {
			r.set(s, "large", large)
			synctest.Wait()
			if got := syncs.Load(); got != n+1 {
				t.Fatalf("%d fsyncs after %d MiB", got, n+1)
			}
		}
		r.want(r.reopenAfter(s, r.cutPower), "small", "1", "large", large)
	})
}

// P10: the writer goes on though callers that it waits for do not come back.
func TestP10NobodyIsWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpSync {
				<-time.After(10 * time.Millisecond) // or waiting would not be worth it
			}
			return nil
		})
		for range 5 {
			inFront := async(func() error { return s.Set("in front", nil) })
			synctest.Wait()
			a, b := async(func() error { return s.Set("a", nil) }), async(func() error { return s.Set("b", nil) })
			r.ok(<-inFront)
			r.ok(<-a)
			r.ok(<-b) // one group, of two callers
			r.ok(s.Sync())
		}
		r.close(s)
	})
}

// P9: a large batch that could not be written is its caller's again when Apply returns, though a goroutine was staging it: for the race
// detector.
func TestP9FailedBatchesAreNotStaged(t *testing.T) {
	const keys = 10_000
	for range 5 {
		r := newRig(t, kvstore.WithFirstSegmentBytes(4<<20))
		s := r.open()
		b := &kvstore.Batch{}
		for i := range keys {
			b.Set(fmt.Sprint(i), []byte("value"))
		}
		r.fail(written(vfs.OpWrite), syscall.EIO, 1)
		failedWith(r, s.Apply(ctx, b), syscall.EIO)
		r.fails(s.Apply(ctx, b), kvstore.ErrFailed) // the same memory, encoded again
		r.fails(s.Close(), kvstore.ErrFailed)
	}
}

// One processor makes groups of all callers there are, not of as many as had their turn while the writer looked for them.
func TestOneProcessorMakesLargeGroups(t *testing.T) {
	const callers, turns = 500, 20
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r := newRig(t, kvstore.WithFirstSegmentBytes(16<<20))
	s := r.open()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for range turns {
				if err := s.Set(fmt.Sprint(c), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if groups := s.Stats().Groups; groups > callers*turns/20 {
		t.Errorf("%d callers write %d times each, in %d groups", callers, turns, groups)
	}
	r.close(s)
}

// P2, P6: so many writes that recovery applies them in several pieces, each while it reads the next one.
func TestP6ManyOperationsAreReplayedInOrder(t *testing.T) {
	const rounds, keys = 20, 10_000
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
	if got := s.Stats().Recovery.Entries; got != rounds*keys {
		t.Fatalf("%d entries are replayed, want %d", got, rounds*keys)
	}
	if !maps.Equal(state(s), want) {
		t.Fatal("the writes are not replayed in their order")
	}
}
