package kvstore_test

// This file is the crash explorer (P1, P2, P3, P4, P6). It runs a workload on
// the in-memory file system and crashes it at every operation that changes
// anything: in a Set, a rotation, a snapshot, a Close, an Open. Each crash is
// tried with several outcomes: the process alone dies, or the power goes and
// any subset of what was not synced survives. Each outcome is recovered and
// compared with the model: the state must be that after a prefix of the commits
// which holds every promised one, with the version of the last of them. Some
// recoveries are crashed again at each of
// their own operations, and those recoveries too. And while a recovery reads,
// the kernel may drop pages that a failed fsync has left clean, so that a
// second read of the same place finds other bytes.
//
// Keys get deadlines, and time passes, in a bubble of testing/synctest. What
// the writer deletes because it is due is a commit like others. A recovery is
// compared at a moment when nothing was due yet, so that it shows all that it
// has. Some recoveries open the store at a later moment instead, when the
// writer deletes keys at once: these must be gone from then on.
//
// A state is one pair of crash point and outcome, recovered and compared.
// KVSTORE_STATES sets the number of states, and KVSTORE_WORKLOAD names a
// workload to run alone. (An outcome that keeps a prefix of the operations
// whole is the death of the process at an earlier operation, with weaker
// promises. So it is among them.)

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/format"
	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

const (
	exploreDir      = "/new/data/store" // Open makes all of it
	exploredStates  = 10_000            // in plain go test; CI asks for 300,000, make explore for a million
	outcomesAtPoint = 4                 // power cuts at each operation, besides the death of the process
	stepsOfWorkload = 12
	// At each depth, one of recrashOneIn recoveries is crashed again, at each
	// of its operations.
	recrashOneIn  = 40
	maxCrashDepth = 2
)

func TestExploreCrashes(t *testing.T) {
	if workload := os.Getenv("KVSTORE_WORKLOAD"); workload != "" {
		n, err := strconv.ParseUint(workload, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		e := &explorer{seed: n, enough: math.MaxInt64}
		synctest.Test(t, func(t *testing.T) { e.run(t) })
		t.Logf("workload %d: %d states", n, e.states)
		return
	}
	goal := exploredStates
	if slow() {
		goal /= 20
	}
	if n := os.Getenv("KVSTORE_STATES"); n != "" {
		var err error
		if goal, err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	// The heap is tiny, and collecting it would take most of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	base := testseed.Rand(t).Uint64N(1 << 32)
	t.Logf("workloads from %d", base)
	var states, crashed, changed, points atomic.Int64
	var next atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for states.Load() < int64(goal) && !t.Failed() {
				e := &explorer{seed: base + next.Add(1), enough: int64(goal) - states.Load()}
				synctest.Test(t, func(t *testing.T) { e.run(t) })
				states.Add(e.states)
				crashed.Add(e.recrashed)
				changed.Add(e.changed)
				points.Add(e.points)
			}
		})
	}
	workers.Wait()
	t.Logf("%d states at %d crash points of %d workloads; %d recoveries crashed again, %d saw bytes change",
		states.Load(), points.Load(), next.Load(), crashed.Load(), changed.Load())
}

// explorer runs one workload and crashes it everywhere. The workload waits for
// every call, so its goroutine and the store's writer take turns, and the
// fields need no lock but in one place: see expect.
type explorer struct {
	t      testing.TB
	seed   uint64
	enough int64      // states after which the workload ends early
	random *rand.Rand // of the workload
	crash  *rand.Rand // of the outcomes, so that they do not change the workload
	fs     *vfs.Mem
	config kvstore.Config
	store  *kvstore.Store

	start   time.Time          // nothing is due then; deadlines are half a second away from its seconds
	history []map[string]entry // the state after each number of commits
	version map[int]int64      // after a number of commits, if it is known
	acked   int                // commits that survive the process's death
	synced  int                // commits that survive a power cut
	failing int                // fsyncs until one fails; 0 for none
	oracle  *oracle            // of the workload, not of what is tried at its crash points
	held    chan chan struct{} // if not nil, stops the writer at its next operation: see async
	visits  sync.Mutex         // held by visit, and by expect
	serial  int                // makes every value different

	points, states, recrashed, changed int64
}

