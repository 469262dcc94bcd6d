package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"math"
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

// This file is about serial transactions: Do, DoAsync, Add and SetVersion.

// hold makes the writer hang in the write of a commit, and returns when it
// does. What is queued afterwards is one group.
func (r *rig) hold(s *kvstore.Store) *stall {
	r.Helper()
	st := r.stall(vfs.OpWrite)
	r.undecided(s.ApplyAsync(ctx, batch("held", "")))
	<-st.began
	return st
}

// addOne is a function for Do and for Update.
func addOne(key string) func(tx *kvstore.Tx) error {
	return func(tx *kvstore.Tx) error {
		setNumber(tx, key, txNumber(tx, key)+1)
		return nil
	}
}

// P14: functions run once, in commit order, each on what the ones before it and
// other writes leave, in one group.
func TestP14FunctionsRunInCommitOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "n", "5", "gone", "x")
		st := r.hold(s)
		var seen []string
		look := func(tx *kvstore.Tx) error {
			value, ok := tx.Get("n")
			_, gone := tx.Get("gone")
			seen = append(seen, fmt.Sprint(string(value), ok, tx.Has("n"), gone, tx.Has("gone")))
			return nil
		}
		deletion := &kvstore.Batch{}
		deletion.Delete("n")
		deletion.Delete("gone")
		commits := []*kvstore.Commit{
			s.DoAsync(ctx, addOne("n")), s.DoAsync(ctx, look), s.ApplyAsync(ctx, batch("n", "40")),
			s.DoAsync(ctx, addOne("n")), s.DoAsync(ctx, look), s.ApplyAsync(ctx, deletion),
			s.DoAsync(ctx, look), s.DoAsync(ctx, addOne("n")), s.DoAsync(ctx, look),
		}
		synctest.Wait()
		if len(seen) > 0 {
			t.Error("functions ran before the group ahead of them was written")
		}
		before := s.Stats()
		st.release()
		var versions []int64
		for _, c := range commits {
			r.ok(c.Wait(ctx))
			if c.Version() != 0 {
				versions = append(versions, c.Version())
			}
		}
		want := []string{
			"6true true true true", "41true true true true", "false false false false", "1true true false false",
		}
		if !slices.Equal(seen, want) {
			t.Errorf("functions saw %q, want %q", seen, want)
		}
		if len(versions) != 5 || !slices.IsSorted(versions) {
			t.Errorf("versions %v", versions)
		}
		if after := s.Stats(); after.Commits-before.Commits != 6 || after.Groups-before.Groups != 2 {
			t.Errorf("%d commits in %d groups", after.Commits-before.Commits, after.Groups-before.Groups)
		}
		r.want(s, "n", "1", "held", "")
		r.want(r.reopenAfter(s, r.kill), "n", "1", "held", "")
	})
}

// P14: what a function does wrong reaches its caller alone, and no other commit
// of its group.
func TestP14ErrorsReachTheirCallerAlone(t *testing.T) {
	mine := errors.New("mine")
	for _, c := range []struct {
		name string
		fn   func(tx *kvstore.Tx) error
		want error
	}{
		{"error", func(*kvstore.Tx) error { return mine }, mine},
		{"key", func(tx *kvstore.Tx) error {
			tx.Set(strings.Repeat("x", kvstore.MaxKeyBytes+1), nil)
			return nil
		}, kvstore.ErrKeyTooLarge},
		{"full", func(tx *kvstore.Tx) error {
			for i := range 10 {
				tx.Set(fmt.Sprint("another", i), nil)
			}
			return nil
		}, kvstore.ErrStoreFull},
		{"version", func(tx *kvstore.Tx) error { tx.SetVersion(1); return nil }, kvstore.ErrVersionOrder},
		{"late version", func(tx *kvstore.Tx) error { tx.SetVersion(1 << 62); return nil }, kvstore.ErrVersionOrder},
		{"panic", func(*kvstore.Tx) error { panic(mine) }, mine},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, kvstore.WithMaxKeys(4))
				s := r.open()
				st := r.hold(s)
				first := s.DoAsync(ctx, addOne("n"))
				bad := s.DoAsync(ctx, func(tx *kvstore.Tx) error {
					tx.Set("bad", nil)
					return c.fn(tx)
				})
				second := s.ApplyAsync(ctx, batch("other", "x"))
				third := s.DoAsync(ctx, addOne("n"))
				st.release()
				r.ok(first.Wait(ctx))
				r.fails(bad.Wait(ctx), c.want)
				if bad.Version() != 0 {
					t.Error("it has a version")
				}
				r.ok(second.Wait(ctx))
				r.ok(third.Wait(ctx))
				r.want(s, "n", "2", "other", "x", "held", "")
				r.want(r.reopenAfter(s, r.kill), "n", "2", "other", "x", "held", "")
			})
		})
	}
}

