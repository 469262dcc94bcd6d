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

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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
	pending []*kvstore.Commit // of the commits behind acked, in order
	failed  bool              // the store has failed or the process is dead
	armed   bool              // the process is to be killed at a later file operation
	cut     atomic.Bool       // the process was killed by a power cut
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
	case errors.Is(err, kvstore.ErrFailed):
		m.fail()
	default:
		t.Fatalf("unexpected error: %v", err)
	}
}

func (m *machine) fail() {
	m.failed = true
}

// await collects the results of all asynchronous commits.
func (m *machine) await(t *rapid.T) {
	for _, p := range m.pending {
		err := p.Wait(context.Background())
		switch {
		case err == nil && m.failed:
			t.Fatal("an asynchronous commit was acknowledged after one before it had failed")
		case err == nil:
			m.acked++
			if m.config.SyncWrites {
				m.synced = m.acked
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
			m.base, m.commits, m.acked, m.synced = want, nil, 0, 0
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
	keys   = rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e\x00", "KVLG", "long key that takes some room"})
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
	m.pending = append(m.pending, m.store.ApplyAsync(context.Background(), c.batch()))
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
