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
//  8. By the store's clock a key is gone at its deadline, and not before. The
//     deadline is as durable as the value. A key that was deleted because it
//     was due never comes back, even if the clock is set back across a
//     restart (P15).

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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kvstore"
	"kvstore/internal/vfs"
)

const propertyDir = "/data/store"

// machine drives a store on a file system in memory, with the model beside it.
type machine struct {
	fs     *vfs.Mem
	config kvstore.Config
	store  *kvstore.Store
	start  int64         // the store's clock has shown nothing earlier; deadlines are between its seconds
	ahead  time.Duration // of the bubble's time, wall time is; it changes between sessions
	view   *openView     // nil for none

	base    map[string]entry // the state at the last Open
	commits []commit         // since the last Open, in call order
	acked   int              // number of acknowledged commits
	synced  int              // number of commits known to survive a power cut
	pending []pending        // of the commits behind acked, in order
	version int64            // of the last acknowledged commit
	failed  bool             // the store has failed or the process is dead
	armed   bool             // the process is to be killed at a later file operation
	cut     atomic.Bool      // the process was killed by a power cut
}

// pending is an asynchronous commit.
type pending struct {
	*kvstore.Commit
	function *function // nil for a batch
}

// openView is a view and what it must show.
type openView struct {
	*kvstore.View
	state map[string]entry
	at    int // commits since the last Open, when it was opened
}

func newMachine(t *rapid.T) *machine {
	seed := rapid.Uint64().Draw(t, "disk seed")
	random := rand.New(rand.NewPCG(seed, 0))
	m := &machine{
		fs: vfs.NewMem(random.IntN),
		config: kvstore.Config{
			DataDir: propertyDir, SyncWrites: rapid.Bool().Draw(t, "SyncWrites"),
			Replicated: rapid.IntRange(0, 2).Draw(t, "Replicated") == 0,
		},
		base: map[string]entry{}, start: time.Now().UnixNano(),
	}
	if err := errors.Join(m.fs.Mkdir("/data"), m.fs.SyncParent("/data")); err != nil {
		t.Fatal(err)
	}
	m.open(t)
	return m
}

func (m *machine) open(t *rapid.T) {
	m.fs.SetHook(nil)
	store, err := m.tryOpen()
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	m.store, m.failed, m.armed = store, false, false
	m.cut.Store(false)
}

func (m *machine) tryOpen() (*kvstore.Store, error) {
	ahead := m.ahead
	return kvstore.OpenFS(m.fs, m.config, kvstore.WithClock(func() time.Time { return time.Now().Add(ahead) }))
}

// now is the time by the store's clock.
func (m *machine) now() int64 { return m.store.Now().UnixNano() }

// state returns the model's state after n commits, with the keys that are due.
func (m *machine) state(n int) map[string]entry {
	state := maps.Clone(m.base)
	for _, c := range m.commits[:n] {
		c.apply(state)
	}
	return state
}

// visible returns what readers see after n commits.
func (m *machine) visible(n int) map[string]string { return visible(m.state(n), m.now()) }

// resolve returns what a commit writes whose calls are made now: a write that
// is due is a deletion, and a key that is not there is not touched.
func (m *machine) resolve(c commit) commit {
	return resolve(c, m.state(len(m.commits)), m.now())
}