// P14: a panic is raised in the caller of Do, a Goexit ends it, and the writer
// goes on, through Close.
func TestP14PanicAndGoexit(t *testing.T) {
	r := newRig(t)
	s := r.open()
	for round := range 3 {
		func() {
			defer func() {
				p, ok := recover().(*kvstore.PanicError)
				if !ok || p.Value != "oh" || !strings.Contains(string(p.Stack), "TestP14PanicAndGoexit") {
					t.Errorf("recovered %v", p)
				}
			}()
			err := s.Do(ctx, func(tx *kvstore.Tx) error { tx.Set("bad", nil); panic("oh") })
			t.Errorf("Do returned %v", err)
		}()
		ended, returned := make(chan bool), false
		go func() {
			defer func() { ended <- recover() == nil && !returned }()
			_ = s.Do(ctx, func(tx *kvstore.Tx) error { tx.Set("bad", nil); runtime.Goexit(); return nil })
			returned = true
		}()
		if !<-ended {
			t.Error("Do has returned, or panicked, after Goexit")
		}
		err := s.DoAsync(ctx, func(*kvstore.Tx) error { runtime.Goexit(); return nil }).Wait(ctx)
		p, ok := errors.AsType[*kvstore.PanicError](err)
		if !ok || p.Value != nil || !strings.Contains(p.Error(), "Goexit") {
			t.Errorf("Wait returned %v", err)
		}
		mine := &kvstore.PanicError{Value: "mine"}
		err = s.Do(ctx, func(*kvstore.Tx) error { return mine })
		if err != error(mine) { //nolint:errorlint // it is unchanged
			t.Errorf("Do returned %v", err)
		}
		r.ok(s.Do(ctx, addOne("n")))
		r.want(s, "n", fmt.Sprint(round+1))
	}
	r.close(s)
	r.want(r.open(), "n", "3")
}

// P14: whatever ends the writer's goroutine, it goes on: Goexit and a panic in
// one function, in either order, many in one group, and the last one before
// Close.
func TestP14GoexitOfMany(t *testing.T) {
	exit := func(*kvstore.Tx) error { runtime.Goexit(); return nil }
	exitAndPanic := func(*kvstore.Tx) error {
		defer func() { panic("late") }()
		runtime.Goexit()
		return nil
	}
	panicAndExit := func(*kvstore.Tx) error {
		defer runtime.Goexit()
		panic("early")
	}
	r := newRig(t)
	s := r.open()
	st := r.stall(vfs.OpWrite)
	commits := []*kvstore.Commit{s.DoAsync(ctx, addOne("n"))}
	<-st.began
	for range 3 {
		for _, fn := range []func(*kvstore.Tx) error{exit, exitAndPanic, panicAndExit} {
			commits = append(commits, s.DoAsync(ctx, fn), s.DoAsync(ctx, addOne("n")))
		}
	}
	st.release()
	for i, c := range commits {
		err := c.Wait(ctx)
		p, ok := errors.AsType[*kvstore.PanicError](err)
		switch late := i%6 == 3; {
		case i%2 == 0:
			r.ok(err)
		case !ok || late && p.Value != "late" || !late && p.Value != nil:
			t.Errorf("function %d: %v", i, err)
		}
	}
	r.want(s, "n", "10")
	last := s.DoAsync(ctx, exitAndPanic)
	r.close(s)
	if _, ok := errors.AsType[*kvstore.PanicError](last.Wait(ctx)); !ok {
		t.Error(last.Wait(ctx))
	}
}

// P14: after Goexit, the group goes on with the next command.
func TestP14GoexitInAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		before := s.Stats().Groups
		st := r.hold(s)
		first := s.ApplyAsync(ctx, batch("a", "1"))
		exits := s.DoAsync(ctx, func(tx *kvstore.Tx) error { tx.Set("a", nil); runtime.Goexit(); return nil })
		last := s.DoAsync(ctx, addOne("n"))
		st.release()
		r.ok(first.Wait(ctx))
		if _, ok := errors.AsType[*kvstore.PanicError](exits.Wait(ctx)); !ok {
			t.Errorf("error %v", exits.Wait(ctx))
		}
		r.ok(last.Wait(ctx))
		r.want(s, "held", "", "a", "1", "n", "1")
		if n := s.Stats().Groups - before; n != 2 {
			t.Errorf("%d groups", n)
		}
	})
}

// P14: if ctx ends before fn has begun, fn never runs. If it ends later, Do
// waits for fn, and not for the disk.
func TestP14ContextOfDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		never := func(*kvstore.Tx) error { t.Error("fn runs"); return nil }
		r.fails(s.Do(ended, never), context.Canceled)
		r.fails(s.DoAsync(ended, never).Wait(ctx), context.Canceled)

		st := r.hold(s)
		short, cancel := context.WithCancel(ctx)
		queued := async(func() error { return s.Do(short, never) })
		later := s.DoAsync(short, never)
		synctest.Wait()
		cancel()
		r.fails(<-queued, context.Canceled)
		st.release()
		r.fails(later.Wait(ctx), context.Canceled)
		r.fs.SetHook(nil)

		short, cancel = context.WithCancel(ctx)
		began, end := make(chan struct{}), make(chan struct{})
		running := async(func() error {
			return s.Do(short, func(tx *kvstore.Tx) error {
				close(began)
				<-end
				tx.Set("late", nil)
				return nil
			})
		})
		<-began
		cancel()
		synctest.Wait()
		select {
		case err := <-running:
			t.Errorf("Do returned %v while fn runs", err)
		default:
		}
		st = r.stall(vfs.OpWrite)
		close(end)
		r.fails(<-running, context.Canceled)
		st.release()
		r.ok(s.Sync())
		r.want(s, "held", "", "late", "")
	})
}

