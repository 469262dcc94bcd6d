package kvstore_test

// This file is about what must hold for every sequence of calls, closes, kills,
// power cuts and failing syncs:
//
//  1. Between crashes, reads agree with a plain map to which every
//     acknowledged commit was applied (P3, P4).
//  2. Recovery brings back the state after a prefix of the commits, in call
//     order, that holds every acknowledged one: always with SyncWrites, and
//     without it after a kill. After a power cut without SyncWrites it holds
//     every commit before a successful Sync or Close (P1, P2). A batch is
//     there whole or not at all.
//  3. Open never refuses what crashes and failing syncs have left (P6).
//  4. After an error, every later write gets ErrFailed, nothing of the failed
//     commit is visible, and reads go on (P5).
//  5. A clean Close leaves nothing to replay (P10).
//  6. A function that the writer runs reads the state after all commits before
//     it, and commits all of its writes or none, however it ends (P14).
//  7. Versions rise by each commit and are what SetVersion asked for (P13).

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"kvstore"
	"kvstore/internal/vfs"
)

const propertyDir = "/data/store"

// commit is one commit of the model.
type commit []write

// write is one write of the model; a nil value deletes.
type write struct {
	key   string
	value value
}

// value prints as its length and first byte.
type value []byte

func (v value) GoString() string {
	if len(v) == 0 {
		return fmt.Sprintf("value(%t)", v != nil)
	}
	return fmt.Sprintf("%d x %d", len(v), v[0])
}

func (c commit) apply(state map[string]string) {
	for _, w := range c {
		if w.value == nil {
			delete(state, w.key)
		} else {
			state[w.key] = string(w.value)
		}
	}
}

func (c commit) batch() *kvstore.Batch {
	b := new(kvstore.Batch)
	for _, w := range c {
		if w.value == nil {
			b.Delete(w.key)
		} else {
			b.Set(w.key, w.value)
		}
	}
	return b
}

// machine drives a store on a file system in memory, with the model beside it.
type machine struct {
	fs     *vfs.Mem
	config kvstore.Config
	store  *kvstore.Store

	base    map[string]string // the state at the last Open
	commits []commit          // since the last Open, in call order
	acked   int               // number of acknowledged commits
	synced  int               // number of commits known to survive a power cut
	pending []pending         // of the commits behind acked, in order
	version int64             // of the last acknowledged commit
	failed  bool              // the store has failed or the process is dead
	armed   bool              // the process is to be killed at a later file operation
	cut     atomic.Bool       // the process was killed by a power cut
}

// pending is an asynchronous commit.
type pending struct {
	*kvstore.Commit
	function *function // nil for a batch
}

func newMachine(t *rapid.T) *machine {
	seed := rapid.Uint64().Draw(t, "disk seed")
	random := rand.New(rand.NewPCG(seed, 0))
	m := &machine{
		fs:     vfs.NewMem(random.IntN),
		config: kvstore.Config{DataDir: propertyDir, SyncWrites: rapid.Bool().Draw(t, "SyncWrites")},
		base:   map[string]string{},
	}
	if err := errors.Join(m.fs.Mkdir("/data"), m.fs.SyncParent("/data")); err != nil {
		t.Fatal(err)
	}
	m.open(t)
	return m
}

func (m *machine) open(t *rapid.T) {
	m.fs.SetHook(nil)
	store, err := kvstore.OpenFS(m.fs, m.config)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	m.store, m.failed, m.armed = store, false, false
	m.cut.Store(false)
}

// state returns the model's state after n commits.
func (m *machine) state(n int) map[string]string {
	state := maps.Clone(m.base)
	for _, c := range m.commits[:n] {
		c.apply(state)
	}
	return state
}

// summary describes a state in a line.
func summary(state map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(state)) {
		fmt.Fprintf(&b, "%q=%#v ", key, value(state[key]))
	}
	return b.String()
}

func (m *machine) stored() map[string]string {
	state := map[string]string{}
	for _, key := range m.store.Keys() {
		value, ok := m.store.Get(key)
		if ok {
			state[key] = string(value)
		}
	}
	return state
}

