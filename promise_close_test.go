package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kvstore"
	"kvstore/internal/vfs"
)

// This file is about how a session ends (P10).

// closed checks that every method of s returns ErrClosed, or nothing.
func closed(r *rig, s *kvstore.Store) {
	r.Helper()
	r.fails(s.Set("a", nil), kvstore.ErrClosed)
	r.fails(s.Delete("a"), kvstore.ErrClosed)
	r.fails(s.Apply(ctx, batch("a", "")), kvstore.ErrClosed)
	r.fails(s.ApplyAsync(ctx, batch("a", "")).Wait(ctx), kvstore.ErrClosed)
	r.fails(s.Sync(), kvstore.ErrClosed)
	r.fails(s.Err(), kvstore.ErrClosed)
	r.lacks(s, "a", "")
	if s.Len() != 0 || s.Keys() != nil {
		r.Fatalf("a closed store has %d keys: %q", s.Len(), s.Keys())
	}
	r.ok(s.Close())
	if n := r.fs.Handles(); n != 0 {
		r.Fatalf("a closed store has %d handles open", n)
	}
}

func TestP10AfterClose(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		r := newRig(t)
		r.config.SyncWrites = syncWrites
		s := r.open()
		r.set(s, "a", "1", "", "2")
		last := s.Stats()
		r.close(s)
		closed(r, s)
		if got := s.Stats(); got.Keys != last.Keys || got.Commits != last.Commits || got.Groups != last.Groups {
			t.Errorf("Stats %+v after Close, %+v before", got, last)
		}
		goleak.VerifyNone(t)
	}
}

// Err says what state a store is in: from the moment Close is called, also
// while it waits, the store is closed.
func TestP10ErrWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.ok(s.Err())
		st := r.stall(vfs.OpSync)
		set := async(func() error { return s.Set("a", nil) })
		r.waits(set)
		r.ok(s.Err()) // a disk that hangs has not failed yet
		closing := async(s.Close)
		r.waits(closing)
		r.fails(s.Err(), kvstore.ErrClosed)
		st.release()
		r.ok(<-set)
		r.ok(<-closing)
		r.fails(s.Err(), kvstore.ErrClosed)
		r.config.ReadOnly = true
		s = r.open()
		r.ok(s.Err())
		r.close(s)
		r.fails(s.Err(), kvstore.ErrClosed)
	})
}

// P10: accepted writes are finished and acknowledged, callers that wait for
// room in the queue get ErrClosed, reads end at once, and Close itself waits
// for the disk, however long that takes.
func TestP10CloseOnAStalledDisk(t *testing.T) {
	for _, syncWrites := range []bool{true, false} {
		t.Run(fmt.Sprint("SyncWrites ", syncWrites), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.config.SyncWrites = syncWrites
				s := r.open()
				r.set(s, "a", "1")
				st := r.stall(vfs.OpWrite)
				writing := async(func() error { return s.Set("writing", nil) })
				r.waits(writing)
				sync := async(s.Sync)
				r.waits(sync)
				queued := r.fill(s)
				waiting := []<-chan error{
					async(func() error { return s.Set("waiting", nil) }),
					async(func() error { return s.Apply(ctx, batch("waiting", "")) }),
					async(func() error { return s.ApplyAsync(ctx, batch("waiting", "")).Wait(ctx) }),
					async(s.Sync),
				}
				for _, w := range waiting {
					r.waits(w)
				}
				closing := async(s.Close)
				r.waits(closing)
				for _, w := range waiting {
					select {
					case err := <-w:
						r.fails(err, kvstore.ErrClosed)
					default:
						t.Fatal("Close does not release callers that wait for room in the queue")
					}
				}
				r.fails(s.Set("late", nil), kvstore.ErrClosed)
				r.fails(s.Sync(), kvstore.ErrClosed)
				r.lacks(s, "a", "writing")
				<-time.After(time.Hour)
				r.waits(closing)
				r.waits(writing)
				r.waits(sync)
				r.undecided(queued[0])
				st.release()
				r.ok(<-writing)
				r.ok(<-sync)
				for _, c := range queued {
					r.ok(c.Wait(ctx))
				}
				r.ok(<-closing)
				closed(r, s)
				r.want(r.reopenAfter(s, r.cutPower), "a", "1", "writing", "", "full", "")
			})
		})
	}
}

