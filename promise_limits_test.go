package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"kvstore"
	"kvstore/internal/vfs"
)

// This file is about limits (P12). They are checked on the way in, on both
// sides of each, and in a defined order.

func TestP12Keys(t *testing.T) {
	r := newRig(t)
	s := r.open()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	longest := strings.Repeat("k", kvstore.MaxKeyBytes)
	want := []string{"", "empty key", string(every), string(every), longest, "longest", "\xff\xfe not UTF-8", "\x00"}
	r.set(s, want...)
	tooLong := longest + "k"
	r.fails(s.Set(tooLong, nil), kvstore.ErrKeyTooLarge)
	r.fails(s.Delete(tooLong), kvstore.ErrKeyTooLarge)
	r.fails(s.Apply(ctx, batch("x", "", tooLong, "")), kvstore.ErrKeyTooLarge)
	r.fails(s.ApplyAsync(ctx, batch("x", "", tooLong, "")).Wait(ctx), kvstore.ErrKeyTooLarge)
	b := batch("x", "")
	b.Delete(tooLong)
	r.fails(s.Apply(ctx, b), kvstore.ErrKeyTooLarge)
	r.want(s, want...)
	r.lacks(s, tooLong)
	s = r.reopenAfter(s, r.kill)
	r.want(s, want...)
	s = r.reopenAfter(s, r.close)
	r.want(s, want...)
	for i := 0; i < len(want); i += 2 {
		r.ok(s.Delete(want[i]))
	}
	r.want(s)
	if kvstore.MaxKeyBytes != 65_535 || kvstore.MaxValueBytes != 512<<20 || kvstore.MaxBatchBytes != 1<<30 {
		t.Error("the limits have changed")
	}
}

func TestP12ValuesTooLarge(t *testing.T) {
	r := newRig(t)
	s := r.open()
	tooLong := make([]byte, kvstore.MaxValueBytes+1) // never touched, so it takes no memory
	r.fails(s.Set("a", tooLong), kvstore.ErrValueTooLarge)
	b := batch("b", "1")
	b.Set("c", tooLong)
	r.fails(s.Apply(ctx, b), kvstore.ErrValueTooLarge)
	if err := s.Apply(ctx, b); !strings.Contains(err.Error(), `write 2, key "c"`) {
		t.Errorf("which write it is: %v", err)
	}
	r.fails(s.ApplyAsync(ctx, b).Wait(ctx), kvstore.ErrValueTooLarge)
	r.want(s)
}

// P12: the largest value passes the limits and fails only because the disk has
// no space for it. Writing it would test the memory's speed, not the store.
func TestP12LargestValue(t *testing.T) {
	if slow() {
		t.Skip("copies 512 MiB, which takes the race detector ten times as long")
	}
	r := newRig(t)
	s := r.open()
	r.fs.SetHook(failing(vfs.OpAllocate, syscall.ENOSPC))
	r.fails(s.Set("a", make([]byte, kvstore.MaxValueBytes)), syscall.ENOSPC)
	r.want(s)
}

// P12: the size of a batch is key, value and 21 bytes for each write.
func TestP12BatchTooLarge(t *testing.T) {
	r := newRig(t)
	s := r.open()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	b := &kvstore.Batch{}
	// A batch within the limits passes their check and fails at that of the
	// context, so nothing has to be written.
	for _, c := range []struct {
		free int
		add  func(b *kvstore.Batch)
		want error
	}{
		{21, func(b *kvstore.Batch) { b.Set("", nil) }, context.Canceled},
		{20, func(b *kvstore.Batch) { b.Set("", nil) }, kvstore.ErrBatchTooLarge},
		{28, func(b *kvstore.Batch) { b.Set("key", []byte("four")) }, context.Canceled},
		{27, func(b *kvstore.Batch) { b.Set("key", []byte("four")) }, kvstore.ErrBatchTooLarge},
		{24, func(b *kvstore.Batch) { b.Delete("key") }, context.Canceled},
		{23, func(b *kvstore.Batch) { b.Delete("key") }, kvstore.ErrBatchTooLarge},
		{42, func(b *kvstore.Batch) { b.Delete(""); b.Set("", nil) }, context.Canceled},
		{41, func(b *kvstore.Batch) { b.Delete(""); b.Set("", nil) }, kvstore.ErrBatchTooLarge},
	} {
		kvstore.FillBatch(b, kvstore.MaxBatchBytes-c.free)
		c.add(b)
		if err := s.Apply(ended, b); !errors.Is(err, c.want) {
			t.Errorf("Apply with %d bytes left: %v, want %v", c.free, err, c.want)
		}
		if err := s.ApplyAsync(ended, b).Wait(ctx); !errors.Is(err, c.want) {
			t.Errorf("ApplyAsync with %d bytes left: %v, want %v", c.free, err, c.want)
		}
	}
	r.want(s)
}