// P10: the writer does not wait for callers of DoAsync to relay answers,
// however many they are.
func TestP10DoAsyncRelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
		s := r.open()
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpSync {
				<-time.After(time.Millisecond) // all else waits
			}
			return nil
		})
		inFront := async(func() error { return s.Set("a", nil) })
		r.waits(inFront)
		var commits []*kvstore.Commit
		for range 100 {
			commits = append(commits, s.DoAsync(ctx, addOne("n")))
		}
		r.ok(<-inFront)
		for _, c := range commits {
			r.ok(c.Wait(ctx))
		}
		r.want(s, "a", "", "n", "100")
	})
}

// P14: no reader waits for a function, not even for one inside a loop.
func TestP14ReadersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", "1", "b", "2")
		loops := map[string]func(tx *kvstore.Tx) iter.Seq2[string, []byte]{
			"Scan": func(tx *kvstore.Tx) iter.Seq2[string, []byte] { return tx.Scan(kvstore.Range{}) },
			"All":  func(tx *kvstore.Tx) iter.Seq2[string, []byte] { return tx.All() },
		}
		for name, loop := range loops {
			began, end := make(chan struct{}, 10), make(chan struct{})
			done := async(func() error {
				return s.Do(ctx, func(tx *kvstore.Tx) error {
					for range loop(tx) {
						began <- struct{}{}
						<-end
					}
					tx.Set("loop", []byte(name))
					tx.Delete("loop")
					return nil
				})
			})
			<-began
			r.want(s, "a", "1", "b", "2")
			wantScan(t, state(s), kvstore.Range{}, s.Scan(kvstore.Range{}))
			if keys := r.view(s).Len(); keys != 2 {
				t.Errorf("%d keys", keys)
			}
			close(end)
			r.ok(<-done)
		}
	})
}

// lateContext is a context that ends while the writer asks whether it has, and
// right after it has answered no.
type lateContext struct {
	context.Context
	cancel context.CancelFunc
	asked  atomic.Bool   // false once armed: the next question is the writer's
	left   chan struct{} // closed when the caller has left
}

func (c *lateContext) Err() error {
	err := c.Context.Err()
	if c.asked.CompareAndSwap(false, true) {
		c.cancel()
		<-c.left
	}
	return err
}

// P14: fn does not run once Do has returned, however late ctx ends.
func TestP14NothingRunsBehindItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		st := r.hold(s)
		late := &lateContext{left: make(chan struct{})}
		late.asked.Store(true)
		late.Context, late.cancel = context.WithCancel(ctx)
		result := async(func() error {
			return s.Do(late, func(*kvstore.Tx) error { t.Error("fn runs"); return nil })
		})
		r.waits(result)
		late.asked.Store(false)
		st.release()
		r.fails(<-result, context.Canceled)
		close(late.left)
		r.ok(s.Do(ctx, addOne("n")))
	})
}

// P14: a function that is queued when the store fails does not run.
func TestP14FailedStoreRunsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", "1")
		hang := make(chan struct{})
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpSync {
				<-hang
				return syscall.EIO
			}
			return nil
		})
		r.undecided(s.ApplyAsync(ctx, batch("held", "")))
		queued := s.DoAsync(ctx, func(*kvstore.Tx) error { t.Error("fn runs"); return nil })
		r.undecided(queued)
		close(hang)
		failedWith(r, queued.Wait(ctx), syscall.EIO)
	})
}

// P14: a function whose commit failed on a full disk does not run again.
func TestP14FullDiskRunsNothingAgain(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	r.fs.SetHook(failing(vfs.OpAllocate, syscall.ENOSPC))
	runs := 0
	r.fails(s.Do(ctx, func(tx *kvstore.Tx) error {
		runs++
		tx.Set("large", make([]byte, 1<<20))
		return nil
	}), syscall.ENOSPC)
	r.fs.SetHook(nil)
	r.set(s, "b", "2")
	r.want(s, "a", "1", "b", "2")
	if runs != 1 {
		t.Errorf("%d runs", runs)
	}
}