// P10: Close waits for a background fsync that is under way. If the fsync
// fails, the store has failed as after any other.
func TestP10CloseDuringTheBackgroundSync(t *testing.T) {
	for _, cause := range []error{nil, syscall.EIO} {
		t.Run(fmt.Sprint(cause), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.config.SyncWrites = false
				s := r.open()
				r.set(s, "a", "1")
				began, end := make(chan struct{}), make(chan struct{})
				r.fs.SetHook(func(op vfs.Op) error {
					if op.Kind == vfs.OpSync {
						close(began)
						<-end
						return cause
					}
					return nil
				})
				<-time.After(kvstore.DefaultSyncInterval)
				<-began
				r.set(s, "b", "1")
				left := r.files()
				closing := async(s.Close)
				r.waits(closing)
				r.unchanged(left)
				r.fs.SetHook(nil)
				close(end)
				if err := <-closing; cause == nil {
					r.ok(err)
				} else {
					failedWith(r, err, cause)
					r.unchanged(left)
				}
				closed(r, s)
				r.want(r.open(), "a", "1", "b", "1")
			})
		})
	}
}

// P10: a concurrent Close waits for the first one and returns nil, whatever the
// first one returns.
func TestP10ConcurrentClose(t *testing.T) {
	for _, cause := range []error{nil, syscall.EIO} {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", "1")
		began, end := make(chan struct{}), make(chan struct{})
		var ended atomic.Bool
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpCreate {
				close(began)
				<-end
				return cause
			}
			return nil
		})
		var results []<-chan error
		for range 10 {
			results = append(results, async(func() error {
				err := s.Close()
				if !ended.Load() {
					return errors.New("Close did not wait for another one")
				}
				return err
			}))
		}
		<-began
		for range 1000 { // nothing shows that the others are blocked
			runtime.Gosched()
		}
		ended.Store(true)
		close(end)
		failed := 0
		for _, result := range results {
			if err := <-result; err != nil {
				r.fails(err, cause)
				failed++
			}
		}
		if want := map[bool]int{true: 0, false: 1}[cause == nil]; failed != want {
			t.Fatalf("%d Closes returned an error, want %d", failed, want)
		}
		r.ok(s.Close())
	}
}

// P10: Close against everything. Every call returns. Acknowledged writes are
// there afterwards, and those that got ErrClosed are not.
func TestP10CloseAgainstEverything(t *testing.T) {
	for i := range 10 {
		r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
		r.config.SyncWrites = i%2 == 0
		s := r.open()
		var mu sync.Mutex
		committed, refused := map[string]bool{}, map[string]bool{}
		note := func(key string, err error) (goOn bool) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				committed[key] = true
			case errors.Is(err, kvstore.ErrClosed):
				refused[key] = true
			default:
				t.Errorf("%s: %v", key, err)
			}
			return err == nil
		}
		var wg sync.WaitGroup
		started := make(chan struct{}, 100)
		loops := 0
		loop := func(step func(key string) bool) {
			id := loops
			loops++
			wg.Go(func() {
				for n := 0; step(fmt.Sprint(id, " ", n)); n++ {
					if n == 3 {
						started <- struct{}{}
					}
				}
			})
		}
		for range 3 {
			loop(func(key string) bool { return note(key, s.Set(key, nil)) })
			loop(func(key string) bool { return note(key, s.Apply(ctx, batch(key, ""))) })
			loop(func(key string) bool {
				c := s.ApplyAsync(ctx, batch(key, ""))
				runtime.Gosched()
				return note(key, c.Wait(ctx))
			})
			loop(func(string) bool { return note("", s.Sync()) })
			loop(func(string) bool {
				_, _, _ = s.Len(), s.Stats(), s.Has("a")
				_, _ = s.Get("a")
				return s.Keys() != nil
			})
		}
		for range loops {
			<-started
		}
		closing := []<-chan error{async(s.Close), async(s.Close)}
		for _, c := range closing {
			r.ok(<-c)
		}
		wg.Wait()
		closed(r, s)
		s = r.open()
		for key := range committed {
			if key != "" && !s.Has(key) {
				t.Fatalf("%q was acknowledged and is gone", key)
			}
		}
		for key := range refused {
			if s.Has(key) {
				t.Fatalf("%q got ErrClosed and is there", key)
			}
		}
		r.close(s)
	}
	goleak.VerifyNone(t)
}

