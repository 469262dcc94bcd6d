package kvstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/testseed"
	"kvstore/internal/tuning"
	"kvstore/internal/vfs"
)

// This file has what most tests share: a store on a file system in memory,
// which can hang, fail and lose power.

var ctx = context.Background()

// raceEnabled reports whether the race detector is on. Tests that measure
// allocations, or that would take too long, ask for it.
var raceEnabled = func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

// slow reports whether tests that try many cases should try some of them: with
// the race detector, which takes ten times as long and learns nothing from
// bytes, and with -short, which is for processors that are emulated.
func slow() bool { return raceEnabled || testing.Short() }

// fewerRounds returns n, or a third of it with the race detector, which makes
// everything several times slower.
func fewerRounds(n int) int {
	if raceEnabled {
		return n / 3
	}
	return n
}

// rig is a test and the surroundings of its store.
type rig struct {
	testing.TB
	fs      *vfs.Mem
	config  kvstore.Config
	options []kvstore.EnvOption
}

// newRig returns a rig whose file system loses everything in a power cut that
// may be lost.
func newRig(t testing.TB, options ...kvstore.EnvOption) *rig {
	return &rig{TB: t, fs: vfs.NewMem(nil), config: kvstore.DefaultConfig("/data/store"), options: options}
}

// newRandomRig returns a rig whose file system loses a random part of it, and
// the source of its choices.
func newRandomRig(t testing.TB, options ...kvstore.EnvOption) (*rig, *rand.Rand) {
	rng := testseed.Rand(t)
	r := newRig(t, options...)
	r.fs = vfs.NewMem(rng.IntN) // under the file system's lock: rng is its alone while a store is open
	return r, rng
}

// open opens the store until the end of the test.
func (r *rig) open() *kvstore.Store {
	r.Helper()
	s, err := r.tryOpen()
	if err != nil {
		r.Fatalf("open: %v", err)
	}
	return s
}

func (r *rig) tryOpen() (*kvstore.Store, error) {
	s, err := kvstore.OpenFS(r.fs, r.config, r.options...)
	if err == nil {
		r.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

// reopenAfter ends the session with end and opens the next one.
func (r *rig) reopenAfter(s *kvstore.Store, end func(*kvstore.Store)) *kvstore.Store {
	r.Helper()
	end(s)
	return r.open()
}

// kill simulates the death of the process that has s open.
func (r *rig) kill(s *kvstore.Store) {
	r.fs.Kill()
	_ = s.Close() // writes nothing: its handles are dead
}

func (r *rig) cutPower(s *kvstore.Store) {
	r.fs.PowerCut()
	_ = s.Close()
}

func (r *rig) close(s *kvstore.Store) {
	r.Helper()
	r.ok(s.Close())
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// fails checks that an error is all of these.
func (r *rig) fails(err error, want ...error) {
	r.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			r.Fatalf("error %v, want one that is %v", err, w)
		}
	}
}

// some returns n pairs of keys and values. 60 of them fill several segments.
func some(n int) []string {
	var pairs []string
	for i := range n {
		pairs = append(pairs, fmt.Sprintf("key %03d", i), strings.Repeat(fmt.Sprint(i, " "), 100))
	}
	return pairs
}

// set sets pairs of keys and values, each as a commit of its own.
func (r *rig) set(s *kvstore.Store, pairs ...string) {
	r.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if err := s.Set(pairs[i], []byte(pairs[i+1])); err != nil {
			r.Fatalf("set %q: %v", pairs[i], err)
		}
	}
}

// batch returns a batch that sets pairs of keys and values.
func batch(pairs ...string) *kvstore.Batch {
	b := &kvstore.Batch{}
	for i := 0; i < len(pairs); i += 2 {
		b.Set(pairs[i], []byte(pairs[i+1]))
	}
	return b
}

// want checks that s shows these pairs of keys and values, and nothing else, to
// every kind of read.
func (r *rig) want(s *kvstore.Store, pairs ...string) {
	r.Helper()
	want := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		want[pairs[i]] = pairs[i+1]
	}
	if got := state(s); !maps.Equal(got, want) {
		r.Fatalf("store holds %.300v, want %.300v", got, want)
	}
	if s.Len() != len(want) {
		r.Fatalf("Len %d, want %d", s.Len(), len(want))
	}
	for key, value := range want {
		got, ok := s.AppendGet([]byte("dst"), key)
		if !s.Has(key) || !ok || string(got) != "dst"+value {
			r.Fatalf("%q: Has %v, AppendGet %.300q, %v", key, s.Has(key), got, ok)
		}
	}
	keys := slices.Collect(maps.Keys(want))
	for i, value := range s.MultiGet(keys) {
		if value == nil || string(value) != want[keys[i]] {
			r.Fatalf("MultiGet(%q): %.300q, want %.300q", keys[i], value, want[keys[i]])
		}
	}
}

