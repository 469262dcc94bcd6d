package kvstore_test

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
	"kvstore/internal/vfs"
)

// This file is about what is durable (P1), in what order (P2), when it is seen (P3), and how (P4); and about who waits: contexts, Commit, Sync, a
// stalled disk.

// some returns pairs of keys and values, of enough bytes to fill several segments.
func some(n int) []string {
	var pairs []string
	for i := range n {
		pairs = append(pairs, fmt.Sprintf("key %03d", i), strings.Repeat(fmt.Sprint(i, " "), 100))
	}
	return pairs
}

func TestP1AcknowledgedIsDurable(t *testing.T) {
	for name, end := range map[string]func(r *rig) func(*kvstore.Store){
		"close":     func(r *rig) func(*kvstore.Store) { return r.close },
		"kill":      func(r *rig) func(*kvstore.Store) { return r.kill },
		"power cut": func(r *rig) func(*kvstore.Store) { return r.cutPower },
	} {
		t.Run(name, func(t *testing.T) {
			strict := newRig(t)
			random, _ := newRandomRig(t)
			for _, r := range []*rig{strict, random} {
				s := r.open()
				pairs := some(60)
				r.set(s, pairs...)
				s = r.reopenAfter(s, end(r))
				r.want(s, pairs...)
				r.set(s, pairs[0], "changed") // twice, so that the second session's log counts too
				r.ok(s.Delete(pairs[2]))
				pairs[1] = "changed"
				pairs = slices.Delete(pairs, 2, 4)
				s = r.reopenAfter(s, end(r))
				r.want(s, pairs...)
				r.want(r.reopenAfter(s, r.cutPower), pairs...) // what Open serves is durable
			}
		})
	}
}

// P1: with SyncWrites false an acknowledged write survives the process, and a power cut once a Sync came after it.
func TestP1WithoutSyncWrites(t *testing.T) {
	r := newRig(t)
	r.config.SyncWrites = false
	s := r.open()
	pairs := some(60)
	r.set(s, pairs...)
	s = r.reopenAfter(s, r.kill)
	r.want(s, pairs...)
	r.want(r.reopenAfter(s, r.cutPower), pairs...) // Open has made durable what it serves

	s = r.reopenAfter(s, r.kill)
	r.set(s, "synced", "")
	r.ok(s.Sync())
	r.set(s, "lost", "") // by this strict disk; or else nothing is proven here
	s = r.reopenAfter(s, r.cutPower)
	r.want(s, append(pairs, "synced", "")...)
	r.set(s, "closed", "")
	r.close(s)
	r.want(r.reopenAfter(s, r.cutPower), append(pairs, "synced", "", "closed", "")...)
}

// P1: with SyncWrites false the log is fsynced every SyncInterval, without anybody calling, and an idle store leaves the disk alone.
func TestP1SyncInterval(t *testing.T) {
	for config, interval := range map[time.Duration]time.Duration{
		0: kvstore.DefaultSyncInterval, time.Second: time.Second, time.Minute: time.Minute,
	} {
		t.Run(fmt.Sprint(config), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.config.SyncWrites, r.config.SyncInterval = false, config
				s := r.open()
				var syncs atomic.Int64
				r.fs.SetHook(func(op vfs.Op) error {
					if op.Kind == vfs.OpSync {
						syncs.Add(1)
					}
					return nil
				})
				after := func(d time.Duration) {
					<-time.After(d)
					synctest.Wait()
				}
				after(10 * interval)
				if n := syncs.Load(); n != 0 {
					t.Fatalf("%d fsyncs of nothing", n)
				}
				for i := range 3 {
					r.set(s, fmt.Sprint(i), "")
					after(interval)
					if n := syncs.Load(); n != int64(i+1) {
						t.Fatalf("%d fsyncs in %d intervals with writes", n, i+1)
					}
				}
				after(10 * interval)
				if n := syncs.Load(); n != 3 {
					t.Fatalf("%d fsyncs of nothing", n-3)
				}
				r.set(s, "lost", "")
				r.want(r.reopenAfter(s, r.cutPower), "0", "", "1", "", "2", "")
			})
		})
	}
}