// commit records a commit and its result.
func (m *machine) commit(t *rapid.T, c commit, err error) {
	if m.failed {
		if !errors.Is(err, kvstore.ErrFailed) {
			t.Fatalf("a write after a failure returned %v", err)
		}
		return
	}
	m.commits = append(m.commits, c)
	m.await(t) // commits are acknowledged in order
	switch {
	case err == nil && m.failed:
		t.Fatal("a write was acknowledged after one before it had failed")
	case err == nil:
		m.acked = len(m.commits)
		if m.config.SyncWrites {
			m.synced = m.acked
		}
		m.advance(t, len(c) > 0)
	case errors.Is(err, kvstore.ErrFailed):
		m.fail()
	default:
		t.Fatalf("unexpected error: %v", err)
	}
}

// advance checks the version after a commit, or after a call that made none.
func (m *machine) advance(t *rapid.T, made bool) {
	version := m.store.Stats().Version
	if version < m.version || version == m.version && made {
		t.Fatalf("version %d, the one before it %d, a commit between: %v", version, m.version, made)
	}
	m.version = version
}

func (m *machine) fail() {
	m.failed = true
}

// await collects the results of all asynchronous commits.
func (m *machine) await(t *rapid.T) {
	for _, p := range m.pending {
		err := p.Wait(context.Background())
		if p.function != nil {
			err = p.function.outcome(t, err)
		}
		switch {
		case err == nil && m.failed:
			t.Fatal("an asynchronous commit was acknowledged after one before it had failed")
		case err == nil:
			m.acked++
			if m.config.SyncWrites {
				m.synced = m.acked
			}
			if v := p.Version(); v != 0 {
				if v <= m.version {
					t.Fatalf("version %d after %d", v, m.version)
				}
				m.version = v
			}
		case errors.Is(err, kvstore.ErrFailed):
			m.fail()
		default:
			t.Fatalf("unexpected error: %v", err)
		}
	}
	m.pending = nil
}

// reopen opens the store after a crash or a close, and checks what came back.
func (m *machine) reopen(t *rapid.T, atLeast int) {
	m.open(t)
	got := m.stored()
	for n := len(m.commits); n >= atLeast; n-- {
		if want := m.state(n); maps.Equal(got, want) {
			if v := m.store.Stats().Version; v < m.version && atLeast >= m.acked {
				t.Fatalf("version %d, it was %d", v, m.version)
			}
			m.base, m.commits, m.acked, m.synced = want, nil, 0, 0
			m.version = m.store.Stats().Version
			return
		}
	}
	t.Fatalf("recovered %s, which is no prefix of %d commits with %d promised: %#v after %s",
		summary(got), len(m.commits), atLeast, m.commits, summary(m.base))
}

// crash ends the process, by a power cut or a kill, and opens the store again.
func (m *machine) crash(t *rapid.T, power bool) {
	if power {
		m.fs.PowerCut()
	} else {
		m.fs.Kill()
	}
	m.buryDead(t)
	m.reopen(t, m.promised(power))
}

// promised returns the number of commits that must survive a crash, by a power
// cut if power is set, and the crash before it.
func (m *machine) promised(power bool) int {
	if power || m.cut.Load() {
		return m.synced
	}
	return m.acked
}

// buryDead ends the goroutines of a store whose file system has crashed.
func (m *machine) buryDead(t *rapid.T) {
	m.await(t)
	if err := m.store.Close(); err == nil {
		t.Fatal("Close of a crashed store returned nil")
	}
}

// arm makes a later file operation kill the process.
func (m *machine) arm(after int, power bool) {
	m.armed = true
	var done atomic.Int64
	m.fs.SetHook(func(vfs.Op) error {
		switch {
		case done.Add(1) != int64(after):
		case power:
			m.cut.Store(true)
			m.fs.PowerCut()
		default:
			m.fs.Kill()
		}
		return nil
	})
}

var (
	keys   = rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e\x00", "KVLG", "n", "long key that takes some room"})
	values = rapid.Custom(func(t *rapid.T) value {
		n := rapid.SampledFrom([]int{0, 1, 20, 400, 600, 5000}).Draw(t, "length")
		return slices.Repeat(value{rapid.Byte().Draw(t, "fill")}, n)
	})
	writes = rapid.Custom(func(t *rapid.T) write {
		w := write{key: keys.Draw(t, "key")}
		if rapid.IntRange(0, 3).Draw(t, "set") > 0 {
			w.value = values.Draw(t, "value")
		}
		return w
	})
)