// P14: an answer comes when what the function has read is durable and visible,
// and fails with it. fn does not run again.
func TestP14AnswersWaitForWhatTheyDependOn(t *testing.T) {
	mine := errors.New("mine")
	for _, failure := range []error{nil, syscall.EIO, syscall.ENOSPC} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			s := r.open()
			r.set(s, "n", "1")
			st := r.hold(s)
			runs := 0
			large := s.ApplyAsync(ctx, batch("large", strings.Repeat("x", 1<<20))) // a segment of its own
			answers := []*kvstore.Commit{
				s.DoAsync(ctx, func(*kvstore.Tx) error { runs++; return nil }),
				s.DoAsync(ctx, func(*kvstore.Tx) error { runs++; return mine }),
				s.DoAsync(ctx, func(*kvstore.Tx) error { runs++; panic(mine) }),
			}
			synctest.Wait()
			end := make(chan struct{})
			st.release()
			r.fs.SetHook(func(op vfs.Op) error {
				switch {
				case op.Kind == vfs.OpAllocate && errors.Is(failure, syscall.ENOSPC):
					return failure
				case op.Kind == vfs.OpSync && runs > 0:
					<-end
					return failure
				}
				return nil
			})
			synctest.Wait()
			if !errors.Is(failure, syscall.ENOSPC) {
				for _, c := range answers {
					r.undecided(c)
				}
			}
			close(end)
			if failure != nil {
				r.fails(large.Wait(ctx), failure)
				for _, c := range answers {
					if err := c.Wait(ctx); !errors.Is(err, failure) || errors.Is(err, mine) {
						t.Errorf("%v: answer %v", failure, err)
					}
				}
			} else {
				r.ok(large.Wait(ctx))
				r.ok(answers[0].Wait(ctx))
				r.fails(answers[1].Wait(ctx), mine)
				r.fails(answers[2].Wait(ctx), mine)
			}
			if runs != 3 {
				t.Errorf("%d runs of 3 functions", runs)
			}
		})
	}
}

// A store that cannot write runs no function.
func TestDoIsRefused(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	never := func(*kvstore.Tx) error { t.Error("fn runs"); return nil }
	refused := func(want error) {
		t.Helper()
		r.fails(s.Do(ctx, never), want)
		r.fails(s.DoAsync(ctx, never).Wait(ctx), want)
		_, err := s.Add("a", 1)
		r.fails(err, want)
	}
	r.fail(written(vfs.OpSync), syscall.EIO, forever)
	sum, err := s.Add("a", 1)
	if r.fails(err, kvstore.ErrFailed); sum != 0 {
		t.Errorf("Add returned %d", sum)
	}
	refused(kvstore.ErrFailed)
	r.fails(s.Close(), kvstore.ErrFailed)
	refused(kvstore.ErrClosed)
	r.fs.SetHook(nil)
	r.close(r.open())
	r.config.ReadOnly = true
	s = r.open()
	refused(kvstore.ErrReadOnly)
}

// A function that holds up the writer is reported by its name, after 10 ms and
// every 10 s, and another one is not.
func TestDoReportsSlowFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := &recorder{}
		r := newRig(t)
		r.config.Logger = slog.New(logs)
		s := r.open()
		r.ok(s.Do(ctx, slowFunction(9*time.Millisecond)))
		r.ok(s.Do(ctx, slowFunction(9*time.Millisecond)))
		synctest.Wait()
		if warned := logs.of(slog.LevelWarn); len(warned) > 0 {
			t.Errorf("short functions are reported: %q", warned)
		}
		r.ok(s.Do(ctx, slowFunction(25*time.Second)))
		synctest.Wait()
		warned := logs.of(slog.LevelWarn)
		if len(warned) != 3 {
			t.Errorf("reported in 25 s: %q, want 3", warned)
		}
		for _, text := range warned {
			if !strings.Contains(text, "holds up") || !strings.Contains(text, "slowFunction") {
				t.Errorf("reported %q", text)
			}
		}
	})
}

// onWarning is a slog.Handler.
type onWarning func()

func (h onWarning) Enabled(_ context.Context, level slog.Level) bool { return level == slog.LevelWarn }
func (h onWarning) Handle(context.Context, slog.Record) error        { h(); return nil }
func (h onWarning) WithAttrs([]slog.Attr) slog.Handler               { return h }
func (h onWarning) WithGroup(string) slog.Handler                    { return h }

// A Logger that writes to the store holds nothing up.
func TestDoWarnsALoggerThatWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s, logged := (*kvstore.Store)(nil), make(chan error, 1)
		r.config.Logger = slog.New(onWarning(func() { logged <- s.Set("log", nil) }))
		s = r.open()
		r.ok(s.Do(ctx, slowFunction(15*time.Millisecond)))
		r.ok(<-logged)
		r.want(s, "log", "")
	})
}

func slowFunction(d time.Duration) func(*kvstore.Tx) error {
	return func(*kvstore.Tx) error {
		<-time.After(d)
		return nil
	}
}

