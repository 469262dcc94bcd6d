package kvstore_test

// This file is about what is durable, and when (P1), and in what order (P2).

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/vfs"
)

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

// P1: with SyncWrites false an acknowledged write survives a kill, and after a
// Sync a power cut.
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
	r.set(s, "lost", "") // this disk loses all it may, or nothing would be proven
	s = r.reopenAfter(s, r.cutPower)
	r.want(s, append(pairs, "synced", "")...)
	r.set(s, "closed", "")
	r.close(s)
	r.want(r.reopenAfter(s, r.cutPower), append(pairs, "synced", "", "closed", "")...)
}

// P1: with SyncWrites false the log is fsynced every SyncInterval by itself,
// and an idle store leaves the disk alone.
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

// P1: with SyncWrites false, much data is synced before SyncInterval has
// passed, so that a power cut takes little even of a busy store.
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
		synctest.Wait() // in which no time passes
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

// P2: the calls of one goroutine commit in their order, with those of others in
// between.
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

// P2: a power cut leaves a prefix of the commits that contains all acknowledged
// ones, batches whole.
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
					b := batch(fmt.Sprint("a ", i), strings.Repeat("v", i), fmt.Sprint("b ", i), "")
					commits = append(commits, s.ApplyAsync(ctx, b))
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

// P2: a write that its caller does not wait for comes before that caller's next
// write, though a small write could join a command that another caller has
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
