package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
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

func TestSetGetDelete(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.want(s)
	r.lacks(s, "a", "")
	r.set(s, "a", "1", "b", "2", "a", "3")
	r.want(s, "a", "3", "b", "2")
	r.ok(s.Delete("a"))
	r.ok(s.Delete("a")) // an absent key is no error
	r.ok(s.Delete("never there"))
	r.want(s, "b", "2")
	b := batch("c", "4", "b", "5", "c", "6")
	b.Delete("b")
	b.Delete("d")
	b.Set("d", []byte("7"))
	if b.Len() != 6 {
		t.Fatalf("batch of %d writes, want 6", b.Len())
	}
	r.ok(s.Apply(ctx, b))
	r.want(s, "c", "6", "d", "7")
	r.ok(s.Apply(ctx, b)) // is as it was
	r.ok(s.ApplyAsync(ctx, b).Wait(ctx))
	r.want(s, "c", "6", "d", "7")
	b.Reset()
	if b.Len() != 0 {
		t.Fatalf("batch of %d writes after Reset", b.Len())
	}
	b.Set("e", []byte("8"))
	r.ok(s.Apply(ctx, b))
	r.want(s, "c", "6", "d", "7", "e", "8")
}

// End to end on the real file system.
func TestOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a directory", "of two levels")
	r := newRig(t)
	for session := range 3 {
		s, err := kvstore.Open(dir)
		r.ok(err)
		for i := range session * 100 {
			if value, ok := s.Get(fmt.Sprint(i)); !ok || string(value) != fmt.Sprint("value ", i) {
				t.Fatalf("session %d: %d is %q, %v", session, i, value, ok)
			}
		}
		if s.Len() != session*100 {
			t.Fatalf("session %d: %d keys", session, s.Len())
		}
		for i := session * 100; i < session*100+100; i++ {
			r.set(s, fmt.Sprint(i), fmt.Sprint("value ", i))
		}
		r.close(s)
	}
}

func TestP9OwnershipOfKeysAndValues(t *testing.T) {
	r := newRig(t)
	s := r.open()
	scribble := func(b []byte) {
		for i := range b[:cap(b)] {
			b[:cap(b)][i] = '!'
		}
	}
	value := []byte("value")
	r.ok(s.Set("set", value))
	b := &kvstore.Batch{}
	b.Set("batch", value)
	scribble(value) // before Apply: the batch has its own
	r.ok(s.Apply(ctx, b))
	want := []string{"set", "value", "batch", "value"}
	r.want(s, want...)

	got, _ := s.Get("set")
	scribble(got)
	r.want(s, want...)
	got, _ = s.Get("set")
	_ = append(got, "!!!"...)
	scribble(got)
	got, _ = s.AppendGet(nil, "batch")
	scribble(got)
	r.want(s, want...)
	keys := s.Keys()
	for i := range keys {
		keys[i] = "!"
	}
	r.want(s, want...)
	r.want(r.reopenAfter(s, r.kill), want...)
}

// P9: a command owns its bytes as soon as it is queued, whatever its caller
// does.
func TestP9QueuedCommandsOwnTheirBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		st := r.stall(vfs.OpSync)
		first := s.ApplyAsync(ctx, batch("first", "1")) // hangs in its fsync; what follows hangs in the queue
		r.undecided(first)

		value := []byte("value")
		b := &kvstore.Batch{}
		b.Set("async", value)
		queued := s.ApplyAsync(ctx, b)
		b.Reset()
		b.Set("asynk", []byte("!!!!!"))

		abandoned, cancel := context.WithCancel(ctx)
		b.Reset()
		b.Set("abandoned", value)
		result := async(func() error { return s.Apply(abandoned, b) })
		r.waits(result)
		cancel()
		r.fails(<-result, context.Canceled)
		b.Reset()
		b.Set("abandonee", []byte("!!!!!"))

		setValue := []byte("value")
		set := async(func() error { return s.Set("set", setValue) })
		r.waits(set)
		copy(setValue, "!!!!!") // though Set has not returned
		for range 100 {         // nor are those bytes used again
			other := s.ApplyAsync(ctx, batch("other", "!!!!!"))
			defer func() { r.ok(other.Wait(ctx)) }()
		}

		st.release()
		r.ok(queued.Wait(ctx))
		r.ok(<-set)
		r.ok(s.Sync())
		r.want(s, "first", "1", "async", "value", "abandoned", "value", "set", "value", "other", "!!!!!")
	})
}