// Loops in Do show what is ahead and the function's own writes, in order.
func TestLoopsInDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		for i := range 20 {
			r.set(s, fmt.Sprintf("k%02d", i), "table")
		}
		st := r.hold(s)
		ahead := batch("k05", "ahead", "k205", "ahead")
		ahead.Delete("k07")
		ahead.Delete("k09")
		s.ApplyAsync(ctx, ahead)
		done := s.DoAsync(ctx, func(tx *kvstore.Tx) error {
			tx.Set("k06", []byte("own"))
			tx.Set("k07", []byte("own"))
			tx.Delete("k205")
			tx.Delete("k08")
			want := map[string]string{"k05": "ahead", "k06": "own", "k07": "own"}
			for i := range 20 {
				if key := fmt.Sprintf("k%02d", i); want[key] == "" && i != 8 && i != 9 {
					want[key] = "table"
				}
			}
			for _, reverse := range []bool{false, true} {
				for _, limit := range []int{0, 1, 8} {
					var keys []string
					for key, value := range tx.Scan(kvstore.Range{Prefix: "k", Reverse: reverse, Limit: limit}) {
						keys = append(keys, key)
						if want[key] != string(value) {
							t.Errorf("%s is %q, want %q", key, value, want[key])
						}
					}
					wantKeys := slices.Sorted(maps.Keys(want))
					if reverse {
						slices.Reverse(wantKeys)
					}
					if limit > 0 {
						wantKeys = wantKeys[:limit]
					}
					if !slices.Equal(keys, wantKeys) {
						t.Errorf("reverse %v, limit %d: %v, want %v", reverse, limit, keys, wantKeys)
					}
				}
			}
			all := map[string]string{}
			for key, value := range tx.All() {
				if _, twice := all[key]; twice {
					t.Errorf("All shows %q twice", key)
				}
				all[key] = string(value)
			}
			delete(all, "held")
			if !maps.Equal(all, want) {
				t.Errorf("All shows %v, want %v", all, want)
			}
			return nil
		})
		st.release()
		r.ok(done.Wait(ctx))
		if open := s.Stats().Views; open != 0 {
			t.Errorf("%d views are open", open)
		}
	})
}

// A transaction is over when its function has returned.
func TestTxAfterDo(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	for _, panics := range []bool{false, true} {
		var kept *kvstore.Tx
		_ = s.DoAsync(ctx, func(tx *kvstore.Tx) error {
			if kept = tx; panics {
				panic("oh")
			}
			return nil
		}).Wait(ctx)
		kept.Set("a", []byte("2"))
		value, ok := kept.Get("a")
		if value != nil || ok || kept.Has("a") {
			t.Errorf("Get %q, %v", value, ok)
		}
		for range kept.Scan(kvstore.Range{}) {
			t.Error("Scan shows a pair")
		}
		for range kept.All() {
			t.Error("All shows a pair")
		}
	}
	r.want(s, "a", "1")
}

func TestAdd(t *testing.T) {
	for _, c := range []struct {
		now   string // "-" for absent
		delta int64
		want  int64
		err   error
	}{
		{"-", 5, 5, nil},
		{"-", 0, 0, nil},
		{"0", -1, -1, nil},
		{"9", 1, 10, nil},
		{"-9223372036854775808", math.MaxInt64, -1, nil},
		{"9223372036854775807", 0, math.MaxInt64, nil},
		{"9223372036854775807", 1, 0, kvstore.ErrOverflow},
		{"9223372036854775806", math.MaxInt64, 0, kvstore.ErrOverflow},
		{"-9223372036854775808", -1, 0, kvstore.ErrOverflow},
		{"-1", math.MinInt64, 0, kvstore.ErrOverflow},
		{"0", math.MinInt64, math.MinInt64, nil},
		{"9223372036854775808", -1, 0, kvstore.ErrNotNumber},
		{"", 1, 0, kvstore.ErrNotNumber},
		{"+1", 1, 0, kvstore.ErrNotNumber},
		{"01", 1, 0, kvstore.ErrNotNumber},
		{"-0", 1, 0, kvstore.ErrNotNumber},
		{" 1", 1, 0, kvstore.ErrNotNumber},
		{"1\n", 1, 0, kvstore.ErrNotNumber},
		{"1e3", 1, 0, kvstore.ErrNotNumber},
		{"0x1", 1, 0, kvstore.ErrNotNumber},
		{"1_000", 1, 0, kvstore.ErrNotNumber},
		{strings.Repeat("1", 1000), 1, 0, kvstore.ErrNotNumber},
	} {
		t.Run(fmt.Sprintf("%.20q%+d", c.now, c.delta), func(t *testing.T) {
			r := newRig(t)
			s := r.open()
			var want []string
			if c.now != "-" {
				want = []string{"n", c.now}
				r.set(s, want...)
			}
			before := s.Stats().Commits
			got, err := s.Add("n", c.delta)
			if got != c.want || !errors.Is(err, c.err) {
				t.Fatalf("%d, %v", got, err)
			}
			commits := s.Stats().Commits - before
			if err == nil {
				want = []string{"n", strconv.FormatInt(c.want, 10)}
			}
			if commits != uint64(len(want)/2) && err == nil || commits != 0 && err != nil {
				t.Errorf("%d commits", commits)
			}
			r.want(s, want...)
			r.want(r.reopenAfter(s, r.kill), want...)
		})
	}
	r := newRig(t)
	_, err := r.open().Add(strings.Repeat("x", kvstore.MaxKeyBytes+1), 1)
	r.fails(err, kvstore.ErrKeyTooLarge)
}

// No addition is lost, and each caller gets a sum of its own.
func TestAddCounts(t *testing.T) {
	const callers, each = 16, 50
	r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
	s := r.open()
	sums := make([][]int64, callers)
	var wg sync.WaitGroup
	for i := range sums {
		wg.Go(func() {
			for range each {
				sum, err := s.Add("n", 1)
				if err != nil {
					t.Error(err)
				}
				sums[i] = append(sums[i], sum)
			}
		})
	}
	wg.Wait()
	all := slices.Concat(sums...)
	slices.Sort(all)
	for i, sum := range all {
		if sum != int64(i+1) {
			t.Fatalf("sum number %d is %d", i, sum)
		}
	}
	r.want(r.reopenAfter(s, r.kill), "n", fmt.Sprint(callers*each))
}

