package kvstore_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

// This file is about views, and about backups and restored stores, which are
// made of views.

// view opens a view until the end of the test.
func (r *rig) view(s *kvstore.Store) *kvstore.View {
	r.Helper()
	v, err := s.View()
	r.ok(err)
	r.Cleanup(func() { _ = v.Close() })
	return v
}

// shows checks that a view shows these pairs of keys and values.
func (r *rig) shows(v *kvstore.View, pairs ...string) {
	r.Helper()
	if v.Len() != len(pairs)/2 {
		r.Fatalf("a view of %d keys, want %d", v.Len(), len(pairs)/2)
	}
	for i := 0; i < len(pairs); i += 2 {
		if value, ok := v.Get(pairs[i]); !ok || value == nil || string(value) != pairs[i+1] {
			r.Fatalf("a view shows %.40q, %v under %q, want %.40q", value, ok, pairs[i], pairs[i+1])
		}
	}
	if value, ok := v.Get("absent"); ok || value != nil || v.Has("absent") {
		r.Fatalf("a view shows %q under an absent key, Has %v", value, v.Has("absent"))
	}
	state := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		state[pairs[i]] = pairs[i+1]
	}
	wantScan(r, state, kvstore.Range{}, v.Scan(kvstore.Range{}))
	wantAll(r, state, v.All())
	keys := append(slices.Collect(maps.Keys(state)), "absent")
	for i, value := range v.MultiGet(keys) {
		want, present := state[keys[i]]
		if string(value) != want || (value != nil) != present || v.Has(keys[i]) != present {
			r.Fatalf("%q: MultiGet shows %.40q, Has %v, want %.40q, %v", keys[i], value, v.Has(keys[i]), want, present)
		}
	}
}

// wantAll wants pairs to be exactly those of a state, in any order.
func wantAll(t tester, state map[string]string, pairs func(func(string, []byte) bool)) {
	t.Helper()
	got := map[string]string{}
	for key, value := range pairs {
		if _, twice := got[key]; twice || value == nil {
			t.Fatalf("All shows %q as %.40q, twice: %v", key, value, twice)
		}
		got[key] = string(value)
	}
	if !maps.Equal(got, state) {
		t.Fatalf("All shows %.300v, want %.300v", got, state)
	}
}

func TestViewIsFrozen(t *testing.T) {
	r := newRig(t)
	s := r.open()
	empty := r.view(s)
	large := strings.Repeat("large ", 20_000)
	r.set(s, "a", "1", "b", "1", "empty", "", "large", large)
	first := r.view(s)
	r.ok(s.Apply(ctx, batch("a", "2", "c", "2", "large", "now small")))
	r.ok(s.Delete("b"))
	second := r.view(s)
	r.set(s, "a", "3", "b", "3")
	r.shows(empty)
	r.shows(first, "a", "1", "b", "1", "empty", "", "large", large)
	r.shows(second, "a", "2", "c", "2", "empty", "", "large", "now small")
	r.want(s, "a", "3", "b", "3", "c", "2", "empty", "", "large", "now small")
	if empty.Version() != 0 || first.Version() <= 0 || second.Version() <= first.Version() {
		t.Fatalf("versions %d, %d, %d", empty.Version(), first.Version(), second.Version())
	}
	value, _ := first.Get("a")
	value[0] = 'x' // the caller's own
	r.shows(first, "a", "1", "b", "1", "empty", "", "large", large)
	r.ok(first.Close())
	r.shows(first)
	if value, ok := first.Get("a"); ok || value != nil {
		t.Fatalf("a closed view shows %q", value)
	}
	r.shows(second, "a", "2", "c", "2", "empty", "", "large", "now small")
}