// P9: an empty value reads as non-nil and empty, wherever it comes from.
func TestP9EmptyValues(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.ok(s.Set("nil", nil))
	r.ok(s.Set("empty", []byte{}))
	r.ok(s.Set("", nil)) // the empty key too
	b := &kvstore.Batch{}
	b.Set("batch", nil)
	r.ok(s.Apply(ctx, b))
	check := func() {
		t.Helper()
		r.want(s, "nil", "", "empty", "", "", "", "batch", "")
		for _, key := range s.Keys() {
			if value, ok := s.Get(key); value == nil || len(value) != 0 || !ok {
				t.Fatalf("Get(%q): %v, %v", key, value, ok)
			}
			if value, ok := s.AppendGet(nil, key); value == nil || len(value) != 0 || !ok {
				t.Fatalf("AppendGet(nil, %q): %v, %v", key, value, ok)
			}
		}
		if value, ok := s.Get("absent"); value != nil || ok {
			t.Fatalf("an absent key: %v, %v", value, ok)
		}
	}
	check()
	s = r.reopenAfter(s, r.kill) // from the log
	check()
	s = r.reopenAfter(s, r.close) // from the snapshot
	check()
}

// MultiGet finds what Get finds, for any number and size of keys, duplicates
// included. Each value belongs to the caller.
func TestMultiGet(t *testing.T) {
	r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
	s := r.open()
	want := map[string]string{}
	b := new(kvstore.Batch)
	for i := range 300 {
		key, size := fmt.Sprint(i), i*7%1500 // some share memory, some do not
		if i%11 == 0 {
			size = 0
		}
		want[key] = strings.Repeat(string(rune('a'+i%26)), size)
		b.Set(key, []byte(want[key]))
	}
	r.ok(s.Apply(ctx, b))
	for _, n := range []int{0, 1, 2, 63, 64, 65, 128, 300, 1000} {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprint(i * 7 % 400) // a quarter of them absent
		}
		values := s.MultiGet(keys)
		if len(values) != n {
			t.Fatalf("%d values for %d keys", len(values), n)
		}
		for range 2 {
			for i, value := range values {
				text, present := want[keys[i]]
				if string(value) != text || (value != nil) != present {
					t.Fatalf("%d keys: %s is %.40q, want %.40q, %t", n, keys[i], value, text, present)
				}
				_ = append(value, "into the neighbour's memory"...)
			}
		}
		for i := range values { // nothing of the store's own either
			clear(values[i])
		}
	}
	for key, value := range want {
		if got, ok := s.Get(key); !ok || string(got) != value {
			t.Fatalf("%s is %.40q, want %.40q", key, got, value)
		}
	}
}

func TestAppendGet(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "value")
	dst := append(make([]byte, 0, 64), "dst:"...)
	if got, ok := s.AppendGet(dst, "a"); string(got) != "dst:value" || !ok || &got[0] != &dst[0] {
		t.Fatalf("%q, %v", got, ok)
	}
	if got, ok := s.AppendGet(dst[:2:2], "a"); string(got) != "dsvalue" || !ok || string(dst) != "dst:" {
		t.Fatalf("without room: %q, %v", got, ok)
	}
	if got, ok := s.AppendGet(dst, "absent"); string(got) != "dst:" || ok || &got[0] != &dst[0] {
		t.Fatalf("an absent key: %q, %v", got, ok)
	}
	if n := testing.AllocsPerRun(100, func() { dst, _ = s.AppendGet(dst[:0], "a") }); n != 0 {
		t.Errorf("%v allocations in AppendGet with room", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Has("a"), s.Len() }); n != 0 {
		t.Errorf("%v allocations in Has and Len", n)
	}
}