// lacks checks that no read shows these keys.
func (r *rig) lacks(s *kvstore.Store, keys ...string) {
	r.Helper()
	for i, value := range s.MultiGet(keys) {
		if value != nil {
			r.Fatalf("MultiGet(%q): %.300q", keys[i], value)
		}
	}
	for _, key := range keys {
		value, ok := s.Get(key)
		appended, appendOK := s.AppendGet([]byte("dst"), key)
		if value != nil || ok || s.Has(key) || string(appended) != "dst" || appendOK || slices.Contains(s.Keys(), key) {
			r.Fatalf("%q: Get %.300q, %v; AppendGet %.300q, %v; Has %v; Keys %.300q",
				key, value, ok, appended, appendOK, s.Has(key), s.Keys())
		}
	}
}

// state returns what a store shows to Keys and Get.
func state(s *kvstore.Store) map[string]string {
	state := map[string]string{}
	for _, key := range s.Keys() {
		if value, ok := s.Get(key); ok {
			state[key] = string(value)
		}
	}
	return state
}

// files returns every file in the data directory, as a reader would see it.
func (r *rig) files() map[string]string {
	files := map[string]string{}
	for _, name := range r.fs.Names(r.config.DataDir) {
		data, _ := r.fs.ReadFile(r.config.DataDir + "/" + name)
		files[name] = string(data)
	}
	return files
}

// unchanged checks that the data directory is as it was, byte by byte.
func (r *rig) unchanged(before map[string]string) {
	r.Helper()
	after := r.files()
	for name, data := range before {
		if now, ok := after[name]; !ok || now != data {
			r.Errorf("%s has changed (is there: %v)", name, ok)
		}
		delete(after, name)
	}
	for name := range after {
		r.Errorf("%s is new", name)
	}
	if r.Failed() {
		r.FailNow()
	}
}

// stall is a disk that hangs.
type stall struct {
	began chan vfs.Op // receives the first operation that hangs
	end   chan struct{}
	once  sync.Once
}

// stall makes all operations of these kinds hang until release is called or the
// test ends.
func (r *rig) stall(kinds ...vfs.OpKind) *stall {
	st := &stall{began: make(chan vfs.Op, 1), end: make(chan struct{})}
	r.fs.SetHook(func(op vfs.Op) error {
		if slices.Contains(kinds, op.Kind) {
			select {
			case st.began <- op:
			default:
			}
			<-st.end
		}
		return nil
	})
	r.Cleanup(st.release)
	return st
}

func (st *stall) release() { st.once.Do(func() { close(st.end) }) }

// failing returns a hook that fails all operations of a kind.
func failing(kind vfs.OpKind, err error) func(vfs.Op) error {
	return func(op vfs.Op) error {
		if op.Kind == kind {
			return err
		}
		return nil
	}
}

// disk fails operations, and counts all that it sees.
type disk struct {
	mu     sync.Mutex
	fails  func(vfs.Op) bool
	err    error
	left   int // failures to come; negative means for ever
	failed int
	seen   map[vfs.OpKind]int
}

const forever = -1

// fail makes the next matching operations fail, this number of times.
func (r *rig) fail(fails func(vfs.Op) bool, err error, times int) *disk {
	d := &disk{fails: fails, err: err, left: times, seen: map[vfs.OpKind]int{}}
	r.fs.SetHook(d.hook)
	return d
}

func (d *disk) hook(op vfs.Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[op.Kind]++
	if d.left == 0 || !d.fails(op) {
		return nil
	}
	d.left--
	d.failed++
	return d.err
}

// forget starts to count anew.
func (d *disk) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.seen)
}

// changes returns the counts of operations that change something.
func (d *disk) changes() map[vfs.OpKind]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	changes := maps.Clone(d.seen)
	for _, kind := range []vfs.OpKind{vfs.OpRead, vfs.OpSize, vfs.OpList, vfs.OpOpen, vfs.OpOpenDir} {
		delete(changes, kind)
	}
	return changes
}

