package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/vfs"
)

// P15: by the store's clock a key is gone at its deadline, not before, and not
// back in that session; once its DELETE is durable, never.

// pass lets time pass, in a bubble of testing/synctest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// reads are all ways to see whether a key is there. The store has two keys: the
// other one stays.
var reads = map[string]func(s *kvstore.Store, key string) bool{
	"Get":       func(s *kvstore.Store, key string) bool { _, ok := s.Get(key); return ok },
	"AppendGet": func(s *kvstore.Store, key string) bool { _, ok := s.AppendGet(nil, key); return ok },
	"Has":       func(s *kvstore.Store, key string) bool { return s.Has(key) },
	"MultiGet":  func(s *kvstore.Store, key string) bool { return s.MultiGet([]string{key})[0] != nil },
	"Deadline":  func(s *kvstore.Store, key string) bool { _, ok := s.Deadline(key); return ok },
	"Keys":      func(s *kvstore.Store, key string) bool { return slices.Contains(s.Keys(), key) },
	"Len":       func(s *kvstore.Store, _ string) bool { return s.Len() == 2 },
	"Count":     func(s *kvstore.Store, key string) bool { return s.Count(kvstore.Prefix(key)) == 1 },
	"Count all": func(s *kvstore.Store, _ string) bool { return s.Count(kvstore.Range{}) == 2 },
	"Stats":     func(s *kvstore.Store, _ string) bool { return s.Stats().Keys == 2 },
	"Scan": func(s *kvstore.Store, key string) bool {
		for got := range s.Scan(kvstore.Range{}) {
			if got == key {
				return true
			}
		}
		return false
	},
	"Walk": func(s *kvstore.Store, key string) bool {
		for cursor := uint64(0); ; {
			keys, next, _ := s.Walk(cursor, 10)
			if slices.Contains(keys, key) {
				return true
			}
			if cursor = next; next == 0 {
				return false
			}
		}
	},
	"View": func(s *kvstore.Store, key string) bool {
		v, err := s.View()
		if err != nil {
			return false
		}
		defer func() { _ = v.Close() }()
		return inView(v, key)
	},
	"Update": func(s *kvstore.Store, key string) (ok bool) {
		_ = s.Update(ctx, func(tx *kvstore.Tx) error { ok = inTx(tx, key); return nil })
		return ok
	},
	"Do": func(s *kvstore.Store, key string) (ok bool) {
		_ = s.Do(ctx, func(tx *kvstore.Tx) error { ok = inTx(tx, key); return nil })
		return ok
	},
	"CompareAndSwap": func(s *kvstore.Store, key string) bool {
		swapped, _ := s.CompareAndSwap(key, []byte("no such value"), nil)
		absent, _ := s.CompareAndSwap(key, nil, nil)
		return !swapped && !absent
	},
}

// inView reports whether a view shows key, and panics if its methods disagree.
func inView(v *kvstore.View, key string) bool {
	value, ok := v.Get(key)
	_, hasDeadline := v.Deadline(key)
	inAll, inScan := false, false
	for got := range v.All() {
		inAll = inAll || got == key
	}
	for got := range v.Scan(kvstore.Range{KeysOnly: true}) {
		inScan = inScan || got == key
	}
	many := v.MultiGet([]string{key})
	if v.Has(key) != ok || hasDeadline != ok || inAll != ok || inScan != ok || (many[0] != nil) != ok ||
		(v.Len() == 2) != ok || (v.Count(kvstore.Range{}) == 2) != ok {
		panic(fmt.Sprintf("the view does not agree with itself: %q, %v", value, ok))
	}
	return ok
}

// inTx reports whether a transaction finds key, and panics if its methods
// disagree.
func inTx(tx *kvstore.Tx, key string) bool {
	_, ok := tx.Get(key)
	_, hasDeadline := tx.Deadline(key)
	inAll, inScan := false, false
	for got := range tx.All() {
		inAll = inAll || got == key
	}
	for got := range tx.Scan(kvstore.Range{}) {
		inScan = inScan || got == key
	}
	if tx.Has(key) != ok || hasDeadline != ok || inAll != ok || inScan != ok {
		panic("the transaction does not agree with itself")
	}
	return ok
}

