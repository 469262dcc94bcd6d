package kvstore_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

// P15: replay skips nothing, so that no value comes back that was there before.
// Other stores have skipped entries of keys that had expired when they read
// their files: then a value from before shows, or later entries build on
// nothing. Here are all short histories of one key, and the reported ones.

// replayStep is a step of a history. Deadlines are half a step away from all
// moments at which anything is looked at.
type replayStep string

const (
	setPlain replayStep = "SET a"
	setUntil replayStep = "SET b until soon"
	touch    replayStep = "EXPIRE later"
	persist  replayStep = "EXPIRE none"
	remove   replayStep = "DELETE"
	snapshot replayStep = "snapshot"
	wait     replayStep = "time passes"
	kill     replayStep = "kill"
	away     replayStep = "kill, time passes"
	back     replayStep = "kill, the clock is set back"
	closing  replayStep = "close"
)

var replaySteps = []replayStep{
	setPlain, setUntil, touch, persist, remove, snapshot, wait, kill, away, back, closing,
}

const (
	replayTick = 20 * time.Millisecond // how much time passes in a step
	soon       = replayTick / 2
	later      = soon + replayTick
)

// replayModel is what a history leads to: what has the key, on disk and in the
// store, and how late it is.
type replayModel struct {
	now      time.Duration // by the store's clock
	key      replayKey
	snapshot replayKey
	log      string // what follows the snapshot
}

// replayKey is what a key has; the zero value if it is not there.
type replayKey struct {
	value string
	until time.Duration // 0 for none
}

func (k replayKey) isDue(now time.Duration) bool { return k.until != 0 && k.until <= now }

// isAlive reports whether reads find the key.
func (m *replayModel) isAlive() bool { return m.key.value != "" && !m.key.isDue(m.now) }

// take takes a step. It returns false if the step changes nothing.
func (m *replayModel) take(step replayStep, replicated bool) bool {
	before := *m
	switch step {
	case setPlain:
		m.write("S", replayKey{value: "a"})
	case setUntil:
		m.write("U", replayKey{"b", m.now + soon})
	case touch:
		if m.isAlive() {
			m.write("T", replayKey{m.key.value, m.now + later})
		}
	case persist:
		if m.isAlive() {
			m.write("P", replayKey{value: m.key.value})
		}
	case remove:
		if m.log != "" || m.key.value != "" {
			m.write("D", replayKey{})
		}
	case snapshot, closing:
		m.snapshot, m.log = m.key, ""
	case wait, away:
		m.now += replayTick
	case back:
		m.now -= replayTick
	case kill:
	}
	if m.key.isDue(m.now) && !replicated {
		m.write("X", replayKey{})
	}
	return *m != before || step == kill
}

func (m *replayModel) write(entry string, key replayKey) {
	m.key, m.log = key, m.log+entry
}

// pattern names the state, whatever the time is. Two histories that lead to the
// same one go on in the same ways.
func (m *replayModel) pattern(last replayStep) string {
	keys := []replayKey{m.key, m.snapshot}
	for i := range keys {
		if keys[i].until != 0 {
			keys[i].until -= m.now
		}
	}
	return fmt.Sprint(keys, m.log, last == kill)
}

// histories calls yield with all histories of n steps, but for those that have
// a step without effect, and those whose beginning leads to where another one
// leads.
func histories(n int, replicated bool, yield func(steps []replayStep)) {
	seen := map[string]bool{}
	var extend func(steps []replayStep, m replayModel)
	extend = func(steps []replayStep, m replayModel) {
		if len(steps) == n {
			yield(steps)
			return
		}
		for _, step := range replaySteps {
			next := m
			if !next.take(step, replicated) {
				continue
			}
			pattern := fmt.Sprint(len(steps), next.pattern(step))
			if len(steps) < n-1 && seen[pattern] {
				continue
			}
			seen[pattern] = true
			extend(append(steps[:len(steps):len(steps)], step), next)
		}
	}
	extend(nil, replayModel{now: time.Hour})
}

// replayRun carries out a history.
type replayRun struct {
	*rig
	store *kvstore.Store
	model replayModel
	base  time.Time // what the model's time counts from
}