// P2: one goroutine's calls commit in their order, with others in between.
func TestP2CallOrder(t *testing.T) {
	const callers, calls = 4, 150
	r := newRig(t)
	s := r.open()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			var last *kvstore.Commit
			b := &kvstore.Batch{}
			for call := range calls {
				b.Reset()
				for range 1 + call%3 {
					b.Set(fmt.Sprint("last of ", caller), fmt.Appendf(nil, "%d", call))
				}
				if call%10 == 5 {
					if err := s.Apply(ctx, b); err != nil {
						t.Error(err)
					}
					continue
				}
				last = s.ApplyAsync(ctx, b)
			}
			if err := last.Wait(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	last := map[string]int{}
	for caller := range callers {
		last[fmt.Sprint("last of ", caller)] = -1
	}
	for _, e := range r.writes() {
		call, err := strconv.Atoi(e.value)
		r.ok(err)
		if call != last[e.key] && call != last[e.key]+1 { // a batch has several writes
			t.Fatalf("%s: call %d after call %d", e.key, call, last[e.key])
		}
		last[e.key] = call
	}
	for key, call := range last {
		if got, _ := s.Get(key); call != calls-1 || string(got) != strconv.Itoa(call) {
			t.Fatalf("%s: call %d is the last in the log, %s the last one seen", key, call, got)
		}
	}
}

// P2: what a power cut leaves is a prefix of the commits, batches whole, with all that were acknowledged.
func TestP2PrefixSurvives(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		t.Run(fmt.Sprint("SyncWrites ", syncWrites), func(t *testing.T) {
			r, rng := newRandomRig(t)
			for range 40 {
				r.fs = vfs.NewMem(rng.IntN)
				r.config.SyncWrites = syncWrites
				s := r.open()
				cutAt := int64(20 + rng.IntN(100))
				var operations atomic.Int64
				r.fs.SetHook(func(vfs.Op) error {
					if operations.Add(1) == cutAt {
						r.fs.PowerCut()
					}
					return nil
				})
				var commits []*kvstore.Commit
				for i := range 200 {
					commits = append(commits, s.ApplyAsync(ctx, batch(fmt.Sprint("a ", i), strings.Repeat("v", i), fmt.Sprint("b ", i), "")))
				}
				acknowledged := 0
				for _, c := range commits {
					if c.Wait(ctx) == nil {
						acknowledged++
					}
				}
				_ = s.Close()
				r.fs.SetHook(nil)
				s = r.open()
				n := s.Len() / 2
				if syncWrites && n < acknowledged {
					t.Fatalf("%d of %d acknowledged commits survive", n, acknowledged)
				}
				var want []string
				for i := range n {
					want = append(want, fmt.Sprint("a ", i), strings.Repeat("v", i), fmt.Sprint("b ", i), "")
				}
				r.want(s, want...)
				r.close(s)
			}
		})
	}
}

// P3: nothing of a write is seen or acknowledged while any I/O on its way hangs, and no reader waits for it. Every operation of a
// group with a rotation hangs in turn.
func TestP3OnlyDurableDataIsVisible(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		kinds := []vfs.OpKind{vfs.OpCreate, vfs.OpAllocate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir}
		for _, kind := range kinds {
			t.Run(fmt.Sprint(kind, ", SyncWrites ", syncWrites), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.config.SyncWrites = syncWrites
					s := r.open()
					r.set(s, "old", "1", "deleted", "1", "changed", "1")
					st := r.stall(kind)
					b := batch("new", strings.Repeat("x", 5000), "changed", "2") // too large for the segment
					b.Delete("deleted")
					commit := s.ApplyAsync(ctx, b)
					set := async(func() error { return s.Set("set", nil) })
					for range 3 {
						r.undecided(commit)
						r.waits(set)
						r.want(s, "old", "1", "deleted", "1", "changed", "1")
						r.lacks(s, "new", "set")
					}
					if got := s.Stats(); got.Keys != 3 || got.Commits != 3 {
						t.Fatalf("Stats show what nobody may see: %+v", got)
					}
					st.release()
					r.ok(commit.Wait(ctx))
					r.ok(<-set)
					r.want(s, "old", "1", "changed", "2", "new", strings.Repeat("x", 5000), "set", "")
				})
			})
		}
	}
}

