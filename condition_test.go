package kvstore_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"kvstore"
	"kvstore/internal/vfs"
)

// This file is about CompareAndSwap.

func TestCompareAndSwap(t *testing.T) {
	one, two, empty := []byte("1"), []byte("2"), []byte{}
	for _, c := range []struct {
		name      string
		now       []byte // nil: absent
		old, next []byte
		swapped   bool
	}{
		{"the value", one, one, two, true},
		{"another value", one, two, two, false},
		{"a longer value", one, []byte("11"), two, false},
		{"absent, and is", nil, nil, one, true},
		{"absent, and is not", one, nil, two, false},
		{"absent, and is empty", empty, nil, two, false},
		{"empty, and is", empty, empty, one, true},
		{"empty, and is absent", nil, empty, one, false},
		{"a value, and is absent", nil, one, two, false},
		{"to empty", one, one, empty, true},
		{"to absent", one, one, nil, true},
		{"absent to absent", nil, nil, nil, true},
		{"to absent, and is another", one, two, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			s := r.open()
			want := []string{"other", "x"}
			r.set(s, want...)
			if c.now != nil {
				r.set(s, "a", string(c.now))
			}
			swapped, err := s.CompareAndSwap("a", c.old, c.next)
			r.ok(err)
			if swapped != c.swapped {
				t.Fatalf("swapped: %v", swapped)
			}
			now := c.now
			if swapped {
				now = c.next
			}
			if now != nil {
				want = append(want, "a", string(now))
			}
			r.want(s, want...)
			r.want(r.reopenAfter(s, r.kill), want...)
		})
	}
}

func TestCompareAndSwapIsRefused(t *testing.T) {
	r := newRig(t)
	s := r.open()
	try := func(key string, next []byte, want ...error) {
		t.Helper()
		swapped, err := s.CompareAndSwap(key, nil, next)
		if r.fails(err, want...); swapped {
			t.Fatal("swapped")
		}
	}
	try(strings.Repeat("x", kvstore.MaxKeyBytes+1), nil, kvstore.ErrKeyTooLarge)
	r.set(s, "a", "1")
	r.fail(written(vfs.OpSync), syscall.EIO, forever)
	try("b", []byte("1"), kvstore.ErrFailed, syscall.EIO)
	try("b", []byte("1"), kvstore.ErrFailed, syscall.EIO)
	r.fails(s.Close(), kvstore.ErrFailed)
	try("b", nil, kvstore.ErrClosed)
	r.fs.SetHook(nil)
	r.ok(r.open().Close())
	r.config.ReadOnly = true
	s = r.open()
	try("b", nil, kvstore.ErrReadOnly)
}

// A condition ends with its call: the next user of the same command writes
// unconditionally.
func TestSetAfterCompareAndSwap(t *testing.T) {
	r := newRig(t)
	s := r.open()
	for i := range 100 {
		swapped, err := s.CompareAndSwap("a", []byte("absent"), nil)
		if r.ok(err); swapped {
			t.Fatal("swapped")
		}
		if r.set(s, "b", strconv.Itoa(i)); s.Len() != 1 {
			t.Fatalf("Set number %d left %d keys", i, s.Len())
		}
		r.want(s, "b", strconv.Itoa(i))
	}
}

// In a group, each condition is checked against the state that the commands
// before it leave. A swap that is refused is no commit.
func TestCompareAndSwapInAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", "1")
		before := s.Stats()
		st := r.stall(vfs.OpWrite)
		r.undecided(s.ApplyAsync(ctx, batch("first", "")))
		<-st.began
		type result struct{ swapped bool }
		var results []chan result
		swap := func(old []byte, next string) {
			c := make(chan result, 1)
			go func() {
				swapped, err := s.CompareAndSwap("a", old, []byte(next))
				if err != nil {
					t.Error(err)
				}
				c <- result{swapped}
			}()
			synctest.Wait() // so that they are queued in this order
			results = append(results, c)
		}
		swap([]byte("1"), "2")
		swap([]byte("1"), "3")
		swap([]byte("2"), "4")
		s.ApplyAsync(ctx, batch("a", "5"))
		swap([]byte("4"), "6")
		swap([]byte("5"), "7")
		deletion := &kvstore.Batch{}
		deletion.Delete("a")
		s.ApplyAsync(ctx, deletion)
		swap([]byte("7"), "8")
		swap(nil, "9")
		st.release()
		for i, want := range []bool{true, false, true, false, true, false, true} {
			if got := <-results[i]; got.swapped != want {
				t.Errorf("number %d: swapped %v", i, got.swapped)
			}
		}
		r.want(s, "a", "9", "first", "")
		if commits := s.Stats().Commits - before.Commits; commits != 7 {
			t.Errorf("%d commits", commits)
		}
	})
}

// P3: "false" depends on a write too, the one that it has seen. It is returned
// when that write is durable, and fails with it.
func TestP3FalseWaitsForWhatItDependsOn(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			s := r.open()
			r.set(s, "a", "1")
			began, end := make(chan struct{}, 10), make(chan struct{})
			first := s.ApplyAsync(ctx, batch("another", ""))
			r.ok(first.Wait(ctx))
			r.fs.SetHook(func(op vfs.Op) error {
				if op.Kind == vfs.OpSync {
					began <- struct{}{}
					<-end
					if fails {
						return syscall.EIO
					}
				}
				return nil
			})
			hold := s.ApplyAsync(ctx, batch("hold", "")) // so that the next two are one group
			<-began
			set := s.ApplyAsync(ctx, batch("a", "2"))
			swap := async(func() error {
				swapped, err := s.CompareAndSwap("a", []byte("1"), []byte("3"))
				if err == nil && swapped {
					t.Error("swapped")
				}
				return err
			})
			synctest.Wait() // until it is queued
			end <- struct{}{}
			if fails {
				failedWith(r, hold.Wait(ctx), syscall.EIO)
				failedWith(r, set.Wait(ctx), syscall.EIO)
				failedWith(r, <-swap, syscall.EIO)
				return
			}
			r.ok(hold.Wait(ctx))
			<-began
			synctest.Wait()
			select {
			case err := <-swap:
				t.Fatalf("answered before what it depends on is durable: %v", err)
			default:
			}
			close(end)
			r.ok(set.Wait(ctx))
			r.ok(<-swap)
			r.want(s, "a", "2", "another", "", "hold", "")
		})
	}
}

// Many goroutines count up one key, and no increment is lost.
func TestCompareAndSwapCounts(t *testing.T) {
	const goroutines, each = 8, 40
	r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
	s := r.open()
	r.set(s, "n", "0")
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for done := 0; done < each; {
				old, _ := s.Get("n")
				n, err := strconv.Atoi(string(old))
				if err != nil {
					t.Error(err)
					return
				}
				swapped, err := s.CompareAndSwap("n", old, fmt.Append(nil, n+1))
				if err != nil {
					t.Error(err)
					return
				}
				if swapped {
					done++
				}
			}
		})
	}
	wg.Wait()
	r.want(s, "n", fmt.Sprint(goroutines*each))
	r.want(r.reopenAfter(s, r.kill), "n", fmt.Sprint(goroutines*each))
}