func newReplayRun(t *testing.T, replicated bool) *replayRun {
	r := &replayRun{rig: newRig(t), model: replayModel{now: time.Hour}, base: time.Now().Add(-time.Hour)}
	r.config.Replicated = replicated
	r.reopen(r.config)
	return r
}

// reopen opens the store; its clock is the model's.
func (r *replayRun) reopen(config kvstore.Config) {
	r.Helper()
	ahead := time.Until(r.base.Add(r.model.now))
	config.Now = func() time.Time { return time.Now().Add(ahead) }
	var err error
	r.store, err = kvstore.OpenFS(r.fs, config)
	r.ok(err)
	synctest.Wait() // for what the writer deletes at once
}

func (r *replayRun) at(until time.Duration) time.Time {
	if until == 0 {
		return time.Time{}
	}
	return r.base.Add(until)
}

// take takes a step, and compares what the store shows.
func (r *replayRun) take(step replayStep) {
	r.Helper()
	alive := r.model.isAlive()
	now := r.model.now
	r.model.take(step, r.config.Replicated)
	switch step {
	case setPlain:
		r.ok(r.store.Set("key", []byte("a")))
	case setUntil:
		r.ok(r.store.SetUntil("key", []byte("b"), r.at(now+soon)))
	case touch:
		r.expire(r.store, "key", r.at(now+later), alive)
	case persist:
		r.expire(r.store, "key", time.Time{}, alive)
	case remove:
		r.ok(r.store.Delete("key"))
	case snapshot:
		r.ok(r.store.Snapshot(ctx))
	case wait:
		pass(r.base.Add(r.model.now).Sub(r.store.Now()))
	case kill, away, back:
		r.kill(r.store)
		r.reopen(r.config)
	case closing:
		r.close(r.store)
		r.reopen(r.config)
	}
	r.compare()
}

// compare compares what the store shows with the model.
func (r *replayRun) compare() {
	r.Helper()
	want, present := r.model.key, r.model.isAlive()
	if !present {
		want = replayKey{}
	}
	value, ok := r.store.Get("key")
	deadline, hasDeadline := r.store.Deadline("key")
	if string(value) != want.value || ok != present || !deadline.Equal(r.at(want.until)) || hasDeadline != present ||
		(r.store.Len() == 1) != present {
		r.Errorf("%v: it is %q until %v, there %v; want %+v", r.model.now, value, deadline, ok, want)
	}
}

// end kills the store, and reads what is left at a moment when nothing was due
// yet. What is there, and due, must still be there, and nothing else.
func (r *replayRun) end() {
	r.Helper()
	r.kill(r.store)
	config := r.config
	config.ReadOnly = true
	r.model.now = time.Minute
	r.reopen(config)
	r.compare()
	r.ok(r.store.Close())
}

// KVSTORE_REPLAY=6 tries all histories of six steps, which takes minutes. By
// default it is all of four, and some of six.
func TestP15EveryReplay(t *testing.T) {
	all, long, some := 4, 6, 1500
	if slow() {
		all, long, some = 3, 5, 150
	}
	if text := os.Getenv("KVSTORE_REPLAY"); text != "" {
		var err error
		if all, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		some = 0
	}
	for _, replicated := range []bool{false, true} {
		t.Run(fmt.Sprint("replicated=", replicated), func(t *testing.T) {
			rng := testseed.Rand(t)
			run := func(steps []replayStep) {
				if !t.Failed() {
					synctest.Test(t, func(t *testing.T) { replay(t, replicated, steps) })
				}
			}
			histories(all, replicated, run)
			if some == 0 {
				return
			}
			var chosen [][]replayStep
			histories(long, replicated, func(steps []replayStep) { chosen = append(chosen, steps) })
			rng.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
			for _, steps := range chosen[:some] {
				run(steps)
			}
		})
	}
}

// replay carries out a history.
func replay(t *testing.T, replicated bool, steps []replayStep) {
	r := newReplayRun(t, replicated)
	defer func() {
		r.kill(r.store) // of a test that has failed
		if t.Failed() {
			t.Errorf("the history was %q", steps)
		}
	}()
	for _, step := range steps {
		r.take(step)
	}
	r.end()
}