func (e *explorer) run(t testing.TB) {
	e.t = t
	e.random = rand.New(rand.NewPCG(e.seed, 1))
	e.crash = rand.New(rand.NewPCG(e.seed, 2))
	e.fs = vfs.NewMem(e.random.IntN)
	e.history, e.start = []map[string]entry{{}}, time.Now()
	e.version = map[int]int64{}
	e.oracle = newOracle(func(rule string) { e.fatal("order: %s", rule) })
	e.fs.SetHook(e.visit)
	e.open()
	for range stepsOfWorkload {
		if t.Failed() || e.states >= e.enough {
			break
		}
		e.step()
	}
	e.fs.SetHook(nil)
	if err := e.store.Close(); err != nil && !errors.Is(err, kvstore.ErrFailed) {
		e.fatal("close: %v", err)
	}
}

func (e *explorer) fatal(format string, args ...any) {
	e.t.Errorf("KVSTORE_WORKLOAD=%d: %s", e.seed, fmt.Sprintf(format, args...))
}

// Helper and Fatalf make an explorer a tester. Fatalf goes on after a failure,
// since it may be called in the middle of an operation of the store.

func (e *explorer) Helper() { e.t.Helper() }

func (e *explorer) Fatalf(format string, args ...any) { e.fatal(format, args...) }

// visit crashes the file system before each operation that changes something.
// Then the operation happens, or fails.
func (e *explorer) visit(op vfs.Op) error {
	e.visits.Lock()
	defer e.visits.Unlock()
	if e.t.Failed() {
		return nil
	}
	if changes(op.Kind) {
		e.hold()
		e.points++
		e.explore(e.fs, 0)
	}
	if op.Kind == vfs.OpSync && e.failing > 0 {
		e.failing--
		if e.failing == 0 {
			return errInjected
		}
	}
	e.oracle.happens(op)
	return nil
}

// hold stops the writer while async queues more commands.
func (e *explorer) hold() {
	if held := e.held; held != nil {
		e.held = nil
		release := make(chan struct{})
		held <- release
		<-release
	}
}

var errInjected = errors.New("injected EIO")

// changes reports whether an operation has an effect that a crash could lose.
func changes(kind vfs.OpKind) bool {
	switch kind {
	case vfs.OpMkdir, vfs.OpRemoveDir, vfs.OpSyncParent, vfs.OpCreate, vfs.OpRename, vfs.OpRemove, vfs.OpSyncDir,
		vfs.OpWrite, vfs.OpAllocate, vfs.OpTruncate, vfs.OpSync:
		return true
	case vfs.OpOpenDir, vfs.OpOpen, vfs.OpList, vfs.OpLock, vfs.OpCheckLock, vfs.OpRead, vfs.OpSize,
		vfs.OpStartWrite, vfs.OpStartSync, vfs.OpWriteBack, vfs.OpForget:
		return false
	}
	panic("unknown operation " + kind)
}

// explore tries the outcomes of a crash of fs at this moment.
func (e *explorer) explore(fs *vfs.Mem, depth int) {
	e.recover(fs.Clone(e.crash.IntN), e.acked, depth)
	e.recoverForgetting(fs.Clone(e.crash.IntN))
	for range outcomesAtPoint {
		after := fs.Clone(e.crash.IntN)
		after.PowerCut()
		e.recover(after, e.synced, depth)
	}
}

// recover opens what a crash has left and compares it with the model.
func (e *explorer) recover(fs *vfs.Mem, promised, depth int) {
	e.states++
	switch {
	case depth < maxCrashDepth && e.crash.IntN(recrashOneIn) == 0:
		e.recrashed++
		fs.SetHook(func(op vfs.Op) error {
			if changes(op.Kind) && !e.t.Failed() {
				e.exploreRecovery(fs, promised, depth+1)
			}
			return nil
		})
	case e.hasDeadlines() && e.crash.IntN(4) == 0:
		e.recoverLater(fs, promised)
		return
	}
	store, err := e.tryOpen(fs, e.start, true)
	if err != nil {
		e.fatal("open after a crash: %v", err)
		return
	}
	fs.SetHook(nil)
	e.survives(fs, store, promised)
}

