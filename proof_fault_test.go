package kvstore_test

// This file has every file operation of a session fail in turn, once, for ever
// and short (P3, P5, P10): in Open, in a write, in a rotation, in recovery, in
// the snapshot of Close. Each time the error has the right type, nothing that
// failed is visible, no acknowledged write is lost, even by a power cut after
// the next Open, and no file, lock or goroutine is left behind.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

// fault is the way in which operations fail from the n-th on.
type fault struct {
	name    string
	cause   error
	forever bool
	short   bool // writes only: half of the bytes get through
}

func faults() []fault {
	return []fault{
		{name: "EIO once", cause: syscall.EIO},
		{name: "EIO for ever", cause: syscall.EIO, forever: true},
		{name: "ENOSPC once", cause: syscall.ENOSPC},
		{name: "ENOSPC for ever", cause: syscall.ENOSPC, forever: true},
		{name: "short write", cause: syscall.EIO, short: true},
		{name: "short write, then ENOSPC for ever", cause: syscall.ENOSPC, forever: true, short: true},
	}
}

// session is a scripted use of a store on a disk that fails. It is what a user
// would write: after ErrFailed it closes the store and opens it again.
type session struct {
	t      testing.TB
	fs     *vfs.Mem
	config kvstore.Config
	store  *kvstore.Store // nil while Open fails

	history []map[string]string
	acked   int
	failed  bool // the store has returned ErrFailed
	serial  int
}

func newSession(t testing.TB, syncWrites bool, random *rand.Rand) *session {
	fs := vfs.NewMem(random.IntN)
	if err := errors.Join(fs.Mkdir("/data"), fs.SyncParent("/data")); err != nil {
		t.Fatal(err)
	}
	return &session{
		t: t, fs: fs, history: []map[string]string{{}},
		config: kvstore.Config{DataDir: propertyDir, SyncWrites: syncWrites, SyncInterval: time.Hour},
	}
}

// script is long enough for rotations, recovery after a kill, and snapshots.
func (s *session) script() {
	s.open()
	s.set(3)
	s.apply()
	s.update()
	s.set(4) // rotates
	s.sync()
	s.kill()
	s.open() // recovers
	s.set(2)
	s.snapshot()
	s.set(2)
	s.close() // writes a snapshot
	s.open()  // loads it
	s.set(1)
	s.kill()
	s.open() // snapshot and log
	s.close()
}

func (s *session) open() {
	if s.store != nil {
		return
	}
	// A Set of this test is written in two pieces, everything else in one.
	store, err := kvstore.OpenFS(s.fs, s.config, inline, kvstore.WithDirectBytes(500))
	if err != nil {
		s.checkCause("Open", err)
		if n := s.fs.Handles(); n != 0 {
			s.t.Fatalf("a failed Open leaves %d handles open", n)
		}
		return
	}
	s.store, s.failed = store, false
	s.adopt()
}

// adopt takes the state that Open found as the expected one from now on.
func (s *session) adopt() {
	s.t.Helper()
	got := contents(s.store)
	for n := len(s.history) - 1; n >= s.acked; n-- {
		if maps.Equal(got, s.history[n]) {
			s.history, s.acked = s.history[:n+1], n
			return
		}
	}
	s.t.Fatalf("opened with %s; %d of %d commits were acknowledged", summary(got), s.acked, len(s.history)-1)
}

// checkCause checks that a program can tell from the error what went wrong.
func (s *session) checkCause(what string, err error) {
	s.t.Helper()
	if !errors.Is(err, errFault) {
		s.t.Fatalf("%s: %v, which does not wrap the cause", what, err)
	}
	if errors.Is(err, kvstore.ErrCorrupt) || errors.Is(err, kvstore.ErrVersion) {
		s.t.Fatalf("%s takes an error of the disk for damage: %v", what, err)
	}
}

var errFault = errors.New("injected fault")

func (s *session) set(n int) {
	for range n {
		c := commit{{key: "key", value: fmt.Appendf(nil, "%d%s", s.next(), strings.Repeat(".", 900))}}
		s.commit(c, func() error { return s.store.Set(c[0].key, c[0].value) })
	}
}

func (s *session) apply() {
	c := commit{{key: "other", value: fmt.Appendf(nil, "%d", s.next())}, {key: "key"}}
	s.commit(c, func() error { return s.store.Apply(context.Background(), c.batch()) })
}

func (s *session) update() {
	c := commit{{key: "moved", value: fmt.Appendf(nil, "%d", s.next())}, {key: "other"}}
	s.commit(c, func() error {
		return s.store.Update(context.Background(), func(tx *kvstore.Tx) error {
			state := contents(s.store)
			wantScan(s.t, state, kvstore.Range{}, tx.Scan(kvstore.Range{}))
			if value, _ := tx.Get("other"); string(value) != state["other"] {
				s.t.Fatalf("a transaction reads %q, want %q", value, state["other"])
			}
			tx.Set("moved", c[0].value)
			tx.Delete("other")
			return nil
		})
	})
}