// restart ends a session, lets time pass, and opens the store again.
type restart func(s *kvstore.Store) *kvstore.Store

// What was reported of other stores, by the number of the report. Each row runs
// as often as it has ways to end a session.
func TestP15ReportedReplays(t *testing.T) {
	second := time.Second
	rows := []struct {
		name string
		run  func(r *rig, s *kvstore.Store, again restart)
	}{
		{"buntdb 112: a value without a deadline from before", func(r *rig, s *kvstore.Store, again restart) {
			r.set(s, "key", "a")
			r.ok(s.SetFor("key", []byte("b"), second))
			s = again(s)
			r.lacks(s, "key")
			r.lacks(again(s), "key")
		}},
		{"nutsdb 465: the same, with a snapshot between", func(r *rig, s *kvstore.Store, again restart) {
			r.set(s, "key", "a")
			r.ok(s.Snapshot(ctx))
			r.ok(s.SetFor("key", []byte("b"), second))
			s = again(s)
			r.lacks(s, "key")
			r.ok(s.Snapshot(ctx))
			r.lacks(again(s), "key")
		}},
		{"redis PR 4950: entries behind one that has expired", func(r *rig, s *kvstore.Store, again restart) {
			r.ok(s.SetFor("key", []byte("5"), second))
			r.ok(s.SetFor("moved", []byte("a"), second))
			r.ok(s.Snapshot(ctx))
			r.adds(s, "key", 1, 6)
			r.expire(s, "key", time.Time{}, true)
			r.expire(s, "moved", s.Now().Add(time.Hour), true)
			s = again(s)
			r.want(s, "key", "6", "moved", "a")
			r.want(again(s), "key", "6", "moved", "a")
		}},
		{"redis PR 4950: a number that has expired", func(r *rig, s *kvstore.Store, again restart) {
			r.ok(s.SetFor("key", []byte("5"), second))
			r.ok(s.Snapshot(ctx))
			s = again(s)
			r.expire(s, "key", time.Time{}, false)
			r.adds(s, "key", 1, 1)
			if deadline, ok := s.Deadline("key"); !ok || !deadline.IsZero() {
				r.Errorf("deadline %v, %v", deadline, ok)
			}
			r.want(again(s), "key", "1")
		}},
		{"badger 569: a value and its deadline", func(r *rig, s *kvstore.Store, again restart) {
			deadline := s.Now().Add(time.Hour)
			r.ok(s.SetUntil("key", []byte("a"), deadline))
			for range 3 {
				s = again(s)
				if got, ok := s.Deadline("key"); !ok || !got.Equal(deadline) {
					r.Errorf("deadline %v, %v, want %v", got, ok, deadline)
				}
			}
		}},
	}
	for _, row := range rows {
		for _, replicated := range []bool{false, true} {
			for end, ends := range map[string]func(r *rig, s *kvstore.Store){
				"kill": (*rig).kill, "power cut": (*rig).cutPower, "close": (*rig).close,
			} {
				t.Run(fmt.Sprintf("%s/replicated=%v/%s", row.name, replicated, end), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t)
						r.config.Replicated = replicated
						row.run(r, r.open(), func(s *kvstore.Store) *kvstore.Store {
							ends(r, s)
							pass(2 * second)
							return r.open()
						})
					})
				})
			}
		}
	}
}

// adds adds to a number.
func (r *rig) adds(s *kvstore.Store, key string, delta, want int64) {
	r.Helper()
	if sum, err := s.Add(key, delta); err != nil || sum != want {
		r.Errorf("the sum is %d, %v, want %d", sum, err, want)
	}
}

// redis 9068: a transaction reads a key that expires before it is committed,
// and that the writer has deleted by then.
func TestP15ExpirationConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.ok(s.SetFor("key", nil, time.Second))
		var found []bool
		r.ok(s.Update(ctx, func(tx *kvstore.Tx) error {
			found = append(found, tx.Has("key"))
			pass(2 * time.Second)
			tx.Set("other", nil)
			return nil
		}))
		if !slices.Equal(found, []bool{true, false}) || s.Stats().Expired != 1 {
			t.Errorf("found %v, %d expired", found, s.Stats().Expired)
		}
	})
}