// P13: the timestamp of each commit is max(now, last+1), whatever the clock
// does, across sessions, and for each commit of a group.
func TestP13VersionsRise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock atomic.Int64
		clock.Store(1000)
		r := newRig(t, kvstore.WithClock(func() time.Time { return time.Unix(0, clock.Load()) }))
		s := r.open()
		var want []int64
		check := func() {
			t.Helper()
			var got []int64
			for _, e := range r.writes() {
				got = append(got, e.timestamp)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("timestamps %v, want %v", got, want)
			}
		}
		r.set(s, "a", "", "b", "") // the clock stands still
		clock.Store(5000)          // jumps
		r.ok(s.Delete("a"))
		clock.Store(10) // steps back
		r.ok(s.Apply(ctx, batch("c", "", "d", "", "e", "")))
		r.ok(s.Apply(ctx, &kvstore.Batch{})) // no commit
		r.set(s, "f", "")
		want = []int64{1000, 1001, 5000, 5001, 5001, 5001, 5002}
		check()

		st := r.stall(vfs.OpSync) // one group of several commits
		var commits []*kvstore.Commit
		for i := range 4 {
			commits = append(commits, s.ApplyAsync(ctx, batch(fmt.Sprint(i), "", "x", "")))
			r.undecided(commits[i])
		}
		st.release()
		for _, c := range commits {
			r.ok(c.Wait(ctx))
		}
		want = append(want, 5003, 5003, 5004, 5004, 5005, 5005, 5006, 5006)
		check()

		s = r.reopenAfter(s, r.kill)
		r.set(s, "g", "")
		want = append(want, 5007)
		check()
		r.ok(s.Delete("absent")) // a commit like any other, though it changes nothing
		s = r.reopenAfter(s, r.close)
		want = nil // the snapshot has taken the log's place
		check()
		r.set(s, "h", "")
		want = []int64{5009}
		check()
		for _, key := range s.Keys() {
			r.ok(s.Delete(key))
		}
		last := 5009 + int64(len(r.writes())-1)
		s = r.reopenAfter(s, r.close) // a snapshot of nothing has a version too
		r.want(s)
		r.set(s, "i", "")
		want = []int64{last + 1}
		check()
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		want := func(keys int, groups, commits uint64) {
			t.Helper()
			got := s.Stats()
			size := int64(0)
			for _, e := range r.entries() {
				if e.op == 0x10 || e.op == 0x12 {
					continue // SEGMENT and END are no part of a group
				}
				size += 21 + int64(len(e.key)+len(e.value))
			}
			if got.Keys != keys || got.Groups != groups || got.Syncs != groups || got.Commits != commits {
				t.Fatalf("%+v, want %d keys, %d groups and syncs, %d commits", got, keys, groups, commits)
			}
			if got.WALBytes != size {
				t.Fatalf("WALBytes %d, the log's groups have %d", got.WALBytes, size)
			}
		}
		want(0, 0, 0)
		r.set(s, "a", "1", "b", "2", "a", "3")
		want(2, 3, 3)
		r.ok(s.Apply(ctx, batch("c", "", "d", "", "e", "")))
		r.ok(s.Delete("absent"))
		r.ok(s.Apply(ctx, &kvstore.Batch{}))
		r.ok(s.ApplyAsync(ctx, &kvstore.Batch{}).Wait(ctx))
		r.ok(s.Sync())
		r.fails(s.Set(strings.Repeat("k", 1<<16), nil), kvstore.ErrKeyTooLarge)
		want(5, 5, 5)

		st := r.stall(vfs.OpSync)
		commits := []*kvstore.Commit{s.ApplyAsync(ctx, batch("f", ""))}
		r.undecided(commits[0])
		for i := range 10 {
			commits = append(commits, s.ApplyAsync(ctx, batch(fmt.Sprint(i), "")))
		}
		st.release()
		for _, c := range commits {
			r.ok(c.Wait(ctx))
		}
		want(16, 7, 16) // ten of them together
		r.set(s, "large", strings.Repeat("v", 10_000))
		r.ok(s.Delete("large")) // in another segment
		want(16, 9, 18)

		if rec := s.Stats().Recovery; rec.Snapshot != "" || rec.Groups != 0 || rec.Entries != 0 || rec.Dropped != nil {
			t.Fatalf("a new store: %+v", rec)
		}
		s = r.reopenAfter(s, r.kill)
		if rec := s.Stats().Recovery; rec.Snapshot != "" || rec.Groups != 9 || rec.Entries != 20 || rec.Dropped != nil {
			t.Fatalf("after a kill: %+v", rec)
		}
		want(16, 0, 0)
		r.set(s, "g", "")
		want(17, 1, 1)
		last := s.Stats()
		r.close(s)
		if got := s.Stats(); got.Keys != 17 || got.Groups != 1 || got.Commits != 1 || got.WALBytes < last.WALBytes {
			t.Fatalf("after Close: %+v, before: %+v", got, last)
		}
		s = r.open()
		rec := s.Stats().Recovery
		if !slices.Contains(r.fs.Names(r.config.DataDir), rec.Snapshot) || rec.Groups != 0 || rec.Entries != 0 {
			t.Fatalf("after Close: %+v", rec)
		}
		want(17, 0, 0)
	})
}