func TestP15GoneAtItsDeadline(t *testing.T) {
	for _, replicated := range []bool{false, true} { // with it, nothing deletes the key
		for name, read := range reads {
			t.Run(fmt.Sprintf("%s/replicated=%v", name, replicated), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.config.Replicated = replicated
					s := r.open()
					r.set(s, "stays", "")
					r.ok(s.SetFor("key", []byte("value"), time.Second))
					pass(time.Second - 1)
					if !read(s, "key") {
						t.Error("gone a nanosecond before its deadline")
					}
					<-time.After(1)
					if read(s, "key") {
						t.Error("there at its deadline")
					}
					pass(time.Minute)
					if read(s, "key") {
						t.Error("back after a minute")
					}
					if name == "CompareAndSwap" {
						return // it deletes the key
					}
					if stats := s.Stats(); stats.Expiring != stats.Due || (stats.Due == 1) != replicated ||
						(stats.Expired == 1) == replicated {
						t.Errorf("%+v", stats)
					}
					r.close(s)
				})
			})
		}
	}
}

// A view keeps what it has shown, whatever becomes of the key.
func TestP15ViewsStandStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "stays", "")
		r.ok(s.SetFor("key", []byte("value"), time.Second))
		before := r.view(s)
		pass(time.Second)
		after := r.view(s)
		if !inView(before, "key") || inView(after, "key") {
			t.Errorf("before: %v, after: %v", inView(before, "key"), inView(after, "key"))
		}
		if deadline, ok := before.Deadline("key"); !ok || deadline.After(s.Now()) {
			t.Errorf("deadline %v, %v", deadline, ok)
		}
		r.set(s, "key", "again")
		if !inView(before, "key") || inView(after, "key") {
			t.Error("a view has changed")
		}
	})
}

func TestP15Deadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		now := s.Now()
		want := func(key string, deadline time.Time, present bool) {
			t.Helper()
			if got, ok := s.Deadline(key); ok != present || !got.Equal(deadline) {
				t.Errorf("%s: deadline %v, %v, want %v, %v", key, got, ok, deadline, present)
			}
		}
		hour, day := now.Add(time.Hour), now.Add(24*time.Hour)
		want("a", time.Time{}, false)
		r.ok(s.SetUntil("a", nil, hour))
		want("a", hour, true)
		r.set(s, "a", "no deadline")
		want("a", time.Time{}, true)
		r.expire(s, "a", day, true)
		want("a", day, true)
		r.expire(s, "a", time.Time{}, true)
		want("a", time.Time{}, true)
		r.ok(s.SetUntil("a", nil, time.Time{}))
		want("a", time.Time{}, true)
		r.expire(s, "absent", day, false)
		r.expire(s, "a", now, true)
		want("a", time.Time{}, false)
		r.ok(s.SetUntil("b", nil, hour))
		r.ok(s.SetUntil("b", nil, now.Add(-time.Hour)))
		want("b", time.Time{}, false)

		r.ok(s.SetUntil("n", []byte("41"), hour))
		if n, err := s.Add("n", 1); n != 42 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		want("n", hour, true)
		if swapped, err := s.CompareAndSwap("n", []byte("42"), []byte("43")); !swapped || err != nil {
			t.Errorf("%v, %v", swapped, err)
		}
		want("n", time.Time{}, true)

		b := &kvstore.Batch{}
		b.SetUntil("soon", nil, now.Add(time.Minute))
		b.SetUntil("late", nil, hour)
		b.Delete("n")
		r.ok(s.Apply(ctx, b))
		want("soon", now.Add(time.Minute), true)
		pass(time.Minute)
		r.ok(s.Apply(ctx, b)) // once more: now it deletes the key
		want("soon", time.Time{}, false)
		want("late", hour, true)
		if n := b.Len(); n != 3 {
			t.Errorf("the batch has %d writes", n)
		}
		s = r.reopenAfter(s, r.kill)
		want("late", hour, true)
		s = r.reopenAfter(s, r.close)
		want("late", hour, true)
		want("soon", time.Time{}, false)
	})
}

// expire changes a deadline.
func (r *rig) expire(s *kvstore.Store, key string, deadline time.Time, want bool) {
	r.Helper()
	if found, err := s.Expire(key, deadline); err != nil || found != want {
		r.Errorf("Expire(%q): %v, %v, want %v", key, found, err, want)
	}
}