// P9: the pairs of All and the values of MultiGet belong to the caller, who may
// keep, change and append to them, large ones, small ones and old ones.
func TestP9PairsOfAViewAreTheCallers(t *testing.T) {
	r := newRig(t)
	s := r.open()
	state := map[string]string{}
	b := new(kvstore.Batch)
	for i := range 3000 {
		key, size := fmt.Sprint("key ", i), i%7
		switch i % 500 {
		case 1:
			size = 1024
		case 2:
			size = 1025
		case 3:
			size = 70_000
		case 4:
			key = strings.Repeat(key, 500)
		}
		state[key] = strings.Repeat(string(rune('a'+i%26)), size)
		b.Set(key, []byte(state[key]))
	}
	r.ok(s.Apply(ctx, b))
	v := r.view(s)
	for range 2 { // the second time, the view shows old states
		pairs, keys := map[string][]byte{}, []string(nil)
		for key, value := range v.All() {
			pairs[key], keys = value, append(keys, key)
			_ = append(value, "into the neighbor's memory"...)
		}
		wantAll(t, state, func(yield func(string, []byte) bool) {
			for key, value := range pairs {
				if !yield(key, value) {
					return
				}
			}
		})
		values := v.MultiGet(keys)
		for i := range values {
			_ = append(values[i], "into the neighbor's memory"...)
		}
		for i, key := range keys {
			if values[i] == nil || string(values[i]) != state[key] {
				t.Fatalf("MultiGet shows %.40q under %.40q, want %.40q", values[i], key, state[key])
			}
			clear(values[i])
			clear(pairs[key])
		}
		for _, key := range keys[:len(keys)/2] {
			b.Set(key, []byte("another"))
		}
		r.ok(s.Apply(ctx, b))
	}
	wantAll(t, state, v.All())
}

// P10: a loop over All ends when the view is closed. It may be left at any
// point, and its body may use the store and close it.
func TestP10AllAndClose(t *testing.T) {
	r := newRig(t)
	s := r.open()
	for i := range 1000 {
		r.set(s, fmt.Sprint(i), "")
	}
	v := r.view(s)
	for range v.All() {
		break
	}
	n := 0
	for key := range v.All() {
		r.ok(s.Delete(key))
		if n++; n == 500 {
			r.close(s)
			break
		}
	}
	if n = 0; v.Len() != 1000 {
		t.Fatalf("%d keys", v.Len())
	}
	for range v.All() {
		if n++; n == 10 {
			r.ok(v.Close())
		}
	}
	if n != 10 {
		t.Fatalf("a loop over a view that was closed after 10 pairs shows %d", n)
	}
	wantAll(t, nil, v.All())
	if values := v.MultiGet([]string{"0", "1"}); len(values) != 2 || values[0] != nil || values[1] != nil ||
		v.Has("0") {
		t.Fatalf("a closed view shows %q", values)
	}
}

// P10: when Close of a view has returned, no loop over it shows another pair,
// whatever goroutine has called it, and however many pairs the loop has shown.
func TestP10LoopsEndWithTheirView(t *testing.T) {
	r := newRig(t)
	s := r.open()
	b := new(kvstore.Batch)
	for i := range 1000 {
		b.Set(fmt.Sprint(i), fmt.Append(nil, i))
	}
	r.ok(s.Apply(ctx, b))
	for _, shown := range []int{1, 15, 16, 17, 100, 999} {
		v := r.view(s)
		var loops []func() (string, []byte, bool)
		for _, pairs := range []iter.Seq2[string, []byte]{
			v.All(), v.Scan(kvstore.Range{}), v.Scan(kvstore.Range{Reverse: true}), v.Scan(kvstore.Range{Limit: 1000}),
		} {
			next, stop := iter.Pull2(pairs)
			defer stop()
			for range shown {
				if _, _, ok := next(); !ok {
					t.Fatalf("a loop ends before %d pairs", shown)
				}
			}
			loops = append(loops, next)
		}
		r.ok(<-async(v.Close))
		for i, next := range loops {
			if key, _, ok := next(); ok {
				t.Errorf("loop %d shows %q after Close", i, key)
			}
		}
	}
}