// Stats.Version is the version of the last commit that readers see: it is there
// after Open, it waits for the fsync as the commit does, and it stays after
// Close.
func TestStatsVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		last := int64(0)
		want := func(version int64) {
			t.Helper()
			if got := s.Stats().Version; got != version {
				t.Fatalf("Stats.Version %d, want %d", got, version)
			}
			if v, err := s.View(); err == nil && v.Version() != version {
				t.Fatalf("View.Version %d, want %d", v.Version(), version)
			} else if err == nil {
				r.ok(v.Close())
			}
			last = version
		}
		lastWritten := func() int64 {
			t.Helper()
			writes := r.writes()
			return writes[len(writes)-1].timestamp
		}
		want(0)
		r.set(s, "a", "1")
		want(lastWritten())
		r.ok(s.Apply(ctx, batch("b", "1", "c", "1")))
		r.ok(s.Apply(ctx, &kvstore.Batch{})) // no commit
		want(lastWritten())
		st := r.stall(vfs.OpSync)
		hangs := s.ApplyAsync(ctx, batch("a", "2"))
		r.undecided(hangs)
		want(last) // of what is visible, not of what was written
		st.release()
		r.ok(hangs.Wait(ctx))
		want(hangs.Version())
		s = r.reopenAfter(s, r.kill)
		want(last)
		r.ok(s.Delete("a"))
		want(lastWritten())
		r.close(s)
		want(last)
		s = r.open() // from a snapshot
		want(last)
		r.close(s)
		r.config.ReadOnly = true
		s = r.open()
		want(last)
	})
}

// Commit.Version is the commit's timestamp in the log once it is done, and 0
// before, and for what made no commit.
func TestCommitVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kvstore.WithMaxKeys(6))
		s := r.open()
		st := r.stall(vfs.OpSync)
		commits := []*kvstore.Commit{s.ApplyAsync(ctx, batch("a", "1"))}
		r.undecided(commits[0])
		// makes no commit
		swap := async(func() error { _, err := s.CompareAndSwap("a", []byte("none"), nil); return err })
		synctest.Wait()
		for i := range 5 {
			commits = append(commits, s.ApplyAsync(ctx, batch(fmt.Sprint(i), "", "a", fmt.Sprint(i))))
		}
		synctest.Wait()
		for _, c := range commits {
			if v := c.Version(); v != 0 {
				t.Fatalf("version %d before the commit is done", v)
			}
		}
		st.release()
		var want []int64
		for _, c := range commits {
			r.ok(c.Wait(ctx))
			want = append(want, c.Version())
		}
		r.ok(<-swap)
		var got []int64
		for _, e := range r.writes() {
			got = append(got, e.timestamp)
		}
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Fatalf("versions %v, in the log %v", want, got)
		}

		none := func(c *kvstore.Commit, errs ...error) {
			t.Helper()
			r.fails(c.Wait(ctx), errs...)
			if v := c.Version(); v != 0 {
				t.Fatalf("version %d, though there is no commit", v)
			}
		}
		none(s.ApplyAsync(ctx, &kvstore.Batch{}))
		none(s.ApplyAsync(ctx, batch("one too many", "")), kvstore.ErrStoreFull)
		none(s.ApplyAsync(ctx, batch(strings.Repeat("k", kvstore.MaxKeyBytes+1), "")), kvstore.ErrKeyTooLarge)
		r.fs.SetHook(failing(vfs.OpSync, syscall.EIO))
		none(s.ApplyAsync(ctx, batch("a", "")), kvstore.ErrFailed) // written, and not durable
		none(s.ApplyAsync(ctx, batch("a", "")), kvstore.ErrFailed)
		_ = s.Close() // it has failed
		none(s.ApplyAsync(ctx, batch("a", "")), kvstore.ErrClosed)
	})
}