// A commit gets the version that it asks for. Later ones count up from it. A
// commit that is not made moves nothing.
func TestSetVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		now := time.Now().UnixNano()
		far := now + int64(1000*time.Hour)
		r.set(s, "a", "1")
		at := func(version int64) *kvstore.Commit {
			b := batch("b", fmt.Sprint(version))
			b.SetVersion(version)
			return s.ApplyAsync(ctx, b)
		}
		var commits []*kvstore.Commit
		st := r.hold(s)
		var wants []int64
		for _, c := range []struct {
			commit *kvstore.Commit
			want   int64 // 0: it is refused
		}{
			{at(far), far},
			{at(far), 0},
			{at(-1), 0},
			{at(1 << 62), 0},
			{at(math.MaxInt64), 0},
			{s.DoAsync(ctx, func(tx *kvstore.Tx) error {
				tx.SetVersion(far + 10)
				tx.Set("c", nil)
				return nil
			}), far + 10},
			{s.ApplyAsync(ctx, batch("d", "")), far + 11},
			{at(far + 11), 0},
			{at(far + 12), far + 12},
			{s.DoAsync(ctx, func(tx *kvstore.Tx) error { tx.SetVersion(1); return nil }), 0}, // no commit, no error
		} {
			commits, wants = append(commits, c.commit), append(wants, c.want)
		}
		st.release()
		for i, c := range commits {
			err := c.Wait(ctx)
			if c.Version() != wants[i] || (err != nil) != (wants[i] == 0 && i != len(commits)-1) {
				t.Errorf("number %d: version %d, want %d, error %v", i, c.Version(), wants[i], err)
			}
			if err != nil {
				r.fails(err, kvstore.ErrVersionOrder)
			}
		}
		if v := s.Stats().Version; v != far+12 {
			t.Errorf("version %d", v)
		}
		s = r.reopenAfter(s, r.kill)
		if v := s.Stats().Version; v != far+12 {
			t.Errorf("after a crash, version %d", v)
		}
		r.ok(s.Update(ctx, func(tx *kvstore.Tx) error { tx.SetVersion(far + 20); tx.Set("e", nil); return nil }))
		if v := s.Stats().Version; v != far+20 {
			t.Errorf("after an Update, version %d", v)
		}
		r.close(s)
		if v := r.open().Stats().Version; v != far+20 {
			t.Errorf("after Close, version %d", v)
		}
	})
}

// A commit that is refused, or that fails, moves no version and has none.
func TestRefusedCommitMovesNoVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kvstore.WithMaxKeys(2))
		s := r.open()
		r.set(s, "a", "1")
		far := time.Now().Add(1000 * time.Hour).UnixNano()
		at := func(version int64, pairs ...string) *kvstore.Commit {
			b := batch(pairs...)
			b.SetVersion(version)
			return s.ApplyAsync(ctx, b)
		}
		next := func(value string) {
			t.Helper()
			c := s.ApplyAsync(ctx, batch("a", value))
			if r.ok(c.Wait(ctx)); c.Version() >= far {
				t.Error("the commit behind it counts up from its version")
			}
		}
		st := r.hold(s)
		full, behind := at(far, "b", ""), s.ApplyAsync(ctx, batch("a", "2"))
		st.release()
		r.fails(full.Wait(ctx), kvstore.ErrStoreFull)
		if r.ok(behind.Wait(ctx)); full.Version() != 0 || behind.Version() >= far {
			t.Errorf("versions %d, then %d", full.Version(), behind.Version())
		}
		r.fs.SetHook(failing(vfs.OpAllocate, syscall.ENOSPC))
		large := at(far, "a", strings.Repeat("x", 1<<20))
		if r.fails(large.Wait(ctx), syscall.ENOSPC); large.Version() != 0 {
			t.Errorf("version %d", large.Version())
		}
		r.fs.SetHook(nil)
		next("3")
		r.want(s, "a", "3", "held", "")
	})
}

// A version that was asked for, and the one that a commit got, end with it: the
// next user of the same command or batch has none.
func TestVersionsEndWithTheirCommit(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "")
	for range 50 {
		b := batch("a", "")
		b.SetVersion(s.Stats().Version + 1)
		r.ok(s.Apply(ctx, b))
		r.ok(s.Set("b", nil)) // the same version would be refused
		nothing := s.DoAsync(ctx, func(*kvstore.Tx) error { return nil })
		if r.ok(nothing.Wait(ctx)); nothing.Version() != 0 {
			t.Fatalf("no commit has version %d", nothing.Version())
		}
		b.Reset()
		b.Set("c", nil)
		r.ok(s.Apply(ctx, b))
	}
}