// The memory that views retain is counted, and released when they are closed,
// in any order.
func TestViewsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", strings.Repeat("1", 1000))
		var views []*kvstore.View
		for i := range 5 {
			views = append(views, r.view(s))
			<-time.After(time.Second)
			r.set(s, "a", strings.Repeat(fmt.Sprint(i), 1000))
		}
		stats := s.Stats()
		if stats.Views != 5 || stats.OldestView != 5*time.Second || stats.ViewBytes < 5000 || stats.ViewBytes > 6000 {
			t.Fatalf("%d views, the oldest for %v, %d bytes", stats.Views, stats.OldestView, stats.ViewBytes)
		}
		for _, i := range testseed.Rand(t).Perm(5) {
			r.ok(views[i].Close())
			r.ok(views[i].Close())
		}
		if stats := s.Stats(); stats.Views != 0 || stats.OldestView != 0 || stats.ViewBytes != 0 {
			t.Fatalf("%d views, the oldest for %v, %d bytes", stats.Views, stats.OldestView, stats.ViewBytes)
		}
	})
}

// A view neither waits for the writer nor blocks it. It opens and reads while
// the disk hangs, and when the store has failed.
func TestP3ViewsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", "1")
		before := r.view(s)
		st := r.stall(vfs.OpSync)
		set := async(func() error { return s.Set("a", []byte("2")) })
		<-st.began
		during := r.view(s)
		r.shows(during, "a", "1")
		r.fail(written(vfs.OpSync), syscall.EIO, forever)
		st.release()
		r.ok(<-set)
		failed := async(func() error { return s.Set("a", []byte("3")) })
		failedWith(r, <-failed, syscall.EIO)
		after := r.view(s)
		r.shows(before, "a", "1")
		r.shows(during, "a", "1")
		r.shows(after, "a", "2")
		var b bytes.Buffer
		_, err := after.WriteTo(&b)
		r.ok(err)
	})
}

// P10: after Close no view opens. Open ones stay unchanged, and show nothing
// when they are closed too.
func TestP10ViewsOutliveTheStore(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1", "b", "2")
	v, other := r.view(s), r.view(s)
	r.set(s, "a", "2")
	r.ok(s.Close())
	if none, err := s.View(); none != nil || !errors.Is(err, kvstore.ErrClosed) {
		t.Fatalf("a closed store opens a view: %v", err)
	}
	r.ok(other.Close())
	r.shows(v, "a", "1", "b", "2")
	var b bytes.Buffer
	_, err := v.WriteTo(&b)
	r.ok(err)
	r.ok(v.Close())
	r.shows(v)
	if value, ok := v.Get("a"); ok || value != nil {
		t.Fatalf("a closed view shows %q", value)
	}
	n, err := v.WriteTo(&b)
	r.fails(err, kvstore.ErrClosed)
	if n != 0 {
		t.Fatalf("a closed view has written %d bytes", n)
	}
}

func TestViewOfAReadOnlyStore(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	r.ok(s.Close())
	r.config.ReadOnly = true
	r.shows(r.view(r.open()), "a", "1")
}

// The garbage collector closes a view that is no longer referenced, and the
// Logger is notified.
func TestForgottenViewIsClosed(t *testing.T) {
	r := newRig(t)
	var log lockedBuffer
	r.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := r.open()
	r.set(s, "a", "1")
	func() {
		v, err := s.View()
		r.ok(err)
		r.set(s, "a", "2")
		r.shows(v, "a", "1")
	}()
	for s.Stats().Views > 0 || !strings.Contains(log.String(), "dir="+r.config.DataDir+" version=") {
		runtime.GC() // until it has found the view; the test's timeout is the limit
		runtime.Gosched()
	}
	if held := s.Stats().ViewBytes; held != 0 {
		t.Fatalf("%d bytes are held", held)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Many goroutines read, back up and close views while writes go on. Each backup
// shows one moment.
func TestViewsAgainstWrites(t *testing.T) {
	r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
	s := r.open()
	const keys = 300
	b := new(kvstore.Batch)
	write := func(n int) {
		b.Reset()
		for i := range keys {
			b.Set(fmt.Sprint(i), fmt.Append(nil, n))
		}
		r.ok(s.Apply(ctx, b))
	}
	write(1)
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !done.Load() {
				v, err := s.View()
				if err != nil {
					t.Error(err)
					return
				}
				first, _ := v.Get("0")
				var file bytes.Buffer
				if _, err := v.WriteTo(&file); err != nil {
					t.Error(err)
				}
				_ = v.Close()
				got := map[string]string{}
				if err := decodeMinimalSnapshot(file.Bytes(), got); err != nil || len(got) != keys {
					t.Errorf("a backup of %d keys: %v", len(got), err)
					return
				}
				for key, value := range got {
					if value != string(first) {
						t.Errorf("a backup mixes moments: %q in one key and %q in %s", first, value, key)
						return
					}
				}
			}
		})
	}
	for n := 2; n < 200; n++ {
		write(n)
	}
	done.Store(true)
	wg.Wait()
}