func TestP15ImpossibleDeadlines(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "key", "value")
	for _, deadline := range []time.Time{
		time.Date(2263, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Unix(math.MaxInt64, 0),
	} {
		r.fails(s.SetUntil("key", nil, deadline), kvstore.ErrDeadline)
		_, err := s.Expire("key", deadline)
		r.fails(err, kvstore.ErrDeadline)
		b := &kvstore.Batch{}
		b.SetUntil("key", nil, deadline)
		r.fails(s.Apply(ctx, b), kvstore.ErrDeadline)
		set := func(tx *kvstore.Tx) error { tx.SetUntil("key", nil, deadline); return nil }
		touch := func(tx *kvstore.Tx) error { tx.Expire("key", deadline); return nil }
		for _, fn := range []func(tx *kvstore.Tx) error{set, touch} {
			r.fails(s.Do(ctx, fn), kvstore.ErrDeadline)
			r.fails(s.Update(ctx, fn), kvstore.ErrDeadline)
		}
	}
	for _, ttl := range []time.Duration{0, -1, math.MinInt64, math.MaxInt64} {
		r.fails(s.SetFor("key", nil, ttl), kvstore.ErrDeadline)
	}
	r.want(s, "key", "value")
}

// Who finds a key alive and moves its deadline keeps it, however long the disk
// takes: no reader finds it gone meanwhile.
func TestP15TouchedInTime(t *testing.T) {
	for name, touch := range map[string]func(s *kvstore.Store) (found bool, err error){
		"Expire": func(s *kvstore.Store) (bool, error) { return s.Expire("key", s.Now().Add(time.Hour)) },
		"CompareAndSwap": func(s *kvstore.Store) (bool, error) {
			return s.CompareAndSwap("key", []byte("value"), []byte("new value"))
		},
		"Do": func(s *kvstore.Store) (found bool, err error) {
			err = s.Do(ctx, func(tx *kvstore.Tx) error {
				found = tx.Has("key")
				tx.Set("key", []byte("new value"))
				return nil
			})
			return found, err
		},
		"Update": func(s *kvstore.Store) (found bool, err error) {
			err = s.Update(ctx, func(tx *kvstore.Tx) error {
				found = tx.Expire("key", time.Time{})
				return nil
			})
			return found, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				r.set(s, "stays", "")
				r.ok(s.SetFor("key", []byte("value"), time.Second))
				disk := r.stall(vfs.OpSync)
				touched := make(chan bool)
				go func() {
					found, err := touch(s)
					touched <- found && err == nil
				}()
				pass(2 * time.Second)
				for name, read := range reads {
					if name != "Do" && name != "CompareAndSwap" && !read(s, "key") {
						t.Errorf("%s finds it gone", name)
					}
				}
				disk.release()
				if !<-touched {
					t.Error("the key was not found")
				}
				if !s.Has("key") {
					t.Error("gone")
				}
			})
		})
	}
}

// A deadline that is moved by little comes before the disk has that.
func TestP15TouchedByLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.ok(s.SetFor("key", []byte("value"), time.Second))
		disk := r.stall(vfs.OpSync)
		touched := make(chan error)
		go func() {
			_, err := s.Expire("key", s.Now().Add(2*time.Second))
			touched <- err
		}()
		pass(2*time.Second - 1)
		if !s.Has("key") {
			t.Error("gone before its new deadline")
		}
		pass(1)
		if s.Has("key") {
			t.Error("there at its new deadline")
		}
		disk.release()
		r.ok(<-touched)
		if s.Has("key") {
			t.Error("back")
		}
	})
}

// If that fails, the key is gone.
func TestP15TouchThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "stays", "")
		r.ok(s.SetFor("key", []byte("value"), time.Second))
		pass(time.Second - 1)
		r.fail(func(op vfs.Op) bool { return op.Kind == vfs.OpSync }, syscall.EIO, 1)
		_, err := s.Expire("key", s.Now().Add(time.Hour))
		r.fails(err, kvstore.ErrFailed)
		pass(1)
		for name, read := range reads {
			if name != "Do" && name != "CompareAndSwap" && read(s, "key") {
				t.Errorf("%s finds it", name)
			}
		}
	})
}