// SetNow is for Do, and comes first.
func TestSetNow(t *testing.T) {
	r := newRig(t)
	s := r.open()
	want := time.Unix(5, 6)
	r.ok(s.Do(ctx, func(tx *kvstore.Tx) error {
		if tx.SetNow(want); !tx.Now().Equal(want) {
			t.Errorf("Now is %v", tx.Now())
		}
		return nil
	}))
	for _, use := range []func(*kvstore.Tx){
		func(tx *kvstore.Tx) { tx.Get("a") },
		func(tx *kvstore.Tx) { tx.Has("a") },
		func(tx *kvstore.Tx) { tx.Set("a", nil) },
		func(tx *kvstore.Tx) { tx.Delete("a") },
		func(tx *kvstore.Tx) { _ = maps.Collect(tx.All()) },
		func(tx *kvstore.Tx) { _ = maps.Collect(tx.Scan(kvstore.Range{})) },
	} {
		err := s.DoAsync(ctx, func(tx *kvstore.Tx) error { use(tx); tx.SetNow(want); return nil }).Wait(ctx)
		if p, ok := errors.AsType[*kvstore.PanicError](err); !ok || !strings.Contains(fmt.Sprint(p.Value), "SetNow") {
			t.Errorf("error %v", err)
		}
	}
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "SetNow") {
			t.Error("SetNow in an Update does not panic")
		}
	}()
	_ = s.Update(ctx, func(tx *kvstore.Tx) error { tx.SetNow(want); return nil })
}

// Now is one moment for a whole group.
func TestTxNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		opened := time.Now()
		<-time.After(time.Hour)
		var now []time.Time
		look := func(tx *kvstore.Tx) error { now = append(now, tx.Now()); return slowFunction(time.Millisecond)(tx) }
		st := r.hold(s)
		first, second := s.DoAsync(ctx, look), s.DoAsync(ctx, look)
		st.release()
		r.ok(first.Wait(ctx))
		r.ok(second.Wait(ctx))
		if !now[0].Equal(now[1]) || !now[0].Equal(opened.Add(time.Hour)) {
			t.Errorf("a group's functions see %v, opened at %v", now, opened)
		}
		r.ok(s.Update(ctx, look))
		if !now[2].Equal(opened.Add(time.Hour + 2*time.Millisecond)) {
			t.Errorf("an Update sees %v", now[2])
		}
	})
}

// A group ends when its functions have taken 2 ms.
func TestGroupOfSlowFunctionsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		st := r.hold(s)
		var commits []*kvstore.Commit
		for range 6 {
			commits = append(commits, s.DoAsync(ctx, func(tx *kvstore.Tx) error {
				<-time.After(time.Millisecond)
				return addOne("n")(tx)
			}))
		}
		before := s.Stats().Groups
		st.release()
		for _, c := range commits {
			r.ok(c.Wait(ctx))
		}
		if n := s.Stats().Groups - before; n != 1+3 {
			t.Errorf("%d groups, want that in front and 3", n)
		}
		r.want(s, "n", "6", "held", "")
	})
}

// P12: MaxKeys is exact, whatever writes and functions meet in a group. A map
// is the model.
func TestP12MaxKeysWithFunctions(t *testing.T) {
	const maxKeys = 6
	synctest.Test(t, func(t *testing.T) {
		r, rng := newRandomRig(t, kvstore.WithMaxKeys(maxKeys), kvstore.WithFirstSegmentBytes(1<<20))
		s := r.open()
		model := map[string]string{"held": ""}
		for range 60 {
			st := r.hold(s)
			var commits []*kvstore.Commit
			var wants []error
			for range 1 + rng.IntN(12) {
				now, b := maps.Clone(model), &kvstore.Batch{}
				for range 1 + rng.IntN(4) {
					key := fmt.Sprint("key", rng.IntN(9))
					if rng.IntN(5) < 2 {
						b.Delete(key)
						delete(now, key)
					} else {
						b.Set(key, nil)
						now[key] = ""
					}
				}
				if rng.IntN(2) == 0 {
					commits = append(commits, s.ApplyAsync(ctx, b))
				} else {
					commits = append(commits, s.DoAsync(ctx, becomes(t, maps.Clone(model), now)))
				}
				if len(now) > maxKeys {
					wants = append(wants, kvstore.ErrStoreFull)
				} else {
					wants, model = append(wants, nil), now
				}
			}
			st.release()
			for i, c := range commits {
				if err := c.Wait(ctx); !errors.Is(err, wants[i]) {
					t.Fatalf("number %d of %d: %v, want %v", i, len(commits), err, wants[i])
				}
			}
			r.want(s, slices.Concat(pairsOf(model)...)...)
		}
	})
}

// becomes returns a function that finds one state and leaves another.
func becomes(t *testing.T, found, left map[string]string) func(*kvstore.Tx) error {
	return func(tx *kvstore.Tx) error {
		got := map[string]string{}
		for key, value := range tx.All() {
			got[key] = string(value)
		}
		if !maps.Equal(got, found) {
			t.Errorf("fn finds %v, want %v", got, found)
		}
		for key := range found {
			if _, ok := left[key]; !ok {
				tx.Delete(key)
			}
		}
		for key, value := range left {
			tx.Set(key, []byte(value))
		}
		return nil
	}
}