// Syncs counts the fsyncs that made groups durable before their callers were
// answered. With SyncWrites false there are none.
func TestStatsWithoutSyncWrites(t *testing.T) {
	r := newRig(t)
	r.config.SyncWrites = false
	s := r.open()
	r.set(s, "a", "", "b", "")
	r.ok(s.Sync())
	if got := s.Stats(); got.Syncs != 0 || got.Groups != 2 || got.Commits != 2 {
		t.Fatalf("%+v", got)
	}
}

func TestStatsTook(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRig(t, kvstore.WithClock(func() time.Time { now = now.Add(time.Second); return now }))
	r.close(r.open())
	r.config.ReadOnly = true // no other goroutine reads the clock
	if took := r.open().Stats().Recovery.Took; took < time.Second {
		t.Fatalf("took %v", took)
	}
}

func TestReadOnlyMissingDirectory(t *testing.T) {
	r := newRig(t)
	r.config.ReadOnly = true
	_, err := r.tryOpen()
	r.fails(err, fs.ErrNotExist)
	if names := r.fs.Names("/"); len(names) > 0 {
		t.Fatalf("created %q", names)
	}
	path := filepath.Join(t.TempDir(), "missing")
	_, err = kvstore.OpenWithConfig(kvstore.Config{DataDir: path, ReadOnly: true})
	r.fails(err, fs.ErrNotExist)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("created: %v", err)
	}
}

// readOnly checks that s has these pairs, refuses every write, and has changed
// nothing in the directory when it is closed.
func (r *rig) readOnly(before map[string]string, pairs ...string) {
	r.Helper()
	writing := r.config
	defer func() { r.config = writing }()
	r.config.ReadOnly = true
	s := r.open()
	r.want(s, pairs...)
	r.fails(s.Set("a", nil), kvstore.ErrReadOnly)
	r.fails(s.Delete("a"), kvstore.ErrReadOnly)
	r.fails(s.Apply(ctx, batch("a", "")), kvstore.ErrReadOnly)
	r.fails(s.ApplyAsync(ctx, batch("a", "")).Wait(ctx), kvstore.ErrReadOnly)
	r.ok(s.Sync())
	r.want(s, pairs...)
	r.ok(s.Close())
	r.ok(s.Close())
	closed(r, s)
	r.unchanged(before)
}

func TestReadOnlyWritesNothing(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.readOnlyIsLocked()
	r.set(s, "a", "1", "b", "2")
	r.kill(s)
	r.readOnly(r.files(), "a", "1", "b", "2") // a log

	last := slices.Max(r.fs.Names(r.config.DataDir))
	data, _ := r.fs.ReadFile(r.config.DataDir + "/" + last)
	r.ok(r.fs.WriteFile(r.config.DataDir+"/"+last+".tmp", []byte("left behind")))
	r.readOnly(r.files(), "a", "1", "b", "2")

	_, end := entriesOf(data)
	copy(data[end:], "torn")
	r.ok(r.fs.WriteFile(r.config.DataDir+"/"+last, data))
	r.config.ReadOnly = true
	dropped := r.open().Stats().Recovery.Dropped
	want := []kvstore.Dropped{{File: last, Offset: dropped[0].Offset, Bytes: 4}}
	if !slices.Equal(dropped, want) || dropped[0].Offset < 100 {
		t.Fatalf("dropped %+v", dropped)
	}
	r.fs.Kill()
	r.config.ReadOnly = false
	r.readOnly(r.files(), "a", "1", "b", "2") // a torn tail

	r.close(r.open())
	r.readOnly(r.files(), "a", "1", "b", "2") // a snapshot
	r.ok(r.fs.RemoveFile(r.config.DataDir + "/LOCK"))
	r.readOnly(r.files(), "a", "1", "b", "2") // a copy without LOCK, which stays one
}

// readOnlyIsLocked checks that even a read-only Open is refused.
func (r *rig) readOnlyIsLocked() {
	r.Helper()
	config := r.config
	config.ReadOnly = true
	_, err := kvstore.OpenFS(r.fs, config)
	r.fails(err, kvstore.ErrLocked)
}