// A transaction that has read a key alive loses if the key is due at its
// commit.
func TestP15TransactionsAndDeadlines(t *testing.T) {
	for name, read := range map[string]func(tx *kvstore.Tx) bool{
		"Get":      func(tx *kvstore.Tx) bool { _, ok := tx.Get("key"); return ok },
		"Has":      func(tx *kvstore.Tx) bool { return tx.Has("key") },
		"Deadline": func(tx *kvstore.Tx) bool { _, ok := tx.Deadline("key"); return ok },
		"Expire":   func(tx *kvstore.Tx) bool { return tx.Expire("key", tx.Now().Add(time.Hour)) },
		"Scan": func(tx *kvstore.Tx) (found bool) {
			for range tx.Scan(kvstore.Prefix("k")) {
				found = true
			}
			return found
		},
		"All": func(tx *kvstore.Tx) (found bool) {
			for key := range tx.All() {
				found = found || key == "key"
			}
			return found
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.config.Replicated = true // or a deletion would be a change
				s := r.open()
				r.ok(s.SetFor("key", nil, time.Second))
				var found []bool
				r.ok(s.Update(ctx, func(tx *kvstore.Tx) error {
					found = append(found, read(tx))
					pass(time.Second)
					tx.Set("other", nil)
					return nil
				}))
				if !slices.Equal(found, []bool{true, false}) {
					t.Errorf("found %v", found)
				}
			})
		})
	}
}

func TestP15Unchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.config.Replicated = true
		s := r.open()
		r.ok(s.SetFor("key", nil, time.Second))
		v := r.view(s)
		unchanged := func() (do, update bool) {
			r.ok(s.Do(ctx, func(tx *kvstore.Tx) error { do = tx.Unchanged(v, "key", "absent"); return nil }))
			r.ok(s.Update(ctx, func(tx *kvstore.Tx) error { update = tx.Unchanged(v, "key", "absent"); return nil }))
			return do, update
		}
		pass(time.Second - 1)
		if do, update := unchanged(); !do || !update {
			t.Errorf("Do %v, Update %v", do, update)
		}
		pass(1)
		if do, update := unchanged(); do || update {
			t.Errorf("due: Do %v, Update %v", do, update)
		}
	})
}

// The writer deletes what is due in commits of its own, in the order of
// deadlines, and says why.
func TestP15Deletions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		var want []string
		for i := range 10 {
			key := fmt.Sprint("key ", (i*7)%10)
			r.ok(s.SetFor(key, nil, time.Second+time.Duration(i)*2*time.Millisecond))
			want = append(want, key)
		}
		pass(time.Minute)
		var got []string
		cause := false
		for _, e := range r.entries() {
			switch e.op {
			case 4:
				cause = true
			case 2:
				if !cause {
					t.Error("a deletion without its cause")
				}
				got = append(got, e.key)
			default:
				cause = false
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("deleted %q, want %q", got, want)
		}
		if stats := s.Stats(); stats.Expired != 10 || stats.Expiring != 0 || stats.MemoryUsed == 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// However many keys fall due at once, each commit deletes at most 4,000 of
// them, and at most 1 MiB of keys, and each key is deleted once.
func TestP15ManyDeletions(t *testing.T) {
	many := 200_000
	if raceEnabled {
		many = 20_000
	}
	for _, c := range []struct{ keys, keyBytes int }{{many, 8}, {4000, 1000}, {40, 65000}} {
		t.Run(fmt.Sprintf("%d keys of %d bytes", c.keys, c.keyBytes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				b, deadline := &kvstore.Batch{}, s.Now().Add(time.Minute)
				for i := range c.keys {
					b.SetUntil(fmt.Sprintf("%0*d", c.keyBytes, i), nil, deadline)
				}
				r.ok(s.Apply(ctx, b))
				pass(2 * time.Minute)
				if n := s.Stats(); n.Expired != uint64(c.keys) || n.Expiring != 0 {
					t.Errorf("%d keys were deleted, %d are left, want %d", n.Expired, n.Expiring, c.keys)
				}
				deleted, commits := map[string]bool{}, map[int64][2]int{} // keys and bytes of each commit
				for _, e := range r.writes() {
					if e.op == 2 {
						n := commits[e.timestamp]
						deleted[e.key], commits[e.timestamp] = true, [2]int{n[0] + 1, n[1] + len(e.key)}
					}
				}
				all := 0
				for _, n := range commits {
					if all += n[0]; n[0] > 4000 || n[1] > 1<<20 {
						t.Errorf("a commit deletes %d keys, %d bytes", n[0], n[1])
					}
				}
				if all != c.keys || len(deleted) != c.keys {
					t.Errorf("%d deletions of %d keys, want %d", all, len(deleted), c.keys)
				}
			})
		})
	}
}