// P12: a batch that is made anew each time does not leave several times its
// size to the garbage collector: it doubles its room. A small batch stays
// small, and a single large value gets no more room than it needs.
func TestP12BatchRoom(t *testing.T) {
	fill := func(writes int) (b *kvstore.Batch, rooms int) {
		b = new(kvstore.Batch)
		value, room := make([]byte, 100), 0
		for range writes {
			if b.Set("key", value); b.Room() != room {
				room = b.Room()
				rooms++
			}
		}
		return b, rooms
	}
	small, _ := fill(1)
	large, rooms := fill(1000) // 124,000 bytes
	if small.Room() > 1<<10 || rooms > 9 || large.Room() > 2*124_000 {
		t.Fatalf("room for %d bytes in a batch of one write; %d times more room for 1000, for %d bytes",
			small.Room(), rooms, large.Room())
	}
	huge := new(kvstore.Batch)
	if huge.Set("key", make([]byte, 10<<20)); huge.Room() > 11<<20 {
		t.Fatalf("room for %d bytes in a batch of one large value", huge.Room())
	}
}

// P12: Apply reports the first limit that was broken and applies nothing. Reset
// forgets it.
func TestP12BatchReportsFirstLimitBroken(t *testing.T) {
	r := newRig(t)
	s := r.open()
	b, tooLong := &kvstore.Batch{}, make([]byte, kvstore.MaxValueBytes+1)
	limits := map[error]func(b *kvstore.Batch){
		kvstore.ErrKeyTooLarge:   func(b *kvstore.Batch) { b.Delete(strings.Repeat("k", kvstore.MaxKeyBytes+1)) },
		kvstore.ErrValueTooLarge: func(b *kvstore.Batch) { b.Set("v", tooLong) },
		kvstore.ErrBatchTooLarge: func(b *kvstore.Batch) { b.Set("twelve bytes", make([]byte, 100)) },
	}
	for first, breakFirst := range limits {
		for second, breakSecond := range limits {
			kvstore.FillBatch(b, kvstore.MaxBatchBytes-100)
			breakFirst(b)
			breakSecond(b)
			b.Set("x", nil)
			err := s.Apply(ctx, b)
			if !errors.Is(err, first) || (!errors.Is(second, first) && errors.Is(err, second)) {
				t.Errorf("first %v, then %v: Apply says %v", first, second, err)
			}
			b.Reset()
			b.Set("after reset", nil)
			r.ok(s.Apply(ctx, b))
		}
	}
	r.want(s, "after reset", "")
}

// P12: the order is limits, closed, failed, read-only, ctx.
func TestP12OrderOfChecks(t *testing.T) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	open := func(t *testing.T, states ...string) *kvstore.Store {
		r := newRig(t)
		r.config.ReadOnly = slices.Contains(states, "read-only")
		if r.config.ReadOnly {
			r.config.ReadOnly = false
			r.close(r.open())
			r.config.ReadOnly = true
		}
		s := r.open()
		if slices.Contains(states, "failed") {
			r.fs.SetHook(failing(vfs.OpSync, syscall.EIO))
			r.fails(s.Set("a", nil), kvstore.ErrFailed)
		}
		if slices.Contains(states, "closed") {
			_ = s.Close()
		}
		return s
	}
	for _, c := range []struct {
		name   string
		states []string
		key    string
		ctx    context.Context
		want   error
	}{
		{"limits before closed", []string{"closed"}, strings.Repeat("k", 65_536), ended, kvstore.ErrKeyTooLarge},
		{"limits before failed", []string{"failed"}, strings.Repeat("k", 65_536), ended, kvstore.ErrKeyTooLarge},
		{"limits before read-only", []string{"read-only"}, strings.Repeat("k", 65_536), ended, kvstore.ErrKeyTooLarge},
		{"limits before ctx", nil, strings.Repeat("k", 65_536), ended, kvstore.ErrKeyTooLarge},
		{"closed before failed", []string{"failed", "closed"}, "a", ended, kvstore.ErrClosed},
		{"closed before read-only", []string{"read-only", "closed"}, "a", ended, kvstore.ErrClosed},
		{"closed before ctx", []string{"closed"}, "a", ended, kvstore.ErrClosed},
		{"failed before ctx", []string{"failed"}, "a", ended, kvstore.ErrFailed},
		{"read-only before ctx", []string{"read-only"}, "a", ended, kvstore.ErrReadOnly},
		{"ctx", nil, "a", ended, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, c.states...)
			calls := map[string]error{
				"Apply":      s.Apply(c.ctx, batch(c.key, "")),
				"ApplyAsync": s.ApplyAsync(c.ctx, batch(c.key, "")).Wait(ctx),
			}
			if !errors.Is(c.want, context.Canceled) {
				calls["Set"] = s.Set(c.key, nil)
				calls["Delete"] = s.Delete(c.key)
			}
			for name, err := range calls {
				if !errors.Is(err, c.want) {
					t.Errorf("%s: %v, want %v", name, err, c.want)
				}
			}
		})
	}
}