func (s *session) next() int {
	s.serial++
	return s.serial
}

func (s *session) commit(c commit, do func() error) {
	if s.store == nil {
		return
	}
	before := contents(s.store)
	model := withDeadlines(s.store)
	c.apply(model)
	after := visible(model, 0)
	err := do()
	synctest.Wait() // for what the writer does after it has answered
	switch {
	case err == nil && s.failed:
		s.t.Fatal("a write succeeds on a failed store")
	case err == nil:
		s.history = append(s.history[:s.acked+1], after)
		s.acked++
		s.wantVisible(after)
		return
	case errors.Is(err, kvstore.ErrFailed):
		s.checkCause("write", err)
		if !s.failed {
			s.history = append(s.history, after) // whether it is there after the next Open is unknown
		}
		s.failed = true
	case errors.Is(err, syscall.ENOSPC):
		// Nothing was written, and the store goes on.
	default:
		s.t.Fatalf("a write returns %v", err)
	}
	s.wantVisible(before)
}

// wantVisible checks that readers see exactly this.
func (s *session) wantVisible(want map[string]string) {
	s.t.Helper()
	if got := contents(s.store); !maps.Equal(got, want) {
		s.t.Fatalf("readers see %s, want %s", summary(got), summary(want))
	}
	wantScan(s.t, want, kvstore.Range{}, s.store.Scan(kvstore.Range{}))
}

func (s *session) sync() {
	if s.store == nil {
		return
	}
	err := s.store.Sync()
	switch {
	case err == nil && s.failed:
		s.t.Fatal("Sync succeeds on a failed store")
	case err != nil && !errors.Is(err, kvstore.ErrFailed):
		s.t.Fatalf("Sync: %v", err)
	case err != nil:
		s.failed = true
	}
}

func (s *session) snapshot() {
	if s.store == nil {
		return
	}
	err := s.store.Snapshot(context.Background())
	synctest.Wait()
	switch {
	case err == nil && s.failed:
		s.t.Fatal("Snapshot succeeds on a failed store")
	case err != nil:
		s.checkCause("Snapshot", err)
		s.failed = s.failed || errors.Is(err, kvstore.ErrFailed)
	}
}

func (s *session) close() {
	if s.store == nil {
		return
	}
	err := s.store.Close()
	if err == nil && s.failed {
		s.t.Fatal("Close of a failed store returns nil")
	}
	if err != nil {
		s.checkCause("Close", err)
	}
	s.store = nil
	if n := s.fs.Handles(); n != 0 {
		s.t.Fatalf("Close leaves %d handles open", n)
	}
}

// kill ends the process.
func (s *session) kill() {
	if s.store == nil {
		return
	}
	s.fs.Kill()
	_ = s.store.Close() // fails: its file system is gone
	s.store = nil
}

// inject makes the n-th operation fail, counting from 1, and returns the
// counter.
func (s *session) inject(n int, f fault) *int {
	count := new(int)
	s.fs.SetHook(func(op vfs.Op) error {
		*count++
		if *count != n && (*count < n || !f.forever) {
			return nil
		}
		err := fmt.Errorf("%w: %w", errFault, f.cause)
		if f.short && op.Kind == vfs.OpWrite {
			return &vfs.ShortWrite{Bytes: op.Bytes / 2, Err: err}
		}
		return err
	})
	return count
}

func TestP5EveryOperationFails(t *testing.T) {
	seed := testseed.New(t)
	for _, syncWrites := range []bool{true, false} {
		var operations *int
		synctest.Test(t, func(t *testing.T) {
			whole := newSession(t, syncWrites, rand.New(rand.NewPCG(seed, 0)))
			operations = whole.inject(0, fault{})
			whole.script()
		})
		for _, f := range faults() {
			t.Run(fmt.Sprintf("SyncWrites=%t/%s", syncWrites, f.name), func(t *testing.T) {
				for n := 1; n <= *operations && !t.Failed(); n++ {
					if slow() && (uint64(n)+seed)%12 > 0 {
						continue // another seed takes others
					}
					synctest.Test(t, func(t *testing.T) {
						failOperation(t, n, f, newSession(t, syncWrites, rand.New(rand.NewPCG(seed, uint64(n)))))
					})
				}
			})
		}
		t.Logf("SyncWrites=%t: each of %d operations failed in %d ways", syncWrites, *operations, len(faults()))
	}
}

// failOperation runs the script with one failing operation, then on a good disk
// again, and cuts the power.
func failOperation(t testing.TB, n int, f fault, s *session) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("%s at operation %d", f.name, n)
		}
	}()
	s.inject(n, f)
	s.script()
	s.close()
	s.fs.SetHook(nil)
	s.open()
	if s.store == nil {
		t.Fatal("does not open on a good disk")
	}
	served := contents(s.store)
	s.fs.PowerCut()
	_ = s.store.Close() // fails: its file system is gone
	s.store = nil
	s.open()
	s.wantVisible(served)
	s.set(1)
	s.close()
}