// P3, at every operation of a long history: whatever a reader can see when the power goes is there afterwards.
func TestP3WhatWasSeenSurvives(t *testing.T) {
	r, rng := newRandomRig(t)
	pairs := some(30)
	for cutAt := int64(1); ; cutAt++ {
		r.fs = vfs.NewMem(rng.IntN)
		s := r.open()
		var operations atomic.Int64
		var seen int
		r.fs.SetHook(func(vfs.Op) error {
			if operations.Add(1) == cutAt {
				seen = s.Len() // by the writer itself, while it waits for the disk
				r.fs.PowerCut()
			}
			return nil
		})
		done := true
		for i := 0; i < len(pairs); i += 2 {
			done = done && s.Set(pairs[i], []byte(pairs[i+1])) == nil
		}
		_ = s.Close()
		r.fs.SetHook(nil)
		s = r.open()
		if s.Len() < seen {
			t.Fatalf("power cut at operation %d: %d keys were seen, %d are left", cutAt, seen, s.Len())
		}
		r.close(s)
		if done {
			break
		}
	}
}

// P4: once any read has shown a batch, every later one of any kind shows all of it, and all before it. Batch n writes n under some
// keys, adds one more key, and replaces another one.
func TestP4BatchesAreSeenWhole(t *testing.T) {
	const keys, commits = 20, 2000
	for _, syncWrites := range []bool{true, false} {
		t.Run(fmt.Sprint("SyncWrites ", syncWrites), func(t *testing.T) {
			r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
			r.config.SyncWrites = syncWrites
			s := r.open()
			b := &kvstore.Batch{}
			commit := func(n int) *kvstore.Commit {
				b.Reset()
				b.Set(fmt.Sprint("grow ", n), nil)
				b.Delete(fmt.Sprint("only ", n-1))
				b.Set(fmt.Sprint("only ", n), nil)
				for i := range keys {
					b.Set(fmt.Sprint("number ", i), fmt.Appendf(nil, "%d", n))
				}
				return s.ApplyAsync(ctx, b)
			}
			r.ok(commit(1).Wait(ctx))
			var done atomic.Bool
			var readers sync.WaitGroup
			for range 4 {
				readers.Go(func() { followCommits(t, s, keys, &done) })
			}
			var last *kvstore.Commit
			for n := 2; n <= commits; n++ {
				last = commit(n)
				if n%20 == 0 { // so that groups are of one batch and of many
					<-last.Done()
				}
			}
			r.ok(last.Wait(ctx))
			done.Store(true)
			readers.Wait()
			if s.Len() != keys+1+commits {
				t.Fatalf("%d keys", s.Len())
			}
		})
	}
}

// followCommits is a reader of TestP4BatchesAreSeenWhole: each read tells which batch is the last, and none may tell of an earlier
// one than the read before.
func followCommits(t *testing.T, s *kvstore.Store, keys int, done *atomic.Bool) {
	var buf []byte
	number := func(value []byte) int {
		n, _ := strconv.Atoi(string(value))
		return n
	}
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprint("number ", i)
	}
	for seen, turn := 1, 0; !done.Load(); turn++ {
		n, how := 0, turn%40
		switch {
		case how == 0:
			shown := s.Keys()
			n = len(shown) - keys - 1
			if !slices.Contains(shown, fmt.Sprint("only ", n)) {
				t.Errorf("%d keys, but not the one of batch %d", len(shown), n)
				return
			}
		case how%8 == 4:
			values := s.MultiGet(names)
			n = number(values[turn%keys])
			for i, value := range values {
				if number(value) != n {
					t.Errorf("MultiGet shows batch %d in %s and batch %d in another", number(value), names[i], n)
					return
				}
			}
		case how%4 == 1:
			n = s.Len() - keys - 1
		case how%4 == 2:
			for n = seen; s.Has(fmt.Sprint("grow ", n+1)); {
				n++
			}
		case how%4 == 3:
			value, _ := s.Get(fmt.Sprint("number ", turn%keys))
			n = number(value)
		default:
			buf, _ = s.AppendGet(buf[:0], fmt.Sprint("number ", turn%keys))
			n = number(buf)
		}
		if n < seen {
			t.Errorf("read of kind %d shows batch %d after another showed %d", how, n, seen)
			return
		}
		seen = n
		runtime.Gosched() // or the writer gets a processor every 10 ms only
	}
}

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