// backup returns a store's state as a snapshot file.
func (r *rig) backup(s *kvstore.Store) []byte {
	r.Helper()
	v, err := s.View()
	r.ok(err)
	var b bytes.Buffer
	n, err := v.WriteTo(&b)
	r.ok(err)
	if n != int64(b.Len()) {
		r.Fatalf("WriteTo returns %d, and has written %d bytes", n, b.Len())
	}
	r.ok(v.Close())
	return b.Bytes()
}

// A backup goes through a pipe, compressed, into another store, which starts
// equal and then has a life of its own.
func TestBackupAndRestore(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1", "empty", "", "", "the empty key", "large", strings.Repeat("x", 3<<20))
	r.ok(s.Delete("a"))
	v := r.view(s)
	in, out := io.Pipe()
	sent := async(func() error {
		z := gzip.NewWriter(out)
		_, err := v.WriteTo(z)
		return errors.Join(err, z.Close(), out.Close())
	})
	z, err := gzip.NewReader(in)
	r.ok(err)
	r.ok(kvstore.RestoreFS(r.fs, "/other/place", iotest.HalfReader(z)))
	r.ok(<-sent)
	other := &rig{TB: t, fs: r.fs, config: kvstore.DefaultConfig("/other/place"), options: r.options}
	o := other.open()
	pairs := []string{"empty", "", "", "the empty key", "large", strings.Repeat("x", 3<<20)}
	other.want(o, pairs...)
	other.set(o, "b", "2")
	if v.Version() >= other.view(o).Version() {
		t.Fatal("versions do not go on")
	}
	if storeID(other.backup(o)) == storeID(r.backup(s)) {
		t.Fatal("the restored store has the identity of the one it comes from")
	}
	r.ok(v.Close())
	r.ok(s.Close())
	o = other.reopenAfter(o, other.kill)
	other.want(o, append(pairs, "b", "2")...)
	r.ok(o.Close())
}

// storeID returns the identity in a snapshot file: docs/FORMAT.md.
func storeID(file []byte) string {
	footer := file[len(file)-16:]
	trailer := file[len(file)-16-int(binary.BigEndian.Uint64(footer[4:])):]
	return string(trailer[4:20])
}

// Restore changes no store that is there already, in use or not, and makes
// nothing of a file that is not whole.
func TestRestoreRefuses(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	file := r.backup(s)
	r.fails(kvstore.RestoreFS(r.fs, "/data/store", bytes.NewReader(file)), kvstore.ErrLocked)
	r.ok(s.Close())
	r.fails(kvstore.RestoreFS(r.fs, "/data/store", bytes.NewReader(file)), fs.ErrExist)
	r.fails(kvstore.RestoreFS(r.fs, "", bytes.NewReader(file)), kvstore.ErrInvalidConfig)
	broken := errors.New("broken pipe")
	fresh := &rig{TB: t, fs: r.fs, config: kvstore.DefaultConfig("/fresh")}
	refused := func(what string, in io.Reader, want error) {
		t.Helper()
		if err := kvstore.RestoreFS(r.fs, "/fresh", in); !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
		if names := r.fs.Names("/"); !slices.Equal(names, []string{"data"}) {
			t.Fatalf("%s leaves %q", what, names)
		}
	}
	fails := io.MultiReader(bytes.NewReader(file[:len(file)/2]), iotest.ErrReader(broken))
	refused("a reader that fails", fails, broken)
	for cut := range file {
		refused(fmt.Sprint("cut at ", cut), bytes.NewReader(file[:cut]), kvstore.ErrCorrupt)
	}
	refused("garbage behind the end", bytes.NewReader(append(slices.Clone(file), 0)), kvstore.ErrCorrupt)
	for bit := range 8 * len(file) {
		damaged := slices.Clone(file)
		damaged[bit/8] ^= 1 << (bit % 8)
		err := kvstore.RestoreFS(r.fs, "/fresh", bytes.NewReader(damaged))
		damage, ok := errors.AsType[*kvstore.CorruptError](err)
		if !ok || damage.File != "backup" {
			t.Fatalf("bit %d: %v", bit, err)
		}
	}
	r.ok(kvstore.RestoreFS(r.fs, "/fresh", bytes.NewReader(file)))
	fresh.want(fresh.open(), "a", "1")
}