// closingContext closes the store when it is asked whether it has ended: after
// the call has found the store open, and before it queues its command.
type closingContext struct {
	context.Context
	close func()
}

func (c *closingContext) Err() error {
	c.close()
	return nil
}

// P10: a call that meets Close between its checks and the queue gets ErrClosed.
// No goroutine is left to answer it.
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

// P10: Close writes a snapshot if there is something new. A session that wrote
// nothing leaves no segment.
func TestP10WhatCloseLeaves(t *testing.T) {
	r := newRig(t)
	names := func(want ...string) {
		t.Helper()
		if got := r.fs.Names(r.config.DataDir); !slices.Equal(got, want) {
			t.Fatalf("files %q, want %q", got, want)
		}
	}
	snapshot := func(n int) string { return fmt.Sprintf("snapshot-%020d.kvs", n) }
	segment := func(n int) string { return fmt.Sprintf("wal-%020d.log", n) }
	s := r.open()
	names("LOCK", segment(1))
	r.close(s)
	names("LOCK", snapshot(1)) // so that a store is there, with no keys
	s = r.open()
	names("LOCK", snapshot(1), segment(1))
	r.close(s)
	names("LOCK", snapshot(1))
	s = r.open()
	r.set(s, "a", "1")
	r.close(s)
	names("LOCK", snapshot(2))
	before := r.files()
	for range 3 {
		s = r.open()
		names("LOCK", snapshot(2), segment(2))
		r.want(s, "a", "1")
		r.close(s)
		r.unchanged(before)
	}
	s = r.open()
	r.ok(s.Sync())
	r.ok(s.Apply(ctx, &kvstore.Batch{}))
	r.fails(s.Set(strings.Repeat("k", 1<<16), nil), kvstore.ErrKeyTooLarge)
	r.close(s)
	r.unchanged(before)

	// This session wrote nothing either, but found a log that no snapshot
	// covers.
	s = r.open()
	r.set(s, "b", "2")
	r.kill(s)
	s = r.open()
	names("LOCK", snapshot(2), segment(2), segment(3))
	r.close(s)
	names("LOCK", snapshot(3))

	s = r.open() // several segments at once
	pairs := some(60)
	r.set(s, pairs...)
	r.close(s)
	if got := r.fs.Names(r.config.DataDir); len(got) != 2 {
		t.Fatalf("files %q, want LOCK and a snapshot", got)
	}
	r.want(r.open(), append(pairs, "a", "1", "b", "2")...)
}

// P10: Close leaves foreign files alone.
func TestP10CloseLeavesForeignFiles(t *testing.T) {
	r := newRig(t)
	r.close(r.open())
	foreign := []string{
		"README", "x.tmp", "wal-.log", "wal-1.log",
		"wal-00000000000000000001.bak", "snapshot-00000000000000000001.kvs.old",
	}
	for _, name := range foreign {
		r.ok(r.fs.WriteFile(r.config.DataDir+"/"+name, []byte(name)))
	}
	for range 2 {
		s := r.open()
		r.set(s, "a", "1")
		r.close(s)
	}
	for _, name := range foreign {
		if data, _ := r.fs.ReadFile(r.config.DataDir + "/" + name); string(data) != name {
			t.Errorf("%s holds %q", name, data)
		}
	}
}