// tryOpen opens a store at a moment. It reads its log in pieces of any size,
// and may replace it by a snapshot.
func (e *explorer) tryOpen(fs *vfs.Mem, now time.Time, replicated bool) (*kvstore.Store, error) {
	config := kvstore.Config{DataDir: exploreDir, SyncWrites: true, Replicated: replicated, Now: at(now)}
	return kvstore.OpenFS(fs, config,
		kvstore.WithPieceBytes(1<<(6+e.crash.IntN(8))), kvstore.WithMaxSegments(1+e.crash.IntN(4)))
}

// at returns a clock that stands still.
func at(now time.Time) func() time.Time { return func() time.Time { return now } }

// hasDeadlines reports whether a recovery may find keys with deadlines.
func (e *explorer) hasDeadlines() bool {
	return slices.ContainsFunc(e.history, func(state map[string]entry) bool {
		return len(dueAt(state, math.MaxInt64)) > 0
	})
}

// recoverLater opens what a crash has left at a later moment, and has the
// writer delete what is due. None of that may be there afterwards.
func (e *explorer) recoverLater(fs *vfs.Mem, promised int) {
	const soon = 10 * time.Millisecond // the writer deletes a key some time after its deadline
	later := time.Now().Add(soon + []time.Duration{0, time.Second, 2 * time.Second, time.Hour}[e.crash.IntN(4)])
	store, err := e.tryOpen(fs, later, false)
	if err == nil {
		err = store.Sync() // the writer deletes before it answers
	}
	if err != nil {
		e.fatal("open after a crash, later: %v", err)
		return
	}
	now, got, due := store.Now().UnixNano(), contents(store), store.Stats().Due
	fs.PowerCut()
	_ = store.Close() // fails: its file system is gone
	again := e.openReadOnly(fs)
	if again == nil {
		return
	}
	left := withDeadlines(again)
	if err := again.Close(); err != nil {
		e.fatal("close: %v", err)
	}
	for n := len(e.history) - 1; n >= promised; n-- {
		want := maps.Clone(e.history[n])
		for _, key := range dueAt(want, now) {
			delete(want, key)
		}
		if maps.Equal(left, want) && maps.Equal(got, visible(want, now)) && due == 0 {
			return
		}
	}
	e.fatal("recovered %s later, with %d due keys, and left %s; %d commits of %d were promised",
		summary(got), due, fullSummary(left, e.start.UnixNano()), promised, len(e.history)-1)
}

// openReadOnly opens a store at a moment when nothing is due, and returns nil
// if it fails.
func (e *explorer) openReadOnly(fs *vfs.Mem) *kvstore.Store {
	store, err := kvstore.OpenFS(fs, kvstore.Config{DataDir: exploreDir, ReadOnly: true, Now: at(e.start)})
	if err != nil {
		e.fatal("open after a power cut behind recovery: %v", err)
		return nil
	}
	return store
}

// recoverForgetting opens what the death of a process has left, while the
// kernel drops clean pages. Open may find other bytes at a second reading. Then
// it fails, and another one finds what the disk has.
func (e *explorer) recoverForgetting(fs *vfs.Mem) {
	e.states++
	odds := 1 + e.crash.IntN(6)
	fs.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpRead && e.crash.IntN(odds) == 0 {
			fs.Evict()
		}
		return nil
	})
	store, err := e.tryOpen(fs, e.start, true)
	if _, ok := errors.AsType[*format.Changed](err); ok {
		e.changed++
		fs.SetHook(nil)
		store, err = e.tryOpen(fs, e.start, true)
	}
	if err != nil {
		e.fatal("open while pages are dropped: %v", err)
		return
	}
	fs.SetHook(nil)
	e.survives(fs, store, min(e.acked, e.synced))
}

// survives compares what a store serves with the model, and with what a power
// cut leaves of it.
func (e *explorer) survives(fs *vfs.Mem, store *kvstore.Store, promised int) {
	found := e.compare(store, promised)
	// What was served must stay, whatever happens next.
	if state := scan(store); found >= 0 && !maps.Equal(state, visible(e.history[found], e.start.UnixNano())) {
		e.fatal("Scan shows %s after %d commits", summary(state), found)
	}
	fs.PowerCut()
	_ = store.Close() // fails: its file system is gone
	again := e.openReadOnly(fs)
	if again == nil {
		return
	}
	if n := e.length(again); n != found {
		e.fatal("recovery served %d commits, of which %d survive a power cut", found, n)
	}
	if err := again.Close(); err != nil {
		e.fatal("close: %v", err)
	}
}