func (d *disk) failures() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// segmentOp matches operations of a kind on the segment with this number, by
// its temporary name too.
func segmentOp(kind vfs.OpKind, number int) func(vfs.Op) bool {
	return func(op vfs.Op) bool {
		return op.Kind == kind && strings.HasPrefix(op.Name, fmt.Sprintf("wal-%020d", number))
	}
}

// written matches operations on the session's first segment, reserved those on
// the next one.
func written(kind vfs.OpKind) func(vfs.Op) bool  { return segmentOp(kind, 1) }
func reserved(kind vfs.OpKind) func(vfs.Op) bool { return segmentOp(kind, 2) }

// failedWith checks that err is that of a store that has failed by cause.
func failedWith(r *rig, err, cause error) {
	r.Helper()
	if short, ok := errors.AsType[*vfs.ShortWrite](cause); ok {
		cause = short.Err
	}
	r.fails(err, kvstore.ErrFailed, cause)
}

// async calls do in another goroutine and returns its result.
func async(do func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- do() }()
	return result
}

// waits checks that a call has not returned, though no other goroutine has
// anything left to do.
func (r *rig) waits(result <-chan error) {
	r.Helper()
	synctest.Wait()
	select {
	case err := <-result:
		r.Fatalf("returned early: %v", err)
	default:
	}
}

// undecided checks the same of a commit.
func (r *rig) undecided(c *kvstore.Commit) {
	r.Helper()
	synctest.Wait()
	select {
	case <-c.Done():
		r.Fatalf("decided early: %v", c.Wait(ctx))
	default:
	}
}

// fill queues commits, while the disk hangs, until the queue is full. It needs
// synctest, whose clock stands still while any goroutine can run.
func (r *rig) fill(s *kvstore.Store) (queued []*kvstore.Commit) {
	r.Helper()
	for range 1 << 20 {
		short, cancel := context.WithTimeout(ctx, time.Second)
		c := s.ApplyAsync(short, batch("full", ""))
		cancel()
		select {
		case <-c.Done():
			r.fails(c.Wait(ctx), context.DeadlineExceeded)
			return queued
		default:
			queued = append(queued, c)
		}
	}
	r.Fatal("the queue has no bound")
	return nil
}

// logEntry is an entry of the log, as the minimal reader sees it: nothing is
// verified.
type logEntry struct {
	op         byte
	timestamp  int64
	key, value string
}

// entries decodes the log, segment after segment.
func (r *rig) entries() (all []logEntry) {
	r.Helper()
	files := r.files()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(name, "wal-") && strings.HasSuffix(name, ".log") {
			entries, _ := entriesOf([]byte(files[name]))
			all = append(all, entries...)
		}
	}
	return all
}

// entriesOf decodes a segment, and returns the offset behind its last entry.
func entriesOf(segment []byte) (all []logEntry, end int) {
	for b := segment; len(b) >= 4 && binary.BigEndian.Uint32(b) == 0x4B564C47; end = len(segment) - len(b) {
		e := logEntry{op: b[4], timestamp: int64(binary.BigEndian.Uint64(b[5:]))}
		keyLen := binary.BigEndian.Uint32(b[13:])
		e.key, b = string(b[17:17+keyLen]), b[17+keyLen:]
		valueLen := binary.BigEndian.Uint32(b)
		e.value, b = string(b[4:4+valueLen]), b[4+valueLen:]
		all = append(all, e)
	}
	return all, end
}

// writes returns the SET and DELETE entries of the log.
func (r *rig) writes() []logEntry {
	r.Helper()
	return slices.DeleteFunc(r.entries(), func(e logEntry) bool { return e.op > 2 })
}

// needs skips a test of an operation that only a speed trick makes, if that
// trick is switched off.
func needs(t *testing.T, kind vfs.OpKind) {
	t.Helper()
	on, of := map[vfs.OpKind]bool{
		vfs.OpStartWrite: tuning.EarlySync,
		vfs.OpStartSync:  tuning.EarlySync,
		vfs.OpWriteBack:  tuning.Pacing && tuning.Zeros,
		vfs.OpForget:     tuning.DropCache,
	}[kind]
	if of && !on {
		t.Skipf("%s is switched off", kind)
	}
}