// P10: a Close that cannot write its snapshot returns the error and leaves the
// log. The next session has everything.
func TestP10CloseWithoutSnapshot(t *testing.T) {
	snapshot := func(kind vfs.OpKind) func(vfs.Op) bool {
		return func(op vfs.Op) bool { return op.Kind == kind && strings.HasPrefix(op.Name, "snapshot-") }
	}
	for name, c := range map[string]struct {
		fails func(vfs.Op) bool
		err   error
	}{
		"create":                 {snapshot(vfs.OpCreate), syscall.EMFILE},
		"write":                  {snapshot(vfs.OpWrite), syscall.ENOSPC},
		"short write":            {snapshot(vfs.OpWrite), &vfs.ShortWrite{Bytes: 5, Err: syscall.ENOSPC}},
		"fsync":                  {snapshot(vfs.OpSync), syscall.EIO},
		"rename":                 {snapshot(vfs.OpRename), syscall.EIO},
		"fsync of the directory": {func(op vfs.Op) bool { return op.Kind == vfs.OpSyncDir }, syscall.EIO},
	} {
		for _, times := range []int{1, forever} {
			for _, written := range []bool{true, false} { // by this session, or by the one before
				t.Run(fmt.Sprint(name, ", times ", times, ", written ", written), func(t *testing.T) {
					r, _ := newRandomRig(t)
					s := r.open()
					pairs := some(20)
					r.set(s, pairs...)
					if !written {
						s = r.reopenAfter(s, r.kill)
					}
					segments := r.segments()
					d := r.fail(c.fails, c.err, times)
					err := s.Close()
					failedSnapshot(r, err, c.err)
					if d.failures() == 0 {
						t.Fatal("nothing failed")
					}
					closed(r, s)
					goleak.VerifyNone(t)
					if left := r.segments(); !slices.Equal(left, segments) {
						t.Fatalf("segments %q are left, want %q", left, segments)
					}
					r.fs.SetHook(nil)
					s = r.reopenAfter(s, r.cutPower)
					r.want(s, pairs...)
					r.close(s)
					if left := r.segments(); left != nil {
						t.Fatalf("segments %q are left after a good Close", left)
					}
					r.want(r.open(), pairs...)
				})
			}
		}
	}
}

// P10: a Close that could not write its snapshot has made the log durable, also
// with SyncWrites false.
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

// failedSnapshot checks that Close's error is the disk's and not ErrFailed:
// nothing was lost.
func failedSnapshot(r *rig, err, cause error) {
	r.Helper()
	if short, ok := errors.AsType[*vfs.ShortWrite](cause); ok {
		cause = short.Err
	}
	r.fails(err, cause)
	if errors.Is(err, kvstore.ErrFailed) {
		r.Fatalf("%v, though no write of the log failed", err)
	}
}

// segments returns the names of the segments that hold groups.
func (r *rig) segments() (names []string) {
	for name, data := range r.files() {
		if strings.HasPrefix(name, "wal-") && bytes.Contains([]byte(data), []byte("KVLG\x11")) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// P10: the next segment, which the writer preallocates, ends with the session.
// It leaves no file and no handle, whether it is ready, still being made, or
// replaced by a larger one.
func TestP10CloseDropsTheNextSegment(t *testing.T) {
	for _, c := range []string{"ready", "being made", "too small"} {
		t.Run(c, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				end := make(chan struct{})
				var made atomic.Int64
				r.fs.SetHook(func(op vfs.Op) error {
					if reserved(vfs.OpAllocate)(op) {
						made.Add(1)
						if c == "being made" {
							<-end
						}
					}
					return nil
				})
				pairs := []string{"a", strings.Repeat("a", 2000)}
				r.set(s, pairs...)
				synctest.Wait()
				if made.Load() != 1 {
					t.Fatal("no segment is made ahead of time")
				}
				if c == "too small" {
					pairs = append(pairs, "large", strings.Repeat("b", 20_000))
					r.set(s, pairs...)
				}
				closing := async(s.Close)
				if c == "being made" {
					r.waits(closing)
				}
				close(end)
				r.ok(<-closing)
				closed(r, s)
				if names := r.fs.Names(r.config.DataDir); len(names) != 2 {
					t.Fatalf("files %q, want LOCK and a snapshot", names)
				}
				r.want(r.open(), pairs...)
			})
		})
	}
}