// exploreRecovery crashes a recovery that is under way and has acknowledged
// nothing.
func (e *explorer) exploreRecovery(fs *vfs.Mem, promised, depth int) {
	e.recover(fs.Clone(e.crash.IntN), promised, depth)
	after := fs.Clone(e.crash.IntN)
	after.PowerCut()
	e.recover(after, min(promised, e.synced), depth)
}

// compare checks that the store holds a prefix of the commits with all promised
// ones, and returns its length.
func (e *explorer) compare(store *kvstore.Store, promised int) (found int) {
	got := store.Stats().Version
	if found = e.length(store); found < promised {
		e.fatal("recovered %d commits of %d with version %d, %d were promised: %s",
			found, len(e.history)-1, got, promised, fullSummary(withDeadlines(store), e.start.UnixNano()))
	}
	if found > 0 && got <= e.version[found-1] {
		e.fatal("recovered %d commits with version %d, after %d", found, got, e.version[found-1])
	}
	return found
}

// length returns the number of commits that the store holds, -1 if its state
// and version fit none. It must show all that it has.
func (e *explorer) length(store *kvstore.Store) int {
	return e.after(withDeadlines(store), store.Stats().Version)
}

// after is length for a state and a version. Almost every commit makes a new
// state; those that delete what is due do not.
func (e *explorer) after(got map[string]entry, version int64) (n int) {
	n = -1
	for i, state := range e.history {
		if !maps.Equal(got, state) {
			continue
		}
		switch want, known := e.version[i]; {
		case known && version == want:
			return i
		case !known:
			n = i
		}
	}
	return n
}

func contents(store *kvstore.Store) map[string]string {
	state := map[string]string{}
	for _, key := range store.Keys() {
		if value, ok := store.Get(key); ok {
			state[key] = string(value)
		}
	}
	return state
}

// scan is contents by way of Scan.
func scan(store *kvstore.Store) map[string]string {
	state := map[string]string{}
	for key, value := range store.Scan(kvstore.Range{}) {
		state[key] = string(value)
	}
	return state
}

// inline makes the writer run its background tasks itself, at once. So
// operations have one order, and a seed always finds the same.
var inline = kvstore.WithBackground(func(task func() error) { _ = task() })

func (e *explorer) open() {
	e.config = kvstore.Config{
		DataDir: exploreDir, SyncWrites: e.random.IntN(3) > 0, SyncInterval: time.Hour,
		Replicated: e.random.IntN(4) == 0,
	}
	options := []kvstore.EnvOption{
		inline, kvstore.WithMaxSegments(1 + e.random.IntN(4)),
		kvstore.WithDirectBytes(1 << (5 + e.random.IntN(7))), // groups of one piece and of many
	}
	n := e.look()
	e.expect(time.Now())
	store, err := kvstore.OpenFS(e.fs, e.config, options...)
	if errors.Is(err, errInjected) {
		store, err = kvstore.OpenFS(e.fs, e.config, options...) // it was the one fsync that fails
	}
	if err != nil {
		e.fatal("open: %v", err)
		e.t.FailNow()
	}
	e.store = store
	e.oracle.opened()
	if got, want := contents(store), visible(e.history[n], store.Now().UnixNano()); !maps.Equal(got, want) {
		e.fatal("opened with %s, want %s", summary(got), summary(want))
	}
	// What Open serves is durable.
	e.acked, e.synced = max(e.acked, n), max(e.synced, n)
	e.expired()
}

// look opens a copy of the store at a moment when nothing is due, and returns
// how many commits it has. What it does not find will never appear.
func (e *explorer) look() int {
	copied := e.fs.Clone(e.crash.IntN)
	store, err := e.tryOpen(copied, e.start, true)
	if err != nil {
		e.fatal("open of a copy: %v", err)
		e.t.FailNow()
	}
	n := e.length(store)
	if n < e.acked {
		e.fatal("opened with %d commits, %d were acknowledged", n, e.acked)
		e.t.FailNow()
	}
	e.history = e.history[:n+1]
	maps.DeleteFunc(e.version, func(commits int, _ int64) bool { return commits > n })
	e.version[n] = store.Stats().Version
	copied.Kill()
	_ = store.Close() // fails: its file system is gone
	return n
}