func TestP12InvalidConfigs(t *testing.T) {
	for name, config := range map[string]kvstore.Config{
		"empty DataDir":         {SyncWrites: true},
		"negative SyncInterval": {DataDir: "/data/store", SyncInterval: -1},
	} {
		m := vfs.NewMem(nil)
		s, err := kvstore.OpenFS(m, config)
		if !errors.Is(err, kvstore.ErrInvalidConfig) || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if names := m.Names("/"); len(names) > 0 {
			t.Errorf("%s: created %q", name, names)
		}
	}
	if s, err := kvstore.Open(""); !errors.Is(err, kvstore.ErrInvalidConfig) || s != nil {
		t.Errorf("Open(\"\"): %v, %v", s, err)
	}
}

// P12: a command larger than the queue takes all of it, while other commands
// wait.
func TestP12CommandLargerThanTheQueue(t *testing.T) {
	r := newRig(t)
	s, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: t.TempDir()})
	r.ok(err)
	huge := make([]byte, 33<<20)
	huge[len(huge)-1] = 1
	var results []<-chan error
	for i := range 100 {
		if i == 50 {
			results = append(results, async(func() error { return s.Set("huge", huge) }))
		}
		results = append(results, async(func() error { return s.Set(fmt.Sprint(i), nil) }))
	}
	for _, result := range results {
		r.ok(<-result)
	}
	if got, _ := s.Get("huge"); !bytes.Equal(got, huge) || s.Len() != 101 {
		t.Fatalf("%d bytes, %d keys", len(got), s.Len())
	}
	r.ok(s.Delete("huge")) // keeps it out of the snapshot
	r.close(s)
}

// P12: the number of keys is limited, key by key.
func TestP12MaxKeys(t *testing.T) {
	r := newRig(t, kvstore.WithMaxKeys(3))
	s := r.open()
	r.set(s, "a", "1", "b", "1")
	r.fails(s.Apply(ctx, batch("c", "1", "d", "1")), kvstore.ErrStoreFull)
	r.want(s, "a", "1", "b", "1") // nothing of it
	r.ok(s.Apply(ctx, batch("c", "1", "c", "2", "b", "2")))
	for range 2 {
		r.want(s, "a", "1", "b", "2", "c", "2")
		r.fails(s.Set("d", nil), kvstore.ErrStoreFull)
		b := batch("d", "")
		b.Delete("absent")
		r.fails(s.ApplyAsync(ctx, b).Wait(ctx), kvstore.ErrStoreFull)
		r.set(s, "a", "1") // what is there may change
		s = r.reopenAfter(s, r.close)
	}
	b := batch("d", "1", "e", "1")
	b.Delete("a")
	b.Delete("d")
	r.ok(s.Apply(ctx, b)) // as many as before
	r.want(s, "b", "2", "c", "2", "e", "1")
	r.ok(s.Delete("b"))
	r.set(s, "f", "1")
	r.fails(s.Set("g", nil), kvstore.ErrStoreFull)
	r.ok(s.Sync()) // no failure of the store
	r.want(s, "c", "2", "e", "1", "f", "1")
}

// P12: writes that meet in one group are refused one by one.
func TestP12MaxKeysInOneGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kvstore.WithMaxKeys(3))
		s := r.open()
		st := r.stall(vfs.OpSync)
		commits := []*kvstore.Commit{s.ApplyAsync(ctx, batch("0", ""))}
		r.undecided(commits[0])
		for i := 1; i < 6; i++ {
			commits = append(commits, s.ApplyAsync(ctx, batch(fmt.Sprint(i), "")))
		}
		free := &kvstore.Batch{}
		free.Delete("0")
		freed, last := s.ApplyAsync(ctx, free), s.ApplyAsync(ctx, batch("last", ""))
		st.release()
		for i, c := range commits {
			if err := c.Wait(ctx); (err == nil) != (i < 3) || (i >= 3 && !errors.Is(err, kvstore.ErrStoreFull)) {
				t.Errorf("write %d: %v", i, err)
			}
		}
		r.ok(freed.Wait(ctx))
		r.ok(last.Wait(ctx))
		r.want(s, "1", "", "2", "", "last", "")
	})
}