// A context that ends while its call waits for room in the queue: the call returns at once and has no effect.
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
				patient := async(func() error { return s.Set("patient", nil) }) // is not held up by those who left
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

// A context that ends while the write is under way: Apply returns at once, and what it has begun happens anyway.
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
		cancel() // of no influence any more
		r.undecided(commit)
		r.want(s)
		st.release()
		r.ok(commit.Wait(ctx))
		r.want(s, "apply 0", "", "apply 1", "", "async", "")
	})
}

// P2: a write that its caller does not wait for is ahead of that caller's next one, though a small one could go along with what somebody else has
// queued before both.
func TestP2NobodyOvertakesHimself(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // all meet in one lane
	large := strings.Repeat("first", 1000)
	for name, begin := range map[string]func(s *kvstore.Store, ended context.Context) error{
		"ApplyAsync": func(s *kvstore.Store, _ context.Context) error {
			s.ApplyAsync(ctx, batch("key", large))
			return nil
		},
		"Apply": func(s *kvstore.Store, ended context.Context) error { return s.Apply(ended, batch("key", large)) },
		"Update": func(s *kvstore.Store, ended context.Context) error {
			return s.Update(ended, func(tx *kvstore.Tx) error {
				tx.Set("key", []byte(large))
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				st := r.stall(vfs.OpSync)
				inFront := async(func() error { return s.Set("in the sync", nil) })
				r.waits(inFront)
				queued := async(func() error { return s.Set("queued", nil) })
				r.waits(queued)
				short, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				if err := begin(s, short); err != nil {
					r.fails(err, context.DeadlineExceeded)
				}
				second := async(func() error { return s.Set("key", []byte("second")) })
				r.waits(second)
				st.release()
				for _, result := range []<-chan error{inFront, queued, second} {
					r.ok(<-result)
				}
				r.want(s, "in the sync", "", "queued", "", "key", "second")
				r.close(s)
			})
		})
	}
}

// P1, P10: in groups of all sizes, with callers who tell each other and those who cannot, everybody is told once: after the group's sync, before the next one
// ends, of a failure too, and while the store is being closed.
func TestP1EverybodyIsToldOnce(t *testing.T) {
	for _, last := range []string{"EIO 40", "EIO 200", "Close 40", "Close 200"} {
		t.Run(last, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
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
	// write makes a small write of some kind; attended is whether it waits for its answer, come what may.
	write := func(kind int, attended bool) error {
		defer told.Add(1)
		switch {
		case !attended && kind%2 == 0:
			return s.Apply(short, batch("key", ""))
		case !attended:
			return s.ApplyAsync(ctx, batch("key", "")).Wait(ctx)
		case kind%4 == 0:
			return s.Delete("key")
		case kind%4 == 1:
			_, err := s.CompareAndSwap("key", []byte("what it has not"), nil)
			return err
		case kind%4 == 2:
			return s.Apply(ctx, batch("key", ""))
		}
		return s.Set("key", nil)
	}
	// group has a group of n callers written, each of whom then makes some writes more.
	group := func(n, more int, mixed bool, failure error, queued func()) {
		t.Helper()
		before := told.Load()
		var seen []int64 // how many have been told when a sync ends, the first one and that of the group
		r.fs.SetHook(func(op vfs.Op) error {
			if !written(vfs.OpSync)(op) || len(seen) == 2 {
				return nil
			}
			time.Sleep(time.Millisecond) // until everybody waits for something
			if seen = append(seen, told.Load()-before); len(seen) == 2 {
				return failure
			}
			return nil
		})
		inFront := async(func() error { return write(3, true) })
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
		synctest.Wait() // for all of the group to be queued
		closing = async(s.Close)
	})
	r.ok(<-closing)
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
		for range 100 { // in which a select with two ready cases would take the wrong one
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

// Sync returns when everything that was accepted before it is durable.
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

// A stalled disk holds up writers, not readers, and the memory of those who wait does not grow with what they want to write: the queue
// is bounded by bytes. When the disk comes back all of them end well.
func TestStalledDiskBoundsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, valueBytes = 10_000, 10 << 10 // 100 MiB, of which the queue takes 32
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
		st.release()
		for _, result := range results {
			r.ok(<-result)
		}
		if s.Len() != 101 {
			t.Fatalf("%d keys", s.Len())
		}
	})
}