// expect adds to the model the commit with which the writer deletes what is due
// at a moment. A timer wakes the writer then, and no call of the workload: the
// lock orders the change before the writer's next operation.
func (e *explorer) expect(now time.Time) {
	e.visits.Lock()
	defer e.visits.Unlock()
	state := maps.Clone(e.history[len(e.history)-1])
	due := dueAt(state, now.UnixNano())
	if e.config.Replicated || len(due) == 0 {
		return
	}
	for _, key := range due {
		delete(state, key)
	}
	e.history = append(e.history, state)
}

// expired counts the commit that was expected, once the writer has made it.
func (e *explorer) expired() {
	synctest.Wait()
	if err := e.store.Err(); err != nil {
		e.reopenFailed(err)
		return
	}
	if e.acked == len(e.history)-1 {
		return
	}
	if due := e.store.Stats().Due; due > 0 {
		e.fatal("%d keys are due, and not deleted", due)
	}
	e.acknowledged(e.store.Stats().Version)
	e.inOrder()
}

// pass lets time pass, to the beginning of the next second.
func (e *explorer) pass() {
	next := e.start.Add(time.Since(e.start).Truncate(time.Second) + time.Second)
	e.expect(next)
	pass(time.Until(next))
	e.expired()
}

// deadline returns one in the next seconds, or far away. No other is the same.
func (e *explorer) deadline() int64 {
	second := time.Since(e.start).Truncate(time.Second)
	after := time.Duration([]int{0, 0, 1, 2, 1000}[e.random.IntN(5)]) * time.Second
	e.serial++
	return e.start.Add(second + after + time.Second/2 + time.Duration(e.serial)).UnixNano()
}

// step makes one random call.
func (e *explorer) step() {
	switch e.random.IntN(25) {
	case 0, 1, 2, 3:
		e.result(e.write(e.commit(1)[0]))
	case 4, 5, 6:
		c := e.commit(2 + e.random.IntN(3))
		e.result(e.store.Apply(context.Background(), c.batch()))
	case 7, 8:
		e.async()
	case 9:
		err := e.store.Sync()
		synctest.Wait()
		if err == nil {
			e.oracle.acknowledges()
			e.synced = e.acked
		} else {
			e.reopenFailed(err)
		}
	case 12:
		err := e.store.Snapshot(context.Background())
		synctest.Wait()
		switch {
		case err == nil:
			e.synced = e.acked
			e.inOrder()
		case errors.Is(err, kvstore.ErrFailed):
			e.reopenFailed(err)
		case !errors.Is(err, errInjected):
			e.fatal("snapshot: %v", err)
		}
	case 10:
		e.failing = 1 + e.random.IntN(4)
	case 11:
		e.reopen()
	case 13, 14:
		e.update()
	case 15, 16:
		e.do()
	case 17:
		e.add()
	case 18:
		e.setVersion()
	case 19, 20:
		e.expire()
	case 21, 22, 23, 24:
		e.pass()
	}
}

// do runs a function on the writer. Sometimes the function ends in another way
// than by returning nil: then its writes must never appear.
func (e *explorer) do() {
	end := []string{"", "", "error", "exit"}[e.random.IntN(4)]
	before, c := e.history[len(e.history)-1], commit{{key: "a", value: value("never")}}
	if end == "" {
		c = e.commitWith(1+e.random.IntN(3), true)
	}
	want := map[string]error{"error": errMine, "exit": errExited}[end]
	switch err := callDo(e.store, e.function(before, c, end)); {
	case end == "":
		e.result(err)
	case errors.Is(err, kvstore.ErrFailed):
		synctest.Wait()
		e.reopenFailed(err)
	case !errors.Is(err, want):
		e.fatal("a function with the end %q: %v", end, err)
	default:
		synctest.Wait()
		e.inOrder()
	}
}

// function returns a function that reads this state, makes the writes of a
// commit, and ends.
func (e *explorer) function(state map[string]entry, c commit, end string) func(tx *kvstore.Tx) error {
	return func(tx *kvstore.Tx) error {
		f := &function{
			state: maps.Clone(state), now: tx.Now().UnixNano(), end: end,
			steps: []functionStep{{kind: "all"}, {kind: "scan"}},
		}
		f.steps = append(f.steps, stepsOf(c)...)
		defer func() {
			if len(f.problems) > 0 {
				e.fatal("a function: %s", f.problems)
			}
		}()
		return f.run(tx)
	}
}