// recorder is a slog.Handler that keeps its records and forwards them.
type recorder struct {
	slog.Handler
	mu      sync.Mutex
	records []string
	onError func()
}

func (h *recorder) Enabled(context.Context, slog.Level) bool { return true }

func (h *recorder) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *recorder) Handle(_ context.Context, record slog.Record) error {
	text := record.Level.String() + " " + record.Message
	record.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	h.mu.Lock()
	h.records = append(h.records, text)
	h.mu.Unlock()
	if record.Level == slog.LevelError && h.onError != nil {
		h.onError()
	}
	return nil
}

// of returns the records of a level.
func (h *recorder) of(level slog.Level) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.records), func(s string) bool {
		return !strings.HasPrefix(s, level.String())
	})
}

func TestLoggerIsTold(t *testing.T) {
	r := newRig(t)
	warned := func(words ...string) {
		t.Helper()
		h := &recorder{}
		r.config.Logger = slog.New(h)
		s := r.open()
		got, failed := h.of(slog.LevelWarn), h.of(slog.LevelError)
		r.kill(s)
		if len(got) != min(1, len(words)) || len(failed) > 0 {
			t.Fatalf("logged %q %q, want %q", got, failed, words)
		}
		for _, word := range words {
			if !strings.Contains(got[0], word) {
				t.Fatalf("logged %q, want %q", got, words)
			}
		}
	}
	warned()
	r.config.SyncWrites = false
	warned("SyncWrites")
	r.config.ReadOnly = true
	warned() // writes nothing, so it cannot lose anything
	r.config.SyncWrites, r.config.ReadOnly = true, false
	last := slices.Max(r.fs.Names(r.config.DataDir))
	data, _ := r.fs.ReadFile(r.config.DataDir + "/" + last)
	_, end := entriesOf(data)
	copy(data[end:], "torn")
	r.ok(r.fs.WriteFile(r.config.DataDir+"/"+last, data))
	warned("torn", last, fmt.Sprint("offset=", end), "bytes=4")
	warned() // it was repaired
}

// A Logger that calls the store while it is notified of the failure must not
// deadlock. A Logger that never returns must not block readers and writers.
// Close waits for it.
func TestLoggerMayCallTheStoreAndHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var s *kvstore.Store
		h := &recorder{}
		called, hang := make(chan error, 10), make(chan struct{})
		h.onError = func() {
			called <- s.Set("from the logger", nil)
			called <- s.ApplyAsync(ctx, batch("from the logger", "")).Wait(ctx)
			called <- s.Sync()
			if _, ok := s.Get("a"); !ok || s.Len() != 1 || len(s.Keys()) != 1 {
				called <- errors.New("cannot read")
			}
			close(called)
			<-hang
		}
		r.config.Logger = slog.New(h)
		s = r.open()
		r.set(s, "a", "1")
		r.fs.SetHook(failing(vfs.OpSync, syscall.EIO))
		r.fails(s.Set("b", nil), kvstore.ErrFailed, syscall.EIO)
		for err := range called {
			r.fails(err, kvstore.ErrFailed)
		}
		r.fails(s.Set("c", nil), kvstore.ErrFailed)
		r.fails(s.Sync(), kvstore.ErrFailed)
		r.want(s, "a", "1")
		result := async(s.Close)
		r.waits(result)
		close(hang)
		r.fails(<-result, kvstore.ErrFailed)
		if got := h.of(slog.LevelError); len(got) != 1 || !strings.Contains(got[0], syscall.EIO.Error()) {
			t.Fatalf("logged %q", got)
		}
	})
}

// A program may test itself with synctest more than once, and use stores
// outside of bubbles too. A mistake here ends the process, so this test runs in
// one of its own.
func TestStoreInOneBubbleAndAnother(t *testing.T) {
	const child = "KVSTORE_TEST_BUBBLES"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%.400s", err, out)
		}
		return
	}
	use := func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		for range 100 {
			r.set(s, "a", "1")
			r.ok(s.Delete("a"))
			r.ok(s.Apply(ctx, batch("a", "1")))
			r.ok(s.Sync())
		}
	}
	synctest.Test(t, use)
	synctest.Test(t, use)
	use(t)
	synctest.Test(t, use)
}
