package kvstore_test

// This file is about when a write is seen (P3), and that a batch is seen whole
// (P4).

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"kvstore"
	"kvstore/internal/vfs"
)

// P3: a caller that has its answer sees its write, and so does every other
// reader. MultiGets of many keys keep the writer from publishing most of the
// time, so an answer that came too early would find nothing.
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

// P3: while any I/O of a write hangs, nothing of the write is seen or
// acknowledged, and no reader waits for it. Every kind of operation of a group
// with a rotation hangs in turn.
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
						t.Fatalf("Stats show what no reader may see: %+v", got)
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

// P3: while any one operation of a write hangs, nothing of the write is seen or
// acknowledged. The last one is its fsync or, with SyncWrites false, its
// pwrite.
func TestP3EveryOperationHangs(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		for _, value := range []string{"small", strings.Repeat("too large for the segment ", 200)} {
			for hangAt, more := int64(1), true; more; hangAt++ {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, kvstore.WithDirectBytes(1000)) // the large value is a piece of its own
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

// P3: at every operation of a long history, what a reader can see when the
// power goes is there afterwards.
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

// P3: a batch that is large enough to be staged beside its fsync is seen after
// the fsync, whole. If the fsync fails, it is never seen.
func TestP3LargeBatchIsSeenWhenDurable(t *testing.T) {
	const keys = 600
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
				// The entries are written from where they are staged.
				r := newRig(t, kvstore.WithFirstSegmentBytes(4<<20), kvstore.WithDirectBytes(1000))
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
				r.fs.SetHook(nil) // from here on, the fsync may end first
				// Chance decides which goroutine stages what.
				for round := range 100 {
					// Never as long as the one before: each needs a new record.
					value := strings.Repeat(fmt.Sprint(round%10), 100+8*(round%20))
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

// P4: once any read has shown a batch, every later read of any kind shows all
// of it and all before it. Batch n writes n to some keys, adds one more key,
// and replaces another one.
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

// followCommits is a reader of TestP4BatchesAreSeenWhole. Each read reveals the
// last batch, which must not be earlier than in the read before.
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
		runtime.Gosched() // otherwise the writer gets a processor only every 10 ms
	}
}