// stepsOf returns the steps of a function that makes a commit, and reads what
// it has written.
func stepsOf(c commit) (steps []functionStep) {
	for _, w := range c {
		kind := "write"
		if w.touch {
			kind = "touch"
		}
		for _, kind := range []string{kind, "get", "deadline"} {
			steps = append(steps, functionStep{kind: kind, write: w})
		}
	}
	return steps
}

// add adds to a number, and keeps its deadline.
func (e *explorer) add() {
	state, delta := maps.Clone(e.history[len(e.history)-1]), 1+e.random.Int64N(100)
	n := state["n"]
	if n.isDue(e.store.Now().UnixNano()) {
		n = entry{}
	}
	before, _ := strconv.ParseInt(n.value, 10, 64) // 0 if it is absent
	state["n"] = entry{strconv.FormatInt(before+delta, 10), n.until}
	e.history = append(e.history, state)
	sum, err := e.store.Add("n", delta)
	if err == nil && sum != before+delta {
		e.fatal("the sum of %d and %d is %d", before, delta, sum)
	}
	e.result(err)
}

// expire moves the deadline of a key, which may be absent, or removes it.
func (e *explorer) expire() {
	key, until := "abcden"[e.random.IntN(6):][:1], int64(0)
	state, now := maps.Clone(e.history[len(e.history)-1]), e.store.Now().UnixNano()
	before, want := state[key]
	if want = want && !before.isDue(now); !want || before.until == 0 || e.random.IntN(3) > 0 {
		until = e.deadline()
	}
	if want {
		state[key] = entry{before.value, until}
		e.history = append(e.history, state)
	}
	found, err := e.store.Expire(key, moment(until))
	switch {
	case err == nil && found != want:
		e.fatal("Expire(%q): %v, want %v", key, found, want)
	case want:
		e.result(err)
	case err != nil:
		synctest.Wait()
		e.reopenFailed(err)
	}
}

// setVersion makes a commit with a version of its own, or asks for one that is
// refused.
func (e *explorer) setVersion() {
	last := e.store.Stats().Version
	b := batch("a", "never")
	if e.random.IntN(3) == 0 {
		b.SetVersion(last - e.random.Int64N(3))
		err := e.store.Apply(context.Background(), b)
		synctest.Wait()
		if errors.Is(err, kvstore.ErrFailed) {
			e.reopenFailed(err)
		} else if !errors.Is(err, kvstore.ErrVersionOrder) {
			e.fatal("a version that is not above the last one: %v", err)
		}
		return
	}
	b = e.commit(2).batch()
	v := last + 1 + e.random.Int64N(1<<e.random.IntN(50))
	b.SetVersion(v)
	e.version[len(e.history)-1] = v
	e.result(e.store.Apply(context.Background(), b))
}

// update runs a transaction of several reads and writes. Sometimes another
// commit comes between, so that it must be run again: its first writes must
// never appear.
func (e *explorer) update() {
	store, runs, last := e.store, 0, 1+e.random.IntN(2)
	err := store.Update(context.Background(), func(tx *kvstore.Tx) error {
		runs++
		state := visible(e.history[len(e.history)-1], tx.Now().UnixNano())
		key := string(rune('a' + e.random.IntN(5)))
		if value, ok := tx.Get(key); string(value) != state[key] || ok != (value != nil) {
			e.fatal("a transaction reads %.20q, %v under %q, want %.20q", value, ok, key, state[key])
		}
		all := kvstore.Range{Reverse: e.random.IntN(2) == 0}
		wantScan(e, state, all, tx.Scan(all))
		if runs < last {
			tx.Set(key, []byte("never"))
			e.result(e.write(e.commit(1)[0]))
			if e.store != store {
				return errInjected // it has failed, and is open again
			}
			return nil
		}
		before := e.history[len(e.history)-1]
		return e.function(before, e.commitWith(2+e.random.IntN(3), true), "")(tx)
	})
	switch {
	case e.store != store:
	case runs != last && !errors.Is(err, kvstore.ErrFailed): // it may fail before the first try is sent
		e.fatal("a transaction was run %d times, want %d: %v", runs, last, err)
	default:
		e.result(err)
	}
}

// commit adds a commit of n writes to the model.
func (e *explorer) commit(n int) commit { return e.commitWith(n, false) }