// On a full disk, deletions are tried each second, and no write fails for the
// sake of them.
func TestP15DeletionsOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const segment = 1 << 20
		r := newRig(t, kvstore.WithFirstSegmentBytes(segment))
		s := r.open()
		d := r.fail(func(op vfs.Op) bool {
			return op.Kind == vfs.OpAllocate && r.fs.Reserved(r.config.DataDir) > 0 // the ballast is for others
		}, syscall.ENOSPC, forever)
		r.set(s, "stays", "")
		// Each key is twice in the log. The segment has no room for a third
		// time.
		const keys = 200
		long := strings.Repeat("x", segment/keys*4/10)
		for i := range keys {
			r.ok(s.SetFor(fmt.Sprint(long, i), nil, time.Minute))
		}
		pass(time.Minute)
		r.ok(s.Set("stays", nil))
		for range 100 { // others do not make the writer try more often
			pass(10 * time.Millisecond)
			r.ok(s.Set("stays", nil))
		}
		pass(9*time.Second - 1)
		if stats := s.Stats(); stats.Keys != 1 || stats.Due != keys || stats.Expired != 0 ||
			stats.ExpireLag < 9*time.Second {
			t.Errorf("%+v", stats)
		}
		if n := d.failures(); n < 10 || n > 60 { // some of each attempt
			t.Errorf("%d failures in ten seconds", n)
		}
		r.ok(s.Err())
		r.fs.SetHook(nil)
		pass(time.Second)
		if stats := s.Stats(); stats.Due != 0 || stats.Expired != keys || stats.ExpireLag != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// Who replicates a log decides what is deleted.
func TestP15Replicated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.config.Replicated = true
		s := r.open()
		r.set(s, "stays", "")
		for i := range 5 {
			r.ok(s.SetFor(fmt.Sprint(i), nil, time.Duration(10-i)*time.Second))
		}
		if due := s.Due(10); len(due) != 0 {
			t.Errorf("due %q", due)
		}
		pass(8 * time.Second)
		commits := s.Stats().Commits
		if due := s.Due(10); !slices.Equal(due, []string{"4", "3", "2"}) {
			t.Errorf("due %q", due)
		}
		if due := s.Due(2); !slices.Equal(due, []string{"4", "3"}) {
			t.Errorf("due %q", due)
		}
		if commits != s.Stats().Commits {
			t.Error("the writer has made a commit of its own")
		}
		n := 0
		r.ok(s.Do(ctx, func(tx *kvstore.Tx) error {
			tx.SetNow(s.Now().Add(-time.Second)) // by the log's clock, 2 is not due
			n = tx.DeleteDue("4", "3", "2", "1", "stays", "absent", "4")
			return nil
		}))
		if due := s.Due(10); n != 2 || !slices.Equal(due, []string{"2"}) {
			t.Errorf("%d deleted, due %q", n, due)
		}
		err := s.Do(ctx, func(tx *kvstore.Tx) error {
			tx.DeleteDue("2")
			tx.Delete("stays")
			return nil
		})
		if err == nil || !s.Has("stays") || len(s.Due(10)) != 1 {
			t.Errorf("error %v, due %q", err, s.Due(10))
		}
		if stats := s.Stats(); stats.Expired != 2 || stats.Due != 1 || stats.ExpireLag != 0 {
			t.Errorf("%+v", stats)
		}
		defer func() {
			if recover() == nil {
				t.Error("DeleteDue in an Update")
			}
		}()
		_ = s.Update(ctx, func(tx *kvstore.Tx) error { tx.DeleteDue("2"); return nil })
	})
}

// wallTime is a wall clock that is ahead of the real one.
type wallTime struct{ ahead atomic.Int64 }

func (w *wallTime) set(ahead time.Duration) { w.ahead.Store(int64(ahead)) }
func (w *wallTime) now() time.Time          { return time.Now().Add(time.Duration(w.ahead.Load())) }