// etcd 15247: a slow disk between the decision and the deletion. What was set
// or touched ahead of the deletion stays, and what is set behind it, too.
func TestP15SlowDiskDeletesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		for _, key := range []string{"set", "touched", "batch", "due"} {
			r.ok(s.SetFor(key, []byte("old"), time.Second))
		}
		disk := r.stall(vfs.OpSync)
		stalled := s.ApplyAsync(ctx, batch("other", ""))
		synctest.Wait()
		var results []<-chan error
		call := func(do func() error) { results = append(results, async(do)); synctest.Wait() }
		call(func() error { return s.Set("set", []byte("new")) })
		call(func() error {
			_, err := s.Expire("touched", s.Now().Add(time.Hour)) // it is due when that is decided
			return err
		})
		pass(2 * time.Second)
		call(func() error { return s.Apply(ctx, batch("batch", "new")) })
		disk.release()
		r.ok(stalled.Wait(ctx))
		for _, result := range results {
			r.ok(<-result)
		}
		pass(time.Second)
		r.want(s, "other", "", "set", "new", "batch", "new")
		r.want(r.reopenAfter(s, r.kill), "other", "", "set", "new", "batch", "new")
	})
}

// While a function runs, no reader finds a key gone that the function finds.
func TestP15ClockStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.ok(s.SetFor("key", nil, time.Second))
		pass(time.Second - time.Millisecond)
		r.ok(s.Do(ctx, func(tx *kvstore.Tx) error {
			<-time.After(5 * time.Millisecond)
			if !tx.Has("key") || !s.Has("key") || !s.Now().Equal(tx.Now()) {
				t.Errorf("it is there: %v, %v, at %v and %v", tx.Has("key"), s.Has("key"), tx.Now(), s.Now())
			}
			tx.Expire("key", tx.Now().Add(time.Hour))
			return nil
		}))
		if !s.Has("key") {
			t.Error("gone")
		}
	})
}

// The writer does not wait for its next look at the clock.
func TestP15SleepsUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.ok(s.SetFor("late", nil, time.Hour))
		r.ok(s.SetFor("key", nil, 100*time.Millisecond))
		pass(105 * time.Millisecond)
		if stats := s.Stats(); stats.Expired != 1 || stats.Due != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestP15SetNowIsForOneFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		disk := r.stall(vfs.OpSync)
		stalled := s.ApplyAsync(ctx, batch("stalled", "")) // the functions share the next group
		synctest.Wait()
		now := s.Now()
		first := s.DoAsync(ctx, func(tx *kvstore.Tx) error {
			tx.SetNow(now.Add(-time.Hour))
			tx.Set("first", nil)
			return nil
		})
		var second time.Time
		commit := s.DoAsync(ctx, func(tx *kvstore.Tx) error {
			second = tx.Now()
			return nil
		})
		synctest.Wait()
		disk.release()
		for _, c := range []*kvstore.Commit{stalled, first, commit} {
			r.ok(c.Wait(ctx))
		}
		if second.Before(now) {
			t.Errorf("the time of the second function is %v, want %v", second, now)
		}
	})
}

// A deadline that has passed at the call makes a deletion: the value does not
// reach the log.
func TestP15PastDeadlinesDelete(t *testing.T) {
	r := newRig(t)
	r.config.Replicated = true // nothing else deletes the key
	s := r.open()
	past := s.Now().Add(-time.Hour)
	r.set(s, "key", "a")
	r.expire(s, "key", past, true)
	r.ok(s.SetUntil("key", []byte("b"), past))
	b := &kvstore.Batch{}
	b.SetUntil("key", []byte("c"), past)
	r.ok(s.Apply(ctx, b))
	r.ok(s.Do(ctx, func(tx *kvstore.Tx) error { tx.SetUntil("key", []byte("d"), past); return nil }))
	writes := r.writes()
	if len(writes) != 5 {
		t.Fatalf("%d writes: %v", len(writes), writes)
	}
	for i, w := range writes[1:] {
		if w.op != 2 {
			t.Errorf("write %d is %+v", i+1, w)
		}
	}
}