// commitWith may make some of its writes touch a key, which may be absent.
func (e *explorer) commitWith(n int, touches bool) commit {
	var c commit
	for i := range n {
		e.serial++
		w := write{key: string(rune('a' + e.random.IntN(5)))}
		if i == n-1 || e.random.IntN(3) > 0 { // the last write always changes the state
			w.value = fmt.Appendf(nil, "%d%*s", e.serial, e.random.IntN(600), "")
		}
		switch {
		case touches && i < n-1 && e.random.IntN(3) == 0:
			w = write{key: w.key, until: e.deadline(), touch: true}
		case w.value != nil && e.random.IntN(3) == 0:
			w.until = e.deadline()
		}
		c = append(c, w)
	}
	before := e.history[len(e.history)-1]
	state := maps.Clone(before)
	resolve(c, before, e.store.Now().UnixNano()).apply(state)
	e.history = append(e.history, state)
	return c
}

func (e *explorer) write(w write) error { return e.store.SetUntil(w.key, w.value, moment(w.until)) }

// async queues several commits before it waits for the first: batches, and
// functions that read what the ones before them write. The writer is held while
// it writes the first one, so that it always finds the others together and a
// seed always makes the same groups.
func (e *explorer) async() {
	var calls []func(s *kvstore.Store) *kvstore.Commit
	for range 2 + e.random.IntN(3) {
		before, c := e.history[len(e.history)-1], e.commit(1+e.random.IntN(2))
		call := func(s *kvstore.Store) *kvstore.Commit { return s.ApplyAsync(context.Background(), c.batch()) }
		if e.random.IntN(3) == 0 {
			call = func(s *kvstore.Store) *kvstore.Commit {
				return s.DoAsync(context.Background(), e.function(before, c, ""))
			}
		}
		calls = append(calls, call)
	}
	held := make(chan chan struct{})
	e.held = held
	pending := []*kvstore.Commit{calls[0](e.store)}
	var release chan struct{}
	select {
	case release = <-held:
	case <-pending[0].Done(): // the store has failed, after it had answered the call before
		e.held = nil
		e.reopenFailed(pending[0].Wait(context.Background()))
		return
	}
	for _, call := range calls[1:] {
		pending = append(pending, call(e.store))
	}
	close(release)
	var errs []error
	for _, p := range pending {
		errs = append(errs, p.Wait(context.Background()))
	}
	synctest.Wait()
	for i, err := range errs {
		if err != nil {
			e.reopenFailed(err)
			return
		}
		e.acknowledged(pending[i].Version())
	}
	e.inOrder()
}

// result records the result of a call, once the writer has done what it does
// after answering.
func (e *explorer) result(err error) {
	synctest.Wait()
	if err != nil {
		e.reopenFailed(err)
		return
	}
	e.acknowledged(e.store.Stats().Version)
	e.inOrder()
}

// acknowledged counts a commit, which has a version.
func (e *explorer) acknowledged(version int64) {
	e.acked++
	if want, known := e.version[e.acked]; known && version != want || version <= e.version[e.acked-1] {
		e.fatal("version %d, want %d, after %d", version, want, e.version[e.acked-1])
	}
	e.version[e.acked] = version
	if e.config.SyncWrites {
		e.synced = e.acked
	}
}

// inOrder asks the oracle after every write was acknowledged.
func (e *explorer) inOrder() {
	if e.config.SyncWrites {
		e.oracle.acknowledges()
	}
}

// reopenFailed reopens a store that has failed, as the documentation tells its
// user to do.
func (e *explorer) reopenFailed(err error) {
	if !errors.Is(err, kvstore.ErrFailed) || !errors.Is(err, errInjected) {
		e.fatal("unexpected error: %v", err)
	}
	if err := e.store.Close(); !errors.Is(err, kvstore.ErrFailed) {
		e.fatal("close of a failed store: %v", err)
	}
	e.open()
}

// reopen closes the store, or kills it, and opens it again.
func (e *explorer) reopen() {
	if e.random.IntN(2) == 0 {
		e.fs.Kill()
		_ = e.store.Close() // fails: its file system is gone
	} else if err := e.store.Close(); err != nil && !errors.Is(err, errInjected) {
		e.fatal("close: %v", err)
	}
	e.open()
}