func resolve(c commit, state map[string]entry, now int64) commit {
	state, resolved := maps.Clone(state), commit{}
	for _, w := range c {
		if before, ok := state[w.key]; w.touch && (!ok || before.isDue(now)) {
			continue
		}
		if (entry{until: w.until}).isDue(now) {
			w = write{key: w.key}
		}
		commit{w}.apply(state)
		resolved = append(resolved, w)
	}
	return resolved
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
// It does so at a moment when nothing was due yet, and once more at any other.
func (m *machine) reopen(t *rapid.T, atLeast int) {
	m.rewind()
	m.open(t)
	got, found := withDeadlines(m.store), -1
	for n := len(m.commits); n >= atLeast && found < 0; n-- {
		if maps.Equal(got, m.state(n)) {
			found = n
		}
	}
	if found < 0 {
		t.Fatalf("recovered %s, which is no prefix of %d commits with %d promised: %#v after %s",
			fullSummary(got, m.start), len(m.commits), atLeast, m.commits, fullSummary(m.base, m.start))
	}
	if v := m.store.Stats().Version; v < m.version && atLeast >= m.acked {
		t.Fatalf("version %d, it was %d", v, m.version)
	}
	m.base, m.commits, m.acked, m.synced = got, nil, 0, 0
	m.version = m.store.Stats().Version
	if rapid.Bool().Draw(t, "closes it") {
		if err := m.store.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	} else {
		m.fs.Kill()
		_ = m.store.Close() // writes nothing: its handles are dead
	}
	clock := rapid.IntRange(0, 8).Draw(t, "seconds since the start")
	m.rewind()
	m.ahead += time.Duration(clock) * time.Second
	m.open(t)
	m.expired(t)
}

// rewind sets wall time back to a moment when nothing was due.
func (m *machine) rewind() { m.ahead = time.Until(time.Unix(0, m.start)) }

// expired adds to the model the commit with which the writer has deleted what
// is due.
func (m *machine) expired(t *rapid.T) {
	synctest.Wait()
	due := dueAt(m.state(len(m.commits)), m.now())
	if m.failed || m.config.Replicated || len(due) == 0 {
		return
	}
	c := commit{}
	for _, key := range due {
		c = append(c, write{key: key})
	}
	m.commits = append(m.commits, c)
	switch stats := m.store.Stats(); {
	case m.store.Err() != nil:
		m.fail()
	case stats.Due > 0:
		t.Fatalf("%d keys are due, and not deleted", stats.Due)
	default:
		m.acked = len(m.commits)
		if m.config.SyncWrites {
			m.synced = m.acked
		}
		m.advance(t, true)
	}
}

// dropView closes the view, before the store is closed.
func (m *machine) dropView() {
	if m.view != nil {
		_ = m.view.Close() // it returns nil
		m.view = nil
	}
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
	m.dropView()
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
	// The deadline of a write that was drawn is a number of seconds, see
	// [machine.dated].
	seconds = rapid.SampledFrom([]int64{1, 1, 2, 3, 5, 1000, -1})
	writes  = rapid.Custom(func(t *rapid.T) write {
		w := write{key: keys.Draw(t, "key")}
		if rapid.IntRange(0, 3).Draw(t, "set") > 0 {
			w.value = values.Draw(t, "value")
			if rapid.IntRange(0, 2).Draw(t, "expires") == 0 {
				w.until = seconds.Draw(t, "seconds")
			}
		}
		return w
	})
)

// dated returns a commit that was drawn, with its deadlines.
func (m *machine) dated(c commit) commit {
	c = slices.Clone(c)
	for i, w := range c {
		if w.until != 0 {
			c[i].until = m.inSeconds(w.until)
		}
	}
	return c
}

// inSeconds returns a deadline that falls into the n-th second from now, or
// before now if n is not positive. Deadlines are half a second away from what
// the clock shows.
func (m *machine) inSeconds(n int64) int64 {
	second := int64(time.Second)
	return m.start + (m.now()-m.start)/second*second + (n-1)*second + second/2
}

// Pass lets time pass, to the beginning of a later second.
func (m *machine) Pass(t *rapid.T) {
	m.await(t)
	for range rapid.IntRange(1, 3).Draw(t, "seconds") {
		second := int64(time.Second)
		pass(time.Duration(second - (m.now()-m.start)%second))
		m.expired(t)
	}
}

func (m *machine) Set(t *rapid.T) {
	key, value := keys.Draw(t, "key"), values.Draw(t, "value")
	m.commit(t, commit{{key: key, value: value}}, m.store.Set(key, value))
}

func (m *machine) SetUntil(t *rapid.T) {
	w := write{key: keys.Draw(t, "key"), value: values.Draw(t, "value"), until: seconds.Draw(t, "seconds")}
	raw := m.dated(commit{w})
	c, until := m.resolve(raw), raw[0].until
	if ttl := time.Duration(until - m.now()); ttl > 0 && rapid.Bool().Draw(t, "for") {
		m.commit(t, c, m.store.SetFor(w.key, w.value, ttl))
		return
	}
	m.commit(t, c, m.store.SetUntil(w.key, w.value, moment(until)))
}

// Expire moves a deadline, or removes it.
func (m *machine) Expire(t *rapid.T) {
	w := write{key: keys.Draw(t, "key"), touch: true}
	if rapid.IntRange(0, 3).Draw(t, "expires") > 0 {
		w.until = seconds.Draw(t, "seconds")
	}
	raw := m.dated(commit{w})
	c := m.resolve(raw)
	found, err := m.store.Expire(w.key, moment(raw[0].until))
	if err == nil && found != (len(c) > 0) {
		t.Fatalf("Expire(%q): %v, want %v", w.key, found, len(c) > 0)
	}
	m.commit(t, c, err)
}

func (m *machine) Delete(t *rapid.T) {
	key := keys.Draw(t, "key")
	m.commit(t, commit{{key: key}}, m.store.Delete(key))
}

// CompareAndSwap expects the value after all pending commits, or another one.
func (m *machine) CompareAndSwap(t *rapid.T) {
	key := keys.Draw(t, "key")
	var old, next value
	if now, ok := m.visible(len(m.commits))[key]; ok {
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
	c := commit{{key: key, value: next}}
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
	between := m.dated(rapid.SliceOfN(writes, 0, 2).Draw(t, "between"))
	var c commit
	err := m.store.Update(context.Background(), func(tx *kvstore.Tx) error {
		if b := between; len(b) > 0 && !m.failed {
			between = nil
			m.commit(t, m.resolve(b), m.store.Apply(context.Background(), b.batch()))
			if m.failed {
				return kvstore.ErrFailed
			}
		}
		w := write{key: to}
		if b, ok := tx.Get(from); ok {
			tx.Set(to, b)
			w.value = b
		} else {
			tx.Delete(to)
		}
		c = commit{w}
		for key := range tx.Scan(some) {
			tx.Delete(key)
			c = append(c, write{key: key})
		}
		return nil
	})
	if errors.Is(err, kvstore.ErrFailed) && c == nil {
		return // Update failed before it called the function
	}
	m.commit(t, c, err)
}

func (m *machine) Apply(t *rapid.T) {
	c := m.dated(rapid.SliceOfN(writes, 1, 6).Draw(t, "batch"))
	m.commit(t, m.resolve(c), m.store.Apply(context.Background(), c.batch()))
}

func (m *machine) ApplyAsync(t *rapid.T) {
	c := m.dated(rapid.SliceOfN(writes, 1, 6).Draw(t, "batch"))
	resolved := m.resolve(c)
	if m.failed {
		m.commit(t, resolved, m.store.ApplyAsync(context.Background(), c.batch()).Wait(context.Background()))
		return
	}
	m.commits = append(m.commits, resolved)
	m.pending = append(m.pending, pending{Commit: m.store.ApplyAsync(context.Background(), c.batch())})
}

// function is given to Do and carries out steps. It checks what it reads, and
// ends as it is told.
type function struct {
	steps []functionStep
	end   string           // "", or how it ends instead: "error", "panic" or "exit"
	state map[string]entry // what it reads; owned by the function once it is given to the store
	now   int64            // its moment, or so

	view      *kvstore.View   // nil for none
	unchanged map[string]bool // for keys of steps: what Unchanged answers, if that is known

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
		kind: rapid.SampledFrom([]string{
			"get", "has", "deadline", "write", "write", "write", "touch", "scan", "all", "unchanged",
		}).Draw(t, "step"),
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
		state: m.state(len(m.commits)), now: m.now(), unchanged: map[string]bool{},
	}
	if m.view != nil {
		f.view = m.view.View
	}
	c := commit{}
	for i := range f.steps {
		step := &f.steps[i]
		step.write = m.dated(commit{step.write})[0]
		if answer, known := m.isUnchanged(step.write.key); known {
			f.unchanged[step.write.key] = answer
		}
		switch step.kind {
		case "touch":
			step.write = write{key: step.write.key, until: step.write.until, touch: true}
			fallthrough
		case "write":
			c = append(c, step.write)
		}
	}
	if f.end != "" {
		return f, commit{}
	}
	return f, m.resolve(c)
}

// isUnchanged returns what Unchanged has to answer. It may give any answer if a
// key was deleted that was not there, and nothing else has become of it.
func (m *machine) isUnchanged(key string) (answer, known bool) {
	if m.view == nil || m.view.state[key].isDue(m.now()) {
		return false, true
	}
	state, known := m.state(m.view.at), true
	for _, c := range m.commits[m.view.at:] {
		for _, w := range c {
			_, there := state[key]
			switch {
			case w.key != key:
			case there || w.value != nil:
				return false, true
			default:
				known = false
			}
			commit{w}.apply(state)
		}
	}
	return true, known
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
	e, present := f.state[key]
	if e.isDue(f.now) {
		e, present = entry{}, false
	}
	switch step.kind {
	case "get":
		if got, ok := tx.Get(key); string(got) != e.value || ok != present {
			f.Fatalf("Get(%q) = %.20q, %v, want %.20q, %v", key, got, ok, e.value, present)
		}
	case "has":
		if ok := tx.Has(key); ok != present {
			f.Fatalf("Has(%q) = %v", key, ok)
		}
	case "deadline":
		if got, ok := tx.Deadline(key); nanoseconds(got) != e.until || ok != present {
			f.Fatalf("Deadline(%q) = %v, %v, want %v, %v", key, got, ok, moment(e.until), present)
		}
	case "write":
		f.write(step.write, tx)
	case "touch":
		if found := tx.Expire(key, moment(step.write.until)); found != present {
			f.Fatalf("Expire(%q) = %v", key, found)
		}
	case "scan":
		wantScan(f, visible(f.state, f.now), step.scan, tx.Scan(step.scan))
	case "all":
		got, want := map[string]string{}, visible(f.state, f.now)
		for key, value := range tx.All() {
			got[key] = string(value)
		}
		if !maps.Equal(got, want) {
			f.Fatalf("All shows %s, want %s", summary(got), summary(want))
		}
	case "unchanged":
		if f.view == nil {
			break
		}
		if want, known := f.unchanged[key]; known && tx.Unchanged(f.view, key) != want {
			f.Fatalf("Unchanged(%q), want %v", key, want)
		}
	}
	if step.kind == "write" || step.kind == "touch" {
		resolve(commit{step.write}, f.state, f.now).apply(f.state)
	}
}

func (f *function) write(w write, tx *kvstore.Tx) {
	switch {
	case w.value == nil:
		tx.Delete(w.key)
	case w.until != 0:
		tx.SetUntil(w.key, w.value, moment(w.until))
	default:
		tx.Set(w.key, w.value)
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

// UpdateSteps runs a function as a transaction of the caller's. Nothing comes
// between.
func (m *machine) UpdateSteps(t *rapid.T) {
	if m.await(t); m.failed {
		return // one without writes does not notice
	}
	f, c := m.function(t)
	if f.end != "" {
		f.end = "error"
	}
	err := m.store.Update(context.Background(), f.run)
	if errors.Is(err, kvstore.ErrFailed) && f.runs == 0 {
		return // it failed before it called the function
	}
	m.commit(t, c, f.outcome(t, err))
}

// DeleteDue deletes what is due in a store whose commits come from elsewhere.
func (m *machine) DeleteDue(t *rapid.T) {
	m.await(t)
	if m.failed || !m.config.Replicated {
		return
	}
	state := m.state(len(m.commits))
	want, got := dueAt(state, m.now()), m.store.Due(100)
	if !slices.IsSortedFunc(got, func(a, b string) int { return int(state[a].until - state[b].until) }) ||
		!slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Fatalf("due are %q, want %q", got, want)
	}
	c := commit{}
	for _, key := range want[:rapid.IntRange(0, len(want)).Draw(t, "keys")] {
		c = append(c, write{key: key})
	}
	n := 0
	err := m.store.Do(context.Background(), func(tx *kvstore.Tx) error {
		for _, w := range c {
			n += tx.DeleteDue(w.key, "absent")
		}
		for key, e := range state {
			if !e.isDue(m.now()) {
				n += tx.DeleteDue(key)
			}
		}
		return nil
	})
	if err == nil && n != len(c) {
		t.Fatalf("DeleteDue deletes %d keys, want %d", n, len(c))
	}
	m.commit(t, c, err)
}

// OpenView opens a view, which replaces the one before it.
func (m *machine) OpenView(t *rapid.T) {
	if m.await(t); m.failed {
		return
	}
	m.dropView()
	v, err := m.store.View()
	if err != nil {
		t.Fatal(err)
	}
	m.view = &openView{View: v, state: map[string]entry{}, at: len(m.commits)}
	for key, e := range m.state(m.acked) {
		if !e.isDue(m.now()) {
			m.view.state[key] = e
		}
	}
}

// checkView compares the view with what it showed at first.
func (m *machine) checkView(t *rapid.T) {
	if m.view == nil {
		return
	}
	got := map[string]entry{}
	for key, value := range m.view.Scan(kvstore.Range{}) {
		deadline, ok := m.view.Deadline(key)
		if !ok || !m.view.Has(key) {
			t.Fatalf("a view shows %q to Scan alone", key)
		}
		got[key] = entry{string(value), nanoseconds(deadline)}
	}
	if !maps.Equal(got, m.view.state) || m.view.Len() != len(got) {
		t.Fatalf("a view shows %s, and did show %s; Len %d",
			fullSummary(got, m.start), fullSummary(m.view.state, m.start), m.view.Len())
	}
}

// DoVersion has a function or a batch ask for a version.
func (m *machine) DoVersion(t *rapid.T) {
	m.await(t)
	last := m.store.Stats().Version
	v := rapid.SampledFrom([]int64{last + 1, last + 2, last + 1<<40, last, last - 1, 0, -1, 1 << 62}).Draw(t, "version")
	f, c := m.function(t)
	var err error
	if rapid.Bool().Draw(t, "batch") {
		writes := m.dated(rapid.SliceOfN(writes, 0, 3).Draw(t, "writes"))
		c = m.resolve(writes)
		b := writes.batch()
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
	text, present := m.visible(len(m.commits))[key]
	before, notNumber := strconv.ParseInt(text, 10, 64)
	if !present {
		notNumber = nil
	}
	sum := before + delta
	c, want := commit{{key: key, value: strconv.AppendInt(nil, sum, 10)}}, error(nil)
	if present {
		c[0].until = m.state(len(m.commits))[key].until
	}
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
	w := m.dated(commit{writes.Draw(t, "write")})[0]
	between := m.dated(rapid.SliceOfN(writes, 0, 3).Draw(t, "between"))
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
		if b := between; len(b) > 0 && !m.failed {
			between, most = nil, 2
			m.commit(t, m.resolve(b), m.store.Apply(context.Background(), b.batch()))
			if m.failed {
				return kvstore.ErrFailed
			}
		}
		(&function{}).write(w, tx)
		return nil
	})
	if errors.Is(err, kvstore.ErrFailed) && runs == 0 {
		return // Update failed before it called the function
	}
	if state := m.visible(len(m.commits)); err == nil && (runs > most || !maps.Equal(seen, state)) {
		t.Fatalf("%d runs, want up to %d; it read %s, want %s", runs, most, summary(seen), summary(state))
	}
	m.commit(t, m.resolve(commit{w}), err)
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

// Snapshot writes one while the store is open.
func (m *machine) Snapshot(t *rapid.T) {
	m.await(t)
	err := m.store.Snapshot(context.Background())
	switch {
	case err == nil && m.failed:
		t.Fatal("Snapshot succeeded on a failed store")
	case err == nil:
		m.synced = m.acked
	case errors.Is(err, kvstore.ErrFailed):
		m.fail()
	case !m.armed:
		t.Fatalf("Snapshot: %v", err)
	}
}

func (m *machine) Close(t *rapid.T) {
	if m.view != nil {
		m.await(t) // functions may ask what has changed since the view
		m.dropView()
	}
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
	m.rewind()
	for range 2 {
		m.arm(rapid.IntRange(1, 40).Draw(t, "after operations"), power)
		store, err := m.tryOpen()
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
	c := commit{{key: "failing", value: values.Draw(t, "value")}}
	err := m.store.Set(c[0].key, c[0].value)
	m.commit(t, c, err)
	if err == nil {
		// SyncWrites is off: the write succeeds, and the fsync that fails may
		// come at any time. Sync waits for it.
		before[c[0].key] = string(c[0].value)
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
	m.dropView()
	if err := m.store.Close(); !errors.Is(err, kvstore.ErrFailed) {
		t.Fatalf("Close after the failure: %v", err)
	}
	m.reopen(t, m.acked)
}

// Check compares reads with the model while the store is healthy and nothing is
// under way.
func (m *machine) Check(t *rapid.T) {
	m.checkView(t)
	if m.failed || len(m.pending) > 0 {
		return
	}
	m.checkDeadlines(t)
	want := m.visible(m.acked)
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

// checkDeadlines compares deadlines with the model, those of keys that are due
// by their number.
func (m *machine) checkDeadlines(t *rapid.T) {
	state, now := m.state(m.acked), m.now()
	expiring, due := 0, dueAt(state, now)
	for key, e := range state {
		if e.until != 0 {
			expiring++
		}
		want := e
		if e.isDue(now) {
			want = entry{}
		}
		if got, ok := m.store.Deadline(key); nanoseconds(got) != want.until || ok == e.isDue(now) {
			t.Fatalf("Deadline(%q) = %v, %v, want %v", key, got, ok, moment(want.until))
		}
	}
	stats, lag := m.store.Stats(), time.Duration(0)
	if len(due) > 0 {
		lag = time.Duration(now - state[due[0]].until)
	}
	if stats.Expiring != expiring || stats.Due != len(due) || stats.ExpireLag != lag {
		t.Fatalf("%d keys have a deadline, %d are due, for %v; want %d, %d, %v",
			stats.Expiring, stats.Due, stats.ExpireLag, expiring, len(due), lag)
	}
}

func TestStoreAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		inBubble(t, func() {
			m := newMachine(r)
			defer func() {
				m.fs.SetHook(nil)
				m.dropView()
				_ = m.store.Close() // it may be crashed; goleak sees whether its goroutines end
			}()
			r.Repeat(rapid.StateMachineActions(m))
		})
	})
}

// inBubble runs a rapid check in a bubble of testing/synctest. Rapid ends
// checks by panics, which are brought out of the bubble. It tells them apart by
// their places, and a failure must have another one than the end of a check
// that rapid gives up.
func inBubble(t *testing.T, check func()) {
	var panicked any
	synctest.Test(t, func(*testing.T) {
		defer func() { panicked = recover() }()
		check()
	})
	switch fmt.Sprintf("%T", panicked) {
	case "<nil>":
	case "rapid.invalidData":
		panic(panicked)
	default:
		panic(panicked)
	}
}