func (m *machine) Set(t *rapid.T) {
	key, value := keys.Draw(t, "key"), values.Draw(t, "value")
	m.commit(t, commit{{key, value}}, m.store.Set(key, value))
}

func (m *machine) Delete(t *rapid.T) {
	key := keys.Draw(t, "key")
	m.commit(t, commit{{key, nil}}, m.store.Delete(key))
}

// CompareAndSwap expects the value after all pending commits, or another one.
func (m *machine) CompareAndSwap(t *rapid.T) {
	key := keys.Draw(t, "key")
	var old, next value
	if now, ok := m.state(len(m.commits))[key]; ok {
		old = append(value{}, now...)
	}
	want := rapid.IntRange(0, 3).Draw(t, "expects what is there") > 0
	if !want {
		if old = append(old, 'x'); rapid.Bool().Draw(t, "expects nothing") && len(old) > 1 {
			old = nil // though something is there
		}
	}
	if rapid.Bool().Draw(t, "set") {
		next = values.Draw(t, "value")
	}
	swapped, err := m.store.CompareAndSwap(key, old, next)
	if err == nil && swapped != want {
		t.Fatalf("CompareAndSwap(%q, %#v): %v, want %v", key, old, swapped, want)
	}
	c := commit{{key, next}}
	if !want {
		c = commit{}
	}
	m.commit(t, c, err)
}

// Update moves a value, and deletes the first key in a range. At its first run,
// another commit may come between.
func (m *machine) Update(t *rapid.T) {
	from, to := keys.Draw(t, "from"), keys.Draw(t, "to")
	some := ranges.Draw(t, "range")
	some.Limit = 1
	between := rapid.SliceOfN(writes, 0, 2).Draw(t, "between")
	var c commit
	err := m.store.Update(context.Background(), func(tx *kvstore.Tx) error {
		if b := commit(between); len(b) > 0 && !m.failed {
			between = nil
			m.commit(t, b, m.store.Apply(context.Background(), b.batch()))
			if m.failed {
				return kvstore.ErrFailed
			}
		}
		w := write{to, nil}
		if b, ok := tx.Get(from); ok {
			tx.Set(to, b)
			w.value = b
		} else {
			tx.Delete(to)
		}
		c = commit{w}
		for key := range tx.Scan(some) {
			tx.Delete(key)
			c = append(c, write{key, nil})
		}
		return nil
	})
	if errors.Is(err, kvstore.ErrFailed) && c == nil {
		return // Update failed before it called the function
	}
	m.commit(t, c, err)
}

func (m *machine) Apply(t *rapid.T) {
	c := commit(rapid.SliceOfN(writes, 1, 6).Draw(t, "batch"))
	m.commit(t, c, m.store.Apply(context.Background(), c.batch()))
}

func (m *machine) ApplyAsync(t *rapid.T) {
	c := commit(rapid.SliceOfN(writes, 1, 6).Draw(t, "batch"))
	if m.failed {
		m.commit(t, c, m.store.ApplyAsync(context.Background(), c.batch()).Wait(context.Background()))
		return
	}
	m.commits = append(m.commits, c)
	m.pending = append(m.pending, pending{Commit: m.store.ApplyAsync(context.Background(), c.batch())})
}

// function is given to Do and carries out steps. It checks what it reads, and
// ends as it is told.
type function struct {
	steps []functionStep
	end   string            // "", or how it ends instead: "error", "panic" or "exit"
	state map[string]string // what it reads; owned by the function once it is given to the store

	runs     int
	problems []string // that the function has seen, in the writer's goroutine
}

// functionStep is a call of a method.
type functionStep struct {
	kind  string
	write write
	scan  kvstore.Range
}

var functionSteps = rapid.Custom(func(t *rapid.T) functionStep {
	return functionStep{
		kind:  rapid.SampledFrom([]string{"get", "has", "write", "write", "scan", "all"}).Draw(t, "step"),
		write: writes.Draw(t, "write"),
		scan:  ranges.Draw(t, "range"),
	}
})

var errMine = errors.New("the function's own error")

