package kvstore_test

// This file is about calls on their way to the writer and back: contexts, the
// bounded queue, Commit and Sync, and callers that meet in a group.

import (
	"context"
	"errors"
	"fmt"
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
	"kvstore/internal/testseed"
	"kvstore/internal/tuning"
	"kvstore/internal/vfs"
)

func TestContextEndedBefore(t *testing.T) {
	r := newRig(t)
	s := r.open()
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancel()
	before := r.files()
	for ended, want := range map[context.Context]error{canceled: context.Canceled, late: context.DeadlineExceeded} {
		for range 100 {
			r.fails(s.Apply(ended, batch("a", "")), want)
			r.fails(s.ApplyAsync(ended, batch("a", "")).Wait(ctx), want)
		}
	}
	r.ok(s.Sync())
	r.want(s)
	r.unchanged(before)
}

// If the context ends while a call waits for room in the queue, the call
// returns at once and has no effect.
func TestContextEndedInTheQueue(t *testing.T) {
	for name, apply := range map[string]func(s *kvstore.Store, ctx context.Context) error{
		"Apply": func(s *kvstore.Store, ctx context.Context) error { return s.Apply(ctx, batch("a", "")) },
		"ApplyAsync": func(s *kvstore.Store, short context.Context) error {
			return s.ApplyAsync(short, batch("a", "")).Wait(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				st := r.stall(vfs.OpWrite)
				queued := r.fill(s)
				canceled, cancel := context.WithCancel(ctx)
				result := async(func() error { return apply(s, canceled) })
				r.waits(result)
				cancel()
				r.fails(<-result, context.Canceled)

				timeout, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				started := time.Now()
				r.fails(apply(s, timeout), context.DeadlineExceeded)
				if waited := time.Since(started); waited != time.Minute {
					t.Fatalf("waited %v", waited)
				}
				patient := async(func() error { return s.Set("patient", nil) }) // the others have left
				r.waits(patient)
				r.undecided(queued[0])
				st.release()
				for _, c := range queued {
					r.ok(c.Wait(ctx))
				}
				r.ok(<-patient)
				r.want(s, "full", "", "patient", "")
			})
		})
	}
}

// If the context ends while the write is under way, Apply returns at once, and
// the write happens anyway.
func TestContextEndedDuringTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		st := r.stall(vfs.OpSync)
		for i, end := range []func(context.CancelFunc){
			func(cancel context.CancelFunc) { cancel() },
			func(context.CancelFunc) { <-time.After(time.Hour) },
		} {
			short, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			key := fmt.Sprint("apply ", i) // the first one hangs in its fsync, the second one in the queue
			result := async(func() error { return s.Apply(short, batch(key, "")) })
			r.waits(result)
			end(cancel)
			synctest.Wait()
			select {
			case err := <-result:
				r.fails(err, short.Err())
			default:
				t.Fatal("Apply waits for the disk, though its context has ended")
			}
		}
		short, cancel := context.WithCancel(ctx)
		commit := s.ApplyAsync(short, batch("async", ""))
		cancel() // has no effect any more
		r.undecided(commit)
		r.want(s)
		st.release()
		r.ok(commit.Wait(ctx))
		r.want(s, "apply 0", "", "apply 1", "", "async", "")
	})
}

func TestCommitWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		st := r.stall(vfs.OpSync)
		commit := s.ApplyAsync(ctx, batch("a", ""))
		ended, cancel := context.WithCancel(ctx)
		cancel()
		r.fails(commit.Wait(ended), context.Canceled)
		timeout, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		r.fails(commit.Wait(timeout), context.DeadlineExceeded)
		var waiters []<-chan error
		for range 100 {
			waiters = append(waiters, async(func() error { return commit.Wait(ctx) }))
		}
		for _, w := range waiters {
			r.waits(w)
		}
		r.undecided(commit)
		st.release()
		for _, w := range waiters {
			r.ok(<-w)
		}
		<-commit.Done()
		for range 100 { // a select with two ready cases would take the wrong one
			r.ok(commit.Wait(ended))
		}
		r.want(s, "a", "")

		r.fs.SetHook(failing(vfs.OpSync, syscall.EIO))
		commit = s.ApplyAsync(ctx, batch("b", ""))
		<-commit.Done() // closed when the store fails too
		for range 100 {
			r.fails(commit.Wait(ended), kvstore.ErrFailed)
		}
		if c := s.ApplyAsync(ctx, &kvstore.Batch{}); c == nil || c.Done() == nil {
			t.Fatal("no Commit of an empty batch")
		}
	})
}

// Sync returns when every write that was accepted before it is durable.
func TestSyncIsABarrier(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		t.Run(fmt.Sprint("SyncWrites ", syncWrites), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.config.SyncWrites = syncWrites
				s := r.open()
				r.ok(s.Sync()) // of nothing
				st := r.stall(vfs.OpSync)
				var pairs []string
				for i := range 30 { // over several groups and segments
					pairs = append(pairs, fmt.Sprint(i), strings.Repeat("x", 1000))
					commit := s.ApplyAsync(ctx, batch(pairs[len(pairs)-2:]...))
					if i == 0 && syncWrites {
						r.undecided(commit)
					}
				}
				first, second := async(s.Sync), async(s.Sync)
				r.waits(first)
				r.waits(second)
				st.release()
				r.ok(<-first)
				r.ok(<-second)
				r.want(s, pairs...)
				r.want(r.reopenAfter(s, r.cutPower), pairs...)
			})
		})
	}
}