// Wall time that steps forward is not believed at once.
func TestP15ClockSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wall wallTime
		r := newRig(t, kvstore.WithClock(wall.now))
		s := r.open()
		r.ok(s.SetFor("key", nil, 24*time.Hour))
		start := time.Now()
		want := func(what string, clock time.Duration, steps uint64) {
			t.Helper()
			got := s.Now().Sub(start.Add(time.Since(start)))
			if got != clock || s.Stats().ClockSteps != steps {
				t.Errorf("%s: the clock is %v ahead, and has seen %d steps", what, got, s.Stats().ClockSteps)
			}
		}
		pass(2 * time.Second)
		want("at first", 0, 0)
		wall.set(time.Minute)
		pass(2 * time.Second)
		want("a minute", time.Minute, 0)
		wall.set(-time.Hour)
		pass(time.Hour)
		want("back", time.Minute, 0)
		wall.set(time.Hour)
		pass(50 * time.Second)
		want("an hour", time.Minute, 1)
		wall.set(0)
		pass(2 * time.Second)
		wall.set(time.Hour)
		pass(50 * time.Second)
		want("again", time.Minute, 2)
		pass(15 * time.Second)
		want("after a minute", time.Hour, 2)
		wall.set(48 * time.Hour)
		pass(62 * time.Second)
		want("two days", 48*time.Hour, 3)
		if s.Has("key") {
			t.Error("the key is there")
		}
	})
}

// A clock that is set back across a restart shows keys that were due and not
// deleted, and no others.
func TestP15ClockBackAcrossARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wall wallTime
		r := newRig(t, kvstore.WithClock(wall.now))
		s := r.open()
		r.ok(s.SetFor("deleted", nil, time.Second))
		r.ok(s.SetFor("key", nil, time.Hour))
		pass(time.Minute)
		s = r.reopenAfter(s, r.kill)
		wall.set(-2 * time.Hour)
		s = r.reopenAfter(s, r.close)
		if s.Has("deleted") || !s.Has("key") {
			t.Errorf("deleted: %v, key: %v", s.Has("deleted"), s.Has("key"))
		}
	})
}

// A backup has deadlines, also those that have passed. Restore keeps them, or
// drops all.
func TestP15BackupAndRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.config.Replicated = true
		s := r.open()
		day := s.Now().Add(24 * time.Hour)
		r.set(s, "stays", "0")
		r.ok(s.SetFor("due", []byte("1"), time.Second))
		r.ok(s.SetUntil("key", []byte("2"), day))
		pass(time.Minute)
		backup := r.backup(s)
		for _, noExpire := range []bool{false, true} {
			restored := newRig(t)
			restored.config.Replicated = true
			options := kvstore.RestoreOptions{NoExpire: noExpire}
			r.ok(kvstore.RestoreOptionsFS(restored.fs, restored.config.DataDir, bytes.NewReader(backup), options))
			s := restored.open()
			want, deadline := []string{"stays", "0", "key", "2"}, day
			if noExpire {
				want, deadline = append(want, "due", "1"), time.Time{}
			} else if due := s.Due(10); !slices.Equal(due, []string{"due"}) {
				t.Errorf("due %q", due)
			}
			restored.want(s, want...)
			if got, ok := s.Deadline("key"); !ok || !got.Equal(deadline) {
				t.Errorf("NoExpire %v: deadline %v, %v", noExpire, got, ok)
			}
			if n := s.Stats().Expiring; (n == 0) != noExpire {
				t.Errorf("NoExpire %v: %d keys have a deadline", noExpire, n)
			}
		}
	})
}

// A context that ends, or an error of fn, leaves deadlines as they were.
func TestP15NothingHalfDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.ok(s.SetFor("key", nil, time.Hour))
		deadline, _ := s.Deadline("key")
		no := errors.New("no")
		fn := func(tx *kvstore.Tx) error { tx.Expire("key", time.Time{}); return no }
		r.fails(s.Do(ctx, fn), no)
		r.fails(s.Update(ctx, fn), no)
		ended, end := context.WithCancel(ctx)
		r.fails(s.Update(ended, func(tx *kvstore.Tx) error {
			tx.Expire("key", time.Time{})
			end()
			return nil
		}), context.Canceled)
		if got, ok := s.Deadline("key"); !ok || !got.Equal(deadline) {
			t.Errorf("deadline %v, %v", got, ok)
		}
	})
}