// WriteTo returns the error of its writer, and retains nothing.
func TestWriteToAWriterThatFails(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", strings.Repeat("x", 3<<20))
	v := r.view(s)
	full := errors.New("full")
	for _, room := range []int{0, 10, 1 << 20} {
		n, err := v.WriteTo(&limitedWriter{room: room, err: full})
		r.fails(err, full)
		if n > int64(room) {
			t.Fatalf("%d bytes written where there was room for %d", n, room)
		}
	}
	r.ok(v.Close())
	if s.Stats().Views != 0 {
		t.Fatal("a view is left")
	}
}

type limitedWriter struct {
	room int
	err  error
}

func (l *limitedWriter) Write(b []byte) (int, error) {
	n := min(len(b), l.room)
	if l.room -= n; n < len(b) {
		return n, l.err
	}
	return n, nil
}

// Restore is killed and loses power at every operation, and every operation
// fails. Afterwards there is no store or the whole one, and once Restore has
// returned nil, the whole one.
func TestRestoreAgainstCrashes(t *testing.T) {
	source := newRig(t)
	s := source.open()
	source.set(s, "a", "1", "b", strings.Repeat("2", 5000))
	file := source.backup(s)
	r, rng := newRandomRig(t)
	check := func(disk *vfs.Mem, at string, mustBeThere bool) {
		t.Helper()
		after := &rig{TB: t, fs: disk, config: r.config}
		s := after.open()
		if mustBeThere || s.Len() > 0 {
			after.want(s, "a", "1", "b", strings.Repeat("2", 5000))
		}
		if t.Failed() {
			t.Fatal(at)
		}
		after.kill(s)
	}
	operations := 0
	r.fs.SetHook(func(op vfs.Op) error {
		operations++
		for range 4 {
			check(r.fs.Clone(rng.IntN), fmt.Sprint("killed before ", op), false)
			cut := r.fs.Clone(rng.IntN)
			cut.PowerCut()
			check(cut, fmt.Sprint("power cut before ", op), false)
		}
		return nil
	})
	r.ok(kvstore.RestoreFS(r.fs, r.config.DataDir, bytes.NewReader(file)))
	r.fs.SetHook(nil)
	for range 20 {
		cut := r.fs.Clone(rng.IntN)
		cut.PowerCut()
		check(cut, "power cut after Restore", true)
	}
	for fail := 1; fail <= operations; fail++ {
		r.fs = vfs.NewMem(rng.IntN)
		n := 0
		r.fs.SetHook(func(vfs.Op) error {
			if n++; n == fail {
				return syscall.EIO
			}
			return nil
		})
		err := kvstore.RestoreFS(r.fs, r.config.DataDir, bytes.NewReader(file))
		if err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("operation %d fails: %v", fail, err)
		}
		r.fs.SetHook(nil)
		if n := r.fs.Handles(); n != 0 {
			t.Fatalf("operation %d fails: %d handles are open", fail, n)
		}
		check(r.fs, fmt.Sprint("operation ", fail, " failed"), false)
	}
}