// A stalled disk blocks writers, not readers. The memory of blocked writers
// does not grow with their data: the queue is bounded by bytes and exerts
// backpressure. When the disk comes back, all of them succeed.
func TestStalledDiskBoundsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, valueBytes = 2000, 40 << 10 // 78 MiB, of which the queue takes 32
		r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
		s := r.open()
		r.set(s, "a", "1")
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		value := make([]byte, valueBytes) // they share it
		st := r.stall(vfs.OpWrite)
		before := heap()
		var results []<-chan error
		for i := range writers {
			results = append(results, async(func() error { return s.Set(fmt.Sprint(i%100), value) }))
		}
		synctest.Wait()
		if grown := int64(heap() - before); grown > 64<<20 {
			t.Errorf("%d waiting writers take %d MiB", writers, grown>>20)
		}
		r.want(s, "a", "1")
		if raceEnabled { // which takes ten seconds to write all that
			r.fs.Kill()
			st.release()
			for _, result := range results {
				r.fails(<-result, kvstore.ErrFailed)
			}
			r.want(s, "a", "1")
			return
		}
		st.release()
		for _, result := range results {
			r.ok(<-result)
		}
		if s.Len() != 101 {
			t.Fatalf("%d keys", s.Len())
		}
	})
}

// P10: every kind of command returns its room in the queue, however it ends.
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
		for range fewerRounds(10) {
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

// P1, P10: in groups of all sizes, with callers that relay answers and callers
// that cannot, every caller is notified exactly once: after its group's sync
// and before the next sync ends, of a failure too, and while the store is being
// closed.
func TestP1EverybodyIsToldOnce(t *testing.T) {
	for _, last := range []string{"EIO 40", "EIO 200", "Close 40", "Close 200"} {
		t.Run(last, func(t *testing.T) {
			seed := testseed.New(t)
			synctest.Test(t, func(t *testing.T) { everybodyIsTold(t, rand.New(rand.NewPCG(seed, 0)), last) })
		})
	}
}

func everybodyIsTold(t *testing.T, rng *rand.Rand, last string) {
	r := newRig(t, kvstore.WithFirstSegmentBytes(4<<20))
	s := r.open()
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	var told atomic.Int64
	// write makes a small write of some kind. attended means that the caller
	// waits for its answer, come what may.
	write := func(kind int, attended bool) error {
		defer told.Add(1)
		switch {
		case !attended && kind%4 == 0:
			return s.Apply(short, batch("key", ""))
		case !attended && kind%4 == 1:
			return s.ApplyAsync(ctx, batch("key", "")).Wait(ctx)
		case !attended && kind%4 == 2:
			return s.Do(short, addOne("n"))
		case !attended:
			return s.DoAsync(ctx, addOne("n")).Wait(ctx)
		case kind%6 == 0:
			return s.Delete("key")
		case kind%6 == 1:
			_, err := s.CompareAndSwap("key", []byte("what it has not"), nil)
			return err
		case kind%6 == 2:
			return s.Apply(ctx, batch("key", ""))
		case kind%6 == 3:
			_, err := s.Add("n", 1)
			return err
		case kind%6 == 4:
			return s.Do(ctx, addOne("n"))
		}
		return s.Set("key", nil)
	}
	// group makes n callers meet in a group. Each of them then makes some more
	// writes.
	group := func(n, more int, mixed bool, failure error, queued func()) {
		t.Helper()
		before := told.Load()
		var seen []int64 // answers at the end of the first sync, and of the group's
		r.fs.SetHook(func(op vfs.Op) error {
			if !written(vfs.OpSync)(op) || len(seen) == 2 {
				return nil
			}
			<-time.After(time.Millisecond) // until all goroutines wait for something
			if seen = append(seen, told.Load()-before); len(seen) == 2 {
				return failure
			}
			return nil
		})
		inFront := async(func() error { return write(5, true) })
		r.waits(inFront)
		results := make(chan error, n)
		for i := range n {
			kind := rng.Int()
			go func() {
				err := write(kind, !mixed || i%5 > 0)
				for j := range more {
					err = errors.Join(err, write(kind+j+1, !mixed || (i+j)%50 > 0))
				}
				results <- err
			}()
		}
		queued()
		r.ok(<-inFront)
		for range n {
			if err := <-results; !errors.Is(err, failure) {
				t.Fatalf("%d callers: %v, want %v", n, err, failure)
			}
		}
		if want := []int64{0, 1}; more == 0 && failure == nil && n > 2 && !slices.Equal(seen, want) {
			t.Fatalf("%d callers: at the end of syncs, %v have been told, want %v", n, seen, want)
		}
	}
	sizes := []int{1, 1, 1, 2, 31, 32, 40, 40, 64, 100, 160, 161, 200, 256, 384, 385, 600}
	sizes = append(sizes, sizes...) // commands are used again
	rng.Shuffle(len(sizes), func(i, j int) { sizes[i], sizes[j] = sizes[j], sizes[i] })
	for _, n := range sizes {
		group(n, rng.IntN(2)*rng.IntN(4), rng.IntN(3) == 0, nil, func() {})
	}
	how, number, _ := strings.Cut(last, " ")
	n, err := strconv.Atoi(number)
	r.ok(err)
	if how == "EIO" {
		group(n, 0, false, syscall.EIO, func() {})
		return
	}
	var closing <-chan error
	group(n, 0, false, nil, func() {
		synctest.Wait() // until all of the group is queued
		closing = async(s.Close)
	})
	r.ok(<-closing)
}

// P10: the writer goes on even if the callers that it waits for do not return.
func TestP10NobodyIsWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpSync {
				<-time.After(10 * time.Millisecond) // a shorter sync would not be worth waiting for
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

// On one processor a group contains all callers that there are, not only those
// that had their turn while the writer looked for them.
func TestOneProcessorMakesLargeGroups(t *testing.T) {
	const callers, turns = 500, 20
	if !tuning.Handoff {
		t.Skip("the handoff is switched off")
	}
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