// function returns a function, and the commit that it makes.
func (m *machine) function(t *rapid.T) (*function, commit) {
	f := &function{
		steps: rapid.SliceOfN(functionSteps, 0, 6).Draw(t, "steps"),
		end:   rapid.SampledFrom([]string{"", "", "", "error", "panic", "exit"}).Draw(t, "end"),
		state: m.state(len(m.commits)),
	}
	c := commit{}
	for _, step := range f.steps {
		if step.kind == "write" && f.end == "" {
			c = append(c, step.write)
		}
	}
	return f, c
}

// Helper and Fatalf make a function a tester. Fatalf goes on after a failure.

func (f *function) Helper() {}

func (f *function) Fatalf(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

func (f *function) run(tx *kvstore.Tx) error {
	f.runs++
	for _, step := range f.steps {
		f.take(step, tx)
	}
	switch f.end {
	case "error":
		return errMine
	case "panic":
		panic(errMine)
	case "exit":
		runtime.Goexit()
	}
	return nil
}

func (f *function) take(step functionStep, tx *kvstore.Tx) {
	key := step.write.key
	value, present := f.state[key]
	switch step.kind {
	case "get":
		if got, ok := tx.Get(key); string(got) != value || ok != present {
			f.Fatalf("Get(%q) = %.20q, %v, want %.20q, %v", key, got, ok, value, present)
		}
	case "has":
		if ok := tx.Has(key); ok != present {
			f.Fatalf("Has(%q) = %v", key, ok)
		}
	case "write":
		if step.write.value == nil {
			tx.Delete(key)
		} else {
			tx.Set(key, step.write.value)
		}
		commit{step.write}.apply(f.state)
	case "scan":
		wantScan(f, f.state, step.scan, tx.Scan(step.scan))
	case "all":
		got := map[string]string{}
		for key, value := range tx.All() {
			got[key] = string(value)
		}
		if !maps.Equal(got, f.state) {
			f.Fatalf("All shows %s, want %s", summary(got), summary(f.state))
		}
	}
}

// outcome returns nil if the function has ended as it was told to, and err is
// what that gives.
func (f *function) outcome(t *rapid.T, err error) error {
	if errors.Is(err, kvstore.ErrFailed) {
		return err
	}
	if f.runs != 1 || len(f.problems) > 0 {
		t.Fatalf("a function ran %d times, error %v: %s", f.runs, err, f.problems)
	}
	p, panicked := errors.AsType[*kvstore.PanicError](err)
	ok := err == nil
	switch f.end {
	case "error":
		ok = err == errMine //nolint:errorlint // unchanged is promised
	case "panic":
		ok = panicked && p.Value == errMine //nolint:errorlint // the value itself is promised
	case "exit":
		ok = err == errExited || panicked && p.Value == nil //nolint:errorlint // made below
	}
	if !ok {
		t.Fatalf("a function with the end %q: error %v", f.end, err)
	}
	return nil
}

// errExited says that Do has called runtime.Goexit.
var errExited = errors.New("goexit")

// callDo calls Do in a goroutine of its own, which it may end.
func callDo(s *kvstore.Store, fn func(tx *kvstore.Tx) error) error {
	result := make(chan error, 1)
	go func() {
		err := errExited
		defer func() {
			if p, ok := recover().(*kvstore.PanicError); ok {
				err = p
			}
			result <- err
		}()
		err = s.Do(context.Background(), fn)
	}()
	return <-result
}

func (m *machine) Do(t *rapid.T) {
	f, c := m.function(t)
	m.commit(t, c, f.outcome(t, callDo(m.store, f.run)))
}

func (m *machine) DoAsync(t *rapid.T) {
	f, c := m.function(t)
	p := m.store.DoAsync(context.Background(), f.run)
	if m.failed {
		m.commit(t, c, p.Wait(context.Background()))
		return
	}
	m.commits = append(m.commits, c)
	m.pending = append(m.pending, pending{p, f})
}

// DoVersion has a function or a batch ask for a version.
func (m *machine) DoVersion(t *rapid.T) {
	m.await(t)
	last := m.store.Stats().Version
	v := rapid.SampledFrom([]int64{last + 1, last + 2, last + 1<<40, last, last - 1, 0, -1, 1 << 62}).Draw(t, "version")
	f, c := m.function(t)
	var err error
	if rapid.Bool().Draw(t, "batch") {
		b := c.batch()
		b.SetVersion(v)
		f.end, f.runs = "", 1
		err = m.store.Apply(context.Background(), b)
	} else {
		err = callDo(m.store, func(tx *kvstore.Tx) error {
			tx.SetVersion(v)
			return f.run(tx)
		})
	}
	if refused := v <= last || v >= 1<<62; refused && len(c) > 0 && !errors.Is(err, kvstore.ErrFailed) {
		if !errors.Is(err, kvstore.ErrVersionOrder) {
			t.Fatalf("version %d after %d: error %v", v, last, err)
		}
		c, err = commit{}, nil
	}
	made := len(c) > 0
	m.commit(t, c, f.outcome(t, err))
	if made && !m.failed && m.store.Stats().Version != v {
		t.Fatalf("version %d, want %d", m.store.Stats().Version, v)
	}
}

// Add adds to what is a number, or is not.
func (m *machine) Add(t *rapid.T) {
	key := rapid.SampledFrom([]string{"n", "n", "n", "a", "b"}).Draw(t, "key")
	delta := rapid.SampledFrom([]int64{0, 1, -1, 10, math.MaxInt64, math.MinInt64}).Draw(t, "delta")
	text, present := m.state(len(m.commits))[key]
	before, notNumber := strconv.ParseInt(text, 10, 64)
	if !present {
		notNumber = nil
	}
	sum := before + delta
	c, want := commit{{key, strconv.AppendInt(nil, sum, 10)}}, error(nil)
	switch {
	case notNumber != nil || present && strconv.FormatInt(before, 10) != text:
		c, want = commit{}, kvstore.ErrNotNumber
	case (sum > before) != (delta > 0) && delta != 0:
		c, want = commit{}, kvstore.ErrOverflow
	}
	got, err := m.store.Add(key, delta)
	switch {
	case errors.Is(err, kvstore.ErrFailed):
	case !errors.Is(err, want), err == nil && got != sum:
		t.Fatalf("Add(%q, %d) to %.40q: %d, %v, want %v", key, delta, text, got, err, want)
	default:
		err = nil
	}
	m.commit(t, c, err)
}

// UpdateMany reads so much that not everything is checked by the writer.
// Between, another commit may come, of what it has read.
func (m *machine) UpdateMany(t *rapid.T) {
	m.await(t) // or what is pending is what comes between
	w := writes.Draw(t, "write")
	between := rapid.SliceOfN(writes, 0, 3).Draw(t, "between")
	all := rapid.Bool().Draw(t, "all")
	runs, most := 0, 1
	var seen map[string]string
	err := m.store.Update(context.Background(), func(tx *kvstore.Tx) error {
		runs++
		seen = map[string]string{}
		pairs := tx.Scan(kvstore.Range{})
		if all {
			pairs = tx.All()
		}
		for key, value := range pairs {
			seen[key] = string(value)
		}
		for i := range 600 {
			tx.Has(fmt.Sprint("absent ", i))
		}
		if b := commit(between); len(b) > 0 && !m.failed {
			between, most = nil, 2
			m.commit(t, b, m.store.Apply(context.Background(), b.batch()))
			if m.failed {
				return kvstore.ErrFailed
			}
		}
		if w.value == nil {
			tx.Delete(w.key)
		} else {
			tx.Set(w.key, w.value)
		}
		return nil
	})
	if errors.Is(err, kvstore.ErrFailed) && runs == 0 {
		return // Update failed before it called the function
	}
	if state := m.state(len(m.commits)); err == nil && (runs > most || !maps.Equal(seen, state)) {
		t.Fatalf("%d runs, want up to %d; it read %s, want %s", runs, most, summary(seen), summary(state))
	}
	m.commit(t, commit{w}, err)
}

func (m *machine) Await(t *rapid.T) { m.await(t) }

func (m *machine) Sync(t *rapid.T) {
	before := len(m.commits)
	err := m.store.Sync()
	m.await(t)
	switch {
	case err == nil && m.failed:
		t.Fatal("Sync succeeded on a failed store")
	case err == nil:
		m.synced = before
	case errors.Is(err, kvstore.ErrFailed):
		m.fail()
	default:
		t.Fatalf("Sync: %v", err)
	}
}

func (m *machine) Close(t *rapid.T) {
	err := m.store.Close()
	m.await(t)
	switch {
	case err != nil && !m.armed && !m.failed:
		t.Fatalf("Close: %v", err)
	case err != nil:
		m.reopen(t, m.promised(false))
		return
	}
	m.reopen(t, len(m.commits))
	if r := m.store.Stats().Recovery; r.Groups > 0 || len(r.Dropped) > 0 {
		t.Fatalf("replayed after a clean Close: %+v", r)
	}
}

func (m *machine) Kill(t *rapid.T) { m.crash(t, false) }

func (m *machine) PowerCut(t *rapid.T) { m.crash(t, true) }

// KillLater makes the process die in the middle of a later operation, Close
// included.
func (m *machine) KillLater(t *rapid.T) {
	m.await(t)
	if m.armed {
		return
	}
	m.arm(rapid.IntRange(1, 12).Draw(t, "after operations"), rapid.Bool().Draw(t, "power cut"))
}

// KillInOpen crashes the process at some operation of recovery, twice.
func (m *machine) KillInOpen(t *rapid.T) {
	power := rapid.Bool().Draw(t, "power cut")
	m.fs.Kill()
	m.buryDead(t)
	for range 2 {
		m.arm(rapid.IntRange(1, 40).Draw(t, "after operations"), power)
		store, err := kvstore.OpenFS(m.fs, m.config)
		if err == nil {
			// Recovery had ended before the crash, so what it served is
			// durable.
			m.store = store
			m.crash(t, power)
			return
		}
		if errors.Is(err, kvstore.ErrCorrupt) {
			t.Fatalf("open refuses what a crash left: %v", err)
		}
	}
	m.reopen(t, m.promised(power))
}

// FailSync makes the next fsync fail, which leaves the cache readable and the
// disk old, and reopens the store.
func (m *machine) FailSync(t *rapid.T) {
	m.await(t)
	if m.armed || m.failed {
		return
	}
	var failed atomic.Bool
	m.fs.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && isSegment(op.Name) && failed.CompareAndSwap(false, true) {
			return errors.New("injected EIO")
		}
		return nil
	})
	before := m.stored()
	c := commit{{"failing", values.Draw(t, "value")}}
	err := m.store.Set(c[0].key, c[0].value)
	m.commit(t, c, err)
	if err == nil {
		// SyncWrites is off: the write succeeds, and the fsync that fails may
		// come at any time. Sync waits for it.
		c.apply(before)
		err = m.store.Sync()
	}
	if !errors.Is(err, kvstore.ErrFailed) {
		t.Fatalf("with a failing sync: %v", err)
	}
	if got := m.stored(); !maps.Equal(got, before) {
		t.Fatalf("after a failed sync: %s, before: %s", summary(got), summary(before))
	}
	if err := m.store.Set("later", nil); !errors.Is(err, kvstore.ErrFailed) {
		t.Fatalf("a write after the failure: %v", err)
	}
	if err := m.store.Close(); !errors.Is(err, kvstore.ErrFailed) {
		t.Fatalf("Close after the failure: %v", err)
	}
	m.reopen(t, m.acked)
}

// Check compares reads with the model while the store is healthy and nothing is
// under way.
func (m *machine) Check(t *rapid.T) {
	if m.failed || len(m.pending) > 0 {
		return
	}
	want := m.state(m.acked)
	got := m.stored()
	if !maps.Equal(got, want) {
		t.Fatalf("reads show %s, want %s", summary(got), summary(want))
	}
	if m.store.Len() != len(want) {
		t.Fatalf("Len %d, want %d", m.store.Len(), len(want))
	}
	some := ranges.Draw(t, "range")
	wantScan(t, want, some, m.store.Scan(some))
	for _, key := range []string{"", "a", "absent"} {
		value, ok := want[key]
		if m.store.Has(key) != ok {
			t.Fatalf("Has(%q) = %v", key, !ok)
		}
		if b, found := m.store.AppendGet([]byte("x"), key); found != ok || string(b) != "x"+value {
			t.Fatalf("AppendGet(%q) = %q, %v", key, b, found)
		}
	}
}

func TestStoreAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		defer func() {
			m.fs.SetHook(nil)
			_ = m.store.Close() // it may be crashed; goleak sees whether its goroutines end
		}()
		t.Repeat(rapid.StateMachineActions(m))
	})
}