// A writer is not held up for ever by functions that write nothing: a group of
// them ends.
func TestGroupOfFunctionsEnds(t *testing.T) {
	r := newRig(t)
	s := r.open()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = s.DoAsync(ctx, func(*kvstore.Tx) error { return nil })
				}
			}
		})
	}
	for i := range 20 {
		r.set(s, "a", fmt.Sprint(i))
	}
	close(stop)
	wg.Wait()
	r.close(s)
	if err := s.Do(ctx, addOne("a")); !errors.Is(err, kvstore.ErrClosed) || errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Unchanged notices every write of the keys, also ahead in the group, and again
// when an Update is committed.
func TestUnchanged(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(b *kvstore.Batch)
		want  bool
	}{
		{"nothing", func(*kvstore.Batch) {}, true},
		{"another key", func(b *kvstore.Batch) { b.Set("c", nil) }, true},
		{"another value", func(b *kvstore.Batch) { b.Set("a", []byte("2")) }, false},
		{"the same value", func(b *kvstore.Batch) { b.Set("a", []byte("1")) }, false},
		{"deleted", func(b *kvstore.Batch) { b.Delete("a") }, false},
		{"added", func(b *kvstore.Batch) { b.Set("b", nil) }, false},
	} {
		for _, when := range []string{"before", "in the group", "after"} {
			t.Run(c.name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					s := r.open()
					r.set(s, "a", "1")
					v, err := s.View()
					r.ok(err)
					defer func() { r.ok(v.Close()) }()
					b := &kvstore.Batch{}
					c.write(b)
					if when == "before" {
						r.ok(s.Apply(ctx, b))
					}
					st := r.hold(s)
					if when == "in the group" {
						s.ApplyAsync(ctx, b)
					}
					inDo, runs := false, []bool(nil)
					done := s.DoAsync(ctx, func(tx *kvstore.Tx) error { inDo = tx.Unchanged(v, "a", "b"); return nil })
					update := async(func() error {
						return s.Update(ctx, func(tx *kvstore.Tx) error {
							runs = append(runs, tx.Unchanged(v, "a", "b"))
							tx.Set("result", nil)
							return nil
						})
					})
					synctest.Wait()
					if when == "after" {
						s.ApplyAsync(ctx, b)
					}
					st.release()
					r.ok(done.Wait(ctx))
					r.ok(<-update)
					if inDo != (c.want || when == "after") {
						t.Errorf("in Do: %v", inDo)
					}
					want := []bool{inDo}
					if when == "in the group" && !c.want {
						want = []bool{true, false}
					}
					if !slices.Equal(runs, want) {
						t.Errorf("in the runs of an Update: %v, want %v", runs, want)
					}
					r.ok(v.Close())
					r.ok(s.Do(ctx, func(tx *kvstore.Tx) error {
						if tx.Unchanged(v, "x") {
							t.Error("unchanged since a view that is closed")
						}
						return nil
					}))
				})
			})
		}
	}
}

// Config.Now is where versions and the store's clock come from. The store's
// clock goes on by itself, and not back.
func TestConfigNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		wall := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
		var mu sync.Mutex
		r.config.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return wall
		}
		s := r.open()
		if !s.Now().Equal(wall) {
			t.Errorf("Now is %v, want %v", s.Now(), wall)
		}
		r.set(s, "a", "1")
		if v := s.Stats().Version; v != wall.UnixNano() {
			t.Errorf("version %d, want %d", v, wall.UnixNano())
		}
		opened := wall
		mu.Lock()
		wall = wall.Add(-time.Hour)
		mu.Unlock()
		<-time.After(time.Minute)
		if !s.Now().Equal(opened.Add(time.Minute)) {
			t.Errorf("after a minute, Now is %v", s.Now())
		}
		if r.set(s, "a", "2"); s.Stats().Version != opened.UnixNano()+1 {
			t.Errorf("version %d", s.Stats().Version)
		}
	})
}

// Nothing of a large write stays in memory because a command behind it has
// looked at what is ahead.
func TestGroupKeepsNoBytes(t *testing.T) {
	if raceEnabled || runtime.GOOS != "linux" {
		t.Skip("the table lies in the Go heap")
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := kvstore.OpenWithConfig(kvstore.Config{InMemory: true})
		r := &rig{TB: t}
		r.ok(err)
		defer func() { r.ok(s.Close()) }()
		began, end := make(chan struct{}), make(chan struct{})
		first := s.DoAsync(ctx, func(*kvstore.Tx) error { close(began); <-end; return nil })
		<-began
		heap := func() int64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := heap()
		large := s.ApplyAsync(ctx, batch("large", strings.Repeat("x", 3<<20))) // one group with the next
		last := s.DoAsync(ctx, addOne("n"))
		close(end)
		for _, c := range []*kvstore.Commit{first, large, last} {
			r.ok(c.Wait(ctx))
		}
		synctest.Wait() // until the writer has done with the group
		if grown := heap() - before; grown > 1<<20 {
			t.Errorf("%d MiB stay", grown>>20)
		}
	})
}
