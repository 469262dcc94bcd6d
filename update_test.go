package kvstore_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore"
	"kvstore/internal/vfs"
)

// This file is about transactions that lose, and about large ones.

// However many goroutines change one key, each transaction runs a few times and
// then takes its turn. The clock stands still meanwhile, so no turn lapses.
func TestUpdateTakesItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const goroutines, each, mostRuns = 60, 3, 5
		r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
		s := r.open()
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range each {
					runs := 0
					err := s.Update(ctx, func(tx *kvstore.Tx) error {
						runs++
						return addOne("n")(tx)
					})
					if err != nil || runs > mostRuns {
						t.Errorf("%d runs, error %v", runs, err)
					}
				}
			})
		}
		wg.Wait()
		r.want(s, "n", fmt.Sprint(goroutines*each))
	})
}

// A transaction that has its turn holds up other writers for 10 ms at most, and
// a large one is committed like any other.
func TestUpdateTurnLapses(t *testing.T) {
	for _, c := range []struct {
		name    string
		takes   time.Duration
		waits   time.Duration // of a Set meanwhile
		changes bool          // whether the Set changes what was read
		runs    int
	}{
		{"in time", 5 * time.Millisecond, 5 * time.Millisecond, false, 5},
		{"in time, the Set conflicts", 5 * time.Millisecond, 5 * time.Millisecond, true, 5},
		{"late", 30 * time.Millisecond, 10 * time.Millisecond, false, 5},
		{"late, the Set conflicts", 30 * time.Millisecond, 10 * time.Millisecond, true, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				runs, set := 0, (<-chan error)(nil)
				r.ok(s.Update(ctx, func(tx *kvstore.Tx) error {
					runs++
					n := txNumber(tx, "n")
					switch {
					case runs < 5: // lose, without a turn
						began := time.Now()
						r.ok(<-async(func() error { return s.Set("n", []byte(strconv.Itoa(n+10))) }))
						if waited := time.Since(began); waited > 0 {
							t.Errorf("in run %d, a Set waits %v", runs, waited)
						}
					case runs == 5:
						key := map[bool]string{false: "other", true: "n"}[c.changes]
						set = async(func() error {
							began := time.Now()
							err := s.Set(key, []byte(strconv.Itoa(n+10)))
							if waited := time.Since(began); waited != c.waits {
								t.Errorf("a Set waits %v, want %v", waited, c.waits)
							}
							return err
						})
						<-time.After(c.takes)
					}
					setNumber(tx, "n", n+1)
					tx.Set("large", make([]byte, 100_000))
					return nil
				}))
				r.ok(<-set)
				if runs != c.runs {
					t.Errorf("%d runs, want %d", runs, c.runs)
				}
				value, _ := s.Get("n")
				want := map[bool]string{false: "41", true: "51"}[c.changes && c.runs == 6]
				if c.changes && c.runs == 5 {
					want = "50" // the Set comes after the transaction
				}
				if string(value) != want {
					t.Errorf("n is %s, want %s", value, want)
				}
			})
		})
	}
}

// A transaction that has its turn gives it back whatever its function does.
func TestUpdateGivesItsTurnBack(t *testing.T) {
	for name, end := range map[string]func(tx *kvstore.Tx, cancel func()) error{
		"error":  func(*kvstore.Tx, func()) error { return context.DeadlineExceeded },
		"panic":  func(*kvstore.Tx, func()) error { panic("oh") },
		"limit":  func(tx *kvstore.Tx, _ func()) error { tx.Set(string(make([]byte, 1<<17)), nil); return nil },
		"cancel": func(tx *kvstore.Tx, cancel func()) error { cancel(); tx.Set("b", nil); return nil },
		"reads":  func(*kvstore.Tx, func()) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				runs := 0
				short, cancel := context.WithCancel(ctx)
				defer cancel()
				func() {
					defer func() { _ = recover() }()
					_ = s.Update(short, func(tx *kvstore.Tx) error {
						n := txNumber(tx, "n")
						if runs++; runs > 4 {
							return end(tx, cancel)
						}
						r.ok(<-async(func() error { return s.Set("n", []byte(strconv.Itoa(n+1))) }))
						tx.Set("n", nil)
						return nil
					})
				}()
				began := time.Now()
				r.ok(s.Update(ctx, addOne("n")))
				r.ok(s.Set("a", nil))
				if waited := time.Since(began); waited > 0 || runs != 5 {
					t.Errorf("waited %v after %d runs", waited, runs)
				}
			})
		})
	}
}

// A function that changes, without its transaction, what it has read would run
// for ever. Update says what is wrong. Other writes are allowed.
func TestUpdateConflictsWithItself(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(s *kvstore.Store, n int) error
		mine  bool
	}{
		{"Set", func(s *kvstore.Store, n int) error { return s.Set("n", []byte(strconv.Itoa(n))) }, true},
		{"Set in a range", func(s *kvstore.Store, n int) error { return s.Set(fmt.Sprint("r", n), nil) }, true},
		{"Delete", func(s *kvstore.Store, _ int) error {
			return cmp.Or(s.Set("n", []byte("1")), s.Delete("n"))
		}, true},
		{"Apply", func(s *kvstore.Store, n int) error {
			return s.Apply(ctx, batch("x", "", "n", strconv.Itoa(n)))
		}, true},
		{"ApplyAsync", func(s *kvstore.Store, n int) error {
			return s.ApplyAsync(ctx, batch("n", strconv.Itoa(n))).Wait(ctx)
		}, true},
		{"Add", func(s *kvstore.Store, _ int) error { _, err := s.Add("n", 1); return err }, true},
		{"Do", func(s *kvstore.Store, _ int) error { return s.Do(ctx, addOne("n")) }, true},
		{"Update", func(s *kvstore.Store, _ int) error { return s.Update(ctx, addOne("n")) }, true},
		{"another key", func(s *kvstore.Store, n int) error { return s.Set("x", []byte(strconv.Itoa(n))) }, false},
		{"a swap that is refused", func(s *kvstore.Store, _ int) error {
			_, err := s.CompareAndSwap("n", []byte("?"), nil)
			return err
		}, false},
		{"another goroutine", func(s *kvstore.Store, n int) error {
			return <-async(func() error { return s.Set("n", []byte(strconv.Itoa(n))) })
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { conflictsWithItself(t, c.write, c.mine) })
		})
	}
}

// conflictsWithItself runs a transaction that loses until it has its turn, and
// whose function then makes a write. If that is not to blame, the transaction
// loses once more to another goroutine.
func conflictsWithItself(t *testing.T, write func(s *kvstore.Store, n int) error, mine bool) {
	const most = 20 // else it loses for ever
	r := newRig(t)
	s := r.open()
	runs := 0
	other := func(n int) { r.ok(<-async(func() error { return s.Set("n", []byte(strconv.Itoa(n))) })) }
	err := s.Update(ctx, func(tx *kvstore.Tx) error {
		n := txNumber(tx, "n")
		for range tx.Scan(kvstore.Range{Prefix: "r"}) {
			n++
		}
		switch runs++; {
		case runs > most:
			return errors.New("it runs again and again")
		case mine:
			r.ok(write(s, n+1))
		case runs < 5:
			other(n + 1)
		case runs == 5:
			r.ok(write(s, n+1))
			other(n + 2)
		}
		tx.Set("n", []byte("0"))
		return nil
	})
	if !mine {
		if r.ok(err); runs != 6 {
			t.Errorf("%d runs", runs)
		}
		return
	}
	if r.fails(err, kvstore.ErrConflict); runs != 5 {
		t.Errorf("%d runs", runs)
	}
	r.ok(s.Update(ctx, addOne("another")))
}

// lose has others change a key until fn has lost n times. It returns fn with
// what is to happen in the runs after that, whose number it gives.
func lose(
	r *rig, s *kvstore.Store, key string, n int, then func(tx *kvstore.Tx, run int) error,
) func(*kvstore.Tx) error {
	runs := 0
	return func(tx *kvstore.Tx) error {
		number := txNumber(tx, key)
		setNumber(tx, key, number+1)
		if runs++; runs > n {
			return then(tx, runs-n)
		}
		r.ok(<-async(func() error { return s.Set(key, []byte(strconv.Itoa(number+10))) }))
		return nil
	}
}

// A function that has its turn may run another transaction, here or in another
// goroutine, that needs a turn too.
func TestUpdateInATurnTakesATurn(t *testing.T) {
	for _, how := range []string{"in the same goroutine", "in another one"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				ended := func(*kvstore.Tx, int) error { return nil }
				inner := lose(r, s, "inner", 6, ended)
				r.ok(s.Update(ctx, lose(r, s, "outer", 4, func(*kvstore.Tx, int) error {
					update := func() error { return s.Update(ctx, inner) }
					if how == "in another one" {
						return <-async(update)
					}
					return update()
				})))
				r.want(s, "outer", "41", "inner", "61")
			})
		})
	}
}

// What a function writes inside the function of another transaction, both in
// their turns, and what it writes afterwards, is a conflict of that one with
// itself.
func TestUpdateInATurnConflictsWithItself(t *testing.T) {
	for _, when := range []string{"inside", "afterwards"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				write := func() error { return s.Set("outer", []byte(when)) }
				err := s.Update(ctx, lose(r, s, "outer", 4, func(_ *kvstore.Tx, run int) error {
					if run > 1 {
						return errors.New("it runs again")
					}
					err := s.Update(ctx, lose(r, s, "inner", 4, func(*kvstore.Tx, int) error {
						if when == "inside" {
							return write()
						}
						return nil
					}))
					if when == "afterwards" {
						err = errors.Join(err, write())
					}
					return err
				}))
				r.fails(err, kvstore.ErrConflict)
			})
		})
	}
}

// If ctx ends while a transaction waits for its turn, or for room in the queue
// to ask for one, it leaves at once. The writer does not wait for it, and the
// next one may take its turn.
func TestUpdateLeavesBeforeItsTurn(t *testing.T) {
	const queueBytes, smallest = 32 << 20, 2 << 10
	for _, waits := range []string{"for its turn", "for room"} {
		t.Run(waits, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := r.open()
				short, cancel := context.WithCancel(ctx)
				fourth := make(chan struct{})
				result := async(func() error {
					return s.Update(short, func(tx *kvstore.Tx) error {
						n := txNumber(tx, "n")
						setNumber(tx, "n", n+1)
						r.ok(<-async(func() error { return s.Set("n", []byte(strconv.Itoa(n+10))) }))
						if n == 30 {
							close(fourth)
						}
						return nil
					})
				})
				<-fourth
				synctest.Wait() // it pauses
				st := r.hold(s)
				large := s.ApplyAsync(ctx, batch())
				if waits == "for room" {
					large = s.ApplyAsync(ctx, batch("large", string(make([]byte, queueBytes-smallest-1000))))
					r.fs.SetHook(failing(vfs.OpAllocate, syscall.ENOSPC)) // which is quicker
				}
				<-time.After(time.Millisecond)
				cancel()
				r.fails(<-result, kvstore.ErrConflict, context.Canceled)
				began := time.Now()
				st.release()
				r.fails(large.Wait(ctx), map[string][]error{"for room": {syscall.ENOSPC}}[waits]...)
				r.fs.SetHook(nil)
				r.ok(s.Set("a", nil))
				if waited := time.Since(began); waited > 0 {
					t.Errorf("a Set waits %v", waited)
				}
				r.ok(s.Update(ctx, lose(r, s, "n", 4, func(*kvstore.Tx, int) error { return nil })))
			})
		})
	}
}

// A transaction with many reads is checked like one with few.
func TestLargeTransactions(t *testing.T) {
	const keys = 2000
	key := func(i int) string { return fmt.Sprintf("k%05d", i) }
	scan := func(rg kvstore.Range) func(tx *kvstore.Tx) {
		return func(tx *kvstore.Tx) {
			for range tx.Scan(rg) {
				continue
			}
		}
	}
	get := func(tx *kvstore.Tx) {
		for i := range keys {
			tx.Get(key(2 * i))
		}
	}
	for _, c := range []struct {
		name      string
		read      func(tx *kvstore.Tx)
		change    string
		conflicts bool
	}{
		{"get, one of them", get, key(2 * 1999), true},
		{"get, the first", get, key(0), true},
		{"get, another", get, key(1), false},
		{"scan", scan(kvstore.Range{}), key(1001), true},
		{"scan, a new key", scan(kvstore.Range{}), key(1001) + "x", true},
		{"scan, above all", scan(kvstore.Range{}), "z", true},
		{"scan of a range", scan(kvstore.Range{From: key(100), To: key(3000)}), key(3000), false},
		{"scan of a range, its last key", scan(kvstore.Range{From: key(100), To: key(3000)}), key(2999), true},
		{"scan of a range, its first key", scan(kvstore.Range{From: key(100), To: key(3000)}), key(100), true},
		{"scan of a range, the key below", scan(kvstore.Range{From: key(100), To: key(3000)}), key(99), false},
		{"scan with a limit", scan(kvstore.Range{Prefix: "k", Limit: 1000}), key(999), true},
		{"scan with a limit, behind it", scan(kvstore.Range{Prefix: "k", Limit: 1000}), key(1000), false},
		{"reverse scan with a limit", scan(kvstore.Range{Limit: 1000, Reverse: true}), key(2*keys - 1000), true},
		{
			"reverse scan with a limit, behind it", scan(kvstore.Range{Limit: 1000, Reverse: true}),
			key(2*keys - 1001), false,
		},
		{"overlapping scans", func(tx *kvstore.Tx) {
			scan(kvstore.Range{From: key(500), To: key(1500)})(tx)
			scan(kvstore.Range{From: key(1000), To: key(1200)})(tx)
			scan(kvstore.Range{From: key(10), To: key(600)})(tx)
		}, key(1300), true},
		{"overlapping scans, the lowest", func(tx *kvstore.Tx) {
			scan(kvstore.Range{From: key(500), To: key(1500)})(tx)
			scan(kvstore.Range{From: key(10), To: key(600)})(tx)
		}, key(20), true},
		{"overlapping scans, one without an end", func(tx *kvstore.Tx) {
			scan(kvstore.Range{From: key(500), To: key(1500)})(tx)
			scan(kvstore.Range{From: key(1000)})(tx)
		}, key(3000), true},
		{"scans apart", func(tx *kvstore.Tx) {
			scan(kvstore.Range{From: key(500), To: key(1500)})(tx)
			scan(kvstore.Range{From: key(1600), To: key(1700)})(tx)
		}, key(1550), false},
		{"all", func(tx *kvstore.Tx) {
			for range tx.All() {
				continue
			}
		}, key(7), true},
	} {
		for _, when := range []string{"in the queue", "in fn", "never"}[:fewerRounds(3)] {
			t.Run(c.name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
					s := r.open()
					all := &kvstore.Batch{}
					for i := range 2 * keys {
						all.Set(key(i), []byte("1"))
					}
					r.ok(s.Apply(ctx, all))
					runs := 0
					fn := func(tx *kvstore.Tx) error {
						c.read(tx)
						if runs++; runs == 1 && when == "in fn" {
							r.set(s, c.change, "2")
						}
						tx.Set("result", nil)
						return nil
					}
					if when != "in the queue" {
						r.ok(s.Update(ctx, fn))
					} else {
						st := r.hold(s)
						set := s.ApplyAsync(ctx, batch(c.change, "2"))
						done := async(func() error { return s.Update(ctx, fn) })
						synctest.Wait()
						if open := s.Stats().Views; open != 2 {
							t.Errorf("%d views are open, want that of the transaction and its base", open)
						}
						st.release()
						r.ok(set.Wait(ctx))
						r.ok(<-done)
					}
					if want := map[bool]int{false: 1, true: 2}[c.conflicts && when != "never"]; runs != want {
						t.Errorf("%d runs, want %d", runs, want)
					}
					if open := s.Stats().Views; open != 0 {
						t.Errorf("%d views are open", open)
					}
				})
			})
		}
	}
}

// A transaction conflicts with what All has shown, in a small store that has no
// index of its keys as well.
func TestUpdateThatReadsAll(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave bool
	}{{"to the end", false}, {"left early", true}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			s := r.open()
			r.ok(s.Apply(ctx, batch("a", "1", "b", "1")))
			runs, keys := 0, 0
			r.ok(s.Update(ctx, func(tx *kvstore.Tx) error {
				keys = 0
				for range tx.All() {
					if keys++; c.leave {
						break
					}
				}
				if runs++; runs == 1 {
					r.set(s, "c", "1")
				}
				tx.Set("result", nil)
				return nil
			}))
			if want := map[bool]int{false: 3, true: 1}[c.leave]; runs != 2 || keys != want {
				t.Errorf("%d runs, the last one with %d keys, want %d", runs, keys, want)
			}
		})
	}
}

// The writer does not look at a range that has many keys, though the
// transaction saw few of them: it has deleted the others, or its loop ended by
// a panic. Nor does it look at many ranges that have none.
func TestLargeRangesThatShowLittle(t *testing.T) {
	const keys = 2000
	for name, read := range map[string]func(tx *kvstore.Tx){
		"its own deletions": func(tx *kvstore.Tx) {
			for i := range keys {
				tx.Delete(fmt.Sprint("k", i))
			}
			for range tx.Scan(kvstore.Range{}) {
				continue
			}
		},
		"a panic": func(tx *kvstore.Tx) {
			defer func() { _ = recover() }()
			for range tx.Scan(kvstore.Range{}) {
				panic("oh")
			}
		},
		"all": func(tx *kvstore.Tx) {
			for range tx.All() {
				break
			}
		},
		"empty ranges": func(tx *kvstore.Tx) {
			for i := range keys {
				for range tx.Scan(kvstore.Range{Prefix: fmt.Sprint("absent", i)}) {
					continue
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
				s := r.open()
				all := &kvstore.Batch{}
				for i := range keys {
					all.Set(fmt.Sprint("k", i), nil)
				}
				r.ok(s.Apply(ctx, all))
				st := r.hold(s)
				done := async(func() error {
					return s.Update(ctx, func(tx *kvstore.Tx) error {
						read(tx)
						tx.Set("result", nil)
						return nil
					})
				})
				synctest.Wait()
				if open := s.Stats().Views; open != 2 { // its own, and the base
					t.Errorf("%d views are open, want 2", open)
				}
				st.release()
				r.ok(<-done)
			})
		})
	}
}

// A transaction's ctx ends right before the writer looks at what it has read.
// So it leaves while the writer does so (the race detector takes part).
func TestUpdateIsAbandoned(t *testing.T) {
	const rounds = 50
	for name, reads := range map[string]int{"few reads": 1, "many reads": 1000} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := r.open()
			given := 0
			for range rounds {
				short, cancel := context.WithCancel(ctx)
				var once sync.Once
				var over atomic.Bool
				r.fs.SetHook(func(op vfs.Op) error {
					if op.Kind == vfs.OpWrite {
						once.Do(func() {
							const each = 2 << 10
							// Until the transaction is queued, too. It may
							// be a write to the next segment that waits.
							for s.Stats().QueueBytes < 3*each && !over.Load() {
								runtime.Gosched()
							}
						})
					}
					return nil
				})
				held := s.ApplyAsync(ctx, batch("held", ""))
				ahead := s.DoAsync(ctx, func(*kvstore.Tx) error { cancel(); return nil })
				err := s.Update(short, func(tx *kvstore.Tx) error {
					for i := range reads {
						tx.Has(strconv.Itoa(i))
					}
					tx.Set("abandoned", nil)
					return nil
				})
				over.Store(true)
				r.ok(held.Wait(ctx))
				r.ok(ahead.Wait(ctx))
				if err != nil {
					r.fails(err, context.Canceled)
					given++
				}
			}
			if open := s.Stats().Views; open != 0 || given == 0 {
				t.Errorf("%d transactions were given up, and %d views are open", given, open)
			}
		})
	}
}

// The function of a transaction that has its turn calls Update, which loses
// until it takes a turn, too.
func TestUpdateInsideATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		// addLosing adds one to a number that others change in its first runs.
		addLosing := func(key string, then func()) func(tx *kvstore.Tx) error {
			runs := 0
			return func(tx *kvstore.Tx) error {
				n := txNumber(tx, key)
				if runs++; runs < 5 {
					r.ok(<-async(func() error { return s.Set(key, []byte(strconv.Itoa(n+10))) }))
				} else if then != nil {
					then()
				}
				setNumber(tx, key, n+1)
				return nil
			}
		}
		r.ok(s.Update(ctx, addLosing("outer", func() {
			r.ok(s.Update(ctx, addLosing("inner", nil)))
		})))
		r.want(s, "outer", "41", "inner", "41")
	})
}

// The writer does not wait for a transaction whose ctx has ended in its turn.
func TestUpdateTurnEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		short, cancel := context.WithCancel(ctx)
		runs, set := 0, (<-chan error)(nil)
		err := s.Update(short, func(tx *kvstore.Tx) error {
			n := txNumber(tx, "n")
			if runs++; runs < 5 {
				r.ok(<-async(func() error { return s.Set("n", []byte(strconv.Itoa(n+1))) }))
			} else {
				set = async(func() error { return s.Set("other", nil) })
				synctest.Wait() // it waits for the writer
				cancel()
				began := time.Now()
				if r.ok(<-set); time.Since(began) > 0 {
					t.Errorf("a Set waited %v more", time.Since(began))
				}
			}
			tx.Set("n", nil)
			return nil
		})
		if r.fails(err, kvstore.ErrConflict); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		r.want(s, "n", "4", "other", "")
	})
}

// What is committed after a large transaction was queued, in the group ahead of
// its own, is a conflict.
func TestLargeTransactionAndItsBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
		s := r.open()
		all := &kvstore.Batch{}
		for i := range 1000 {
			all.Set(fmt.Sprint("read", i), nil)
		}
		r.ok(s.Apply(ctx, all))
		st := r.hold(s)
		change := s.ApplyAsync(ctx, batch("read7", "changed"))
		full := s.ApplyAsync(ctx, batch("full", string(make([]byte, 5<<20))))
		runs := 0
		done := async(func() error {
			return s.Update(ctx, func(tx *kvstore.Tx) error {
				runs++
				for range tx.Scan(kvstore.Range{Prefix: "read"}) {
					continue
				}
				tx.Set("result", nil)
				return nil
			})
		})
		synctest.Wait()
		st.release()
		r.ok(change.Wait(ctx))
		r.ok(full.Wait(ctx))
		if r.ok(<-done); runs != 2 {
			t.Errorf("%d runs", runs)
		}
	})
}

// While a large transaction is queued, more changes than the writer would look
// at. The caller looks at them, and the function does not run again for that.
func TestLargeTransactionBesideManyChanges(t *testing.T) {
	for _, conflicts := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
			s := r.open()
			many := func(prefix string) *kvstore.Batch {
				b := &kvstore.Batch{}
				for i := range 5000 {
					b.Set(fmt.Sprint(prefix, i), nil)
				}
				return b
			}
			r.ok(s.Apply(ctx, many("read")))
			if conflicts {
				r.ok(s.Apply(ctx, many("other")))
			}
			st := r.hold(s)
			ahead := []*kvstore.Commit{s.ApplyAsync(ctx, many("other"))}
			if conflicts { // the change that would be looked at last
				ahead = append(ahead, s.ApplyAsync(ctx, batch("read7", "changed")))
			}
			// The transaction is in the group behind it.
			ahead = append(ahead, s.ApplyAsync(ctx, batch("full", string(make([]byte, 5<<20)))))
			runs := 0
			done := async(func() error {
				return s.Update(ctx, func(tx *kvstore.Tx) error {
					runs++
					for range tx.Scan(kvstore.Range{Prefix: "read"}) {
						continue
					}
					tx.Set("result", nil)
					return nil
				})
			})
			synctest.Wait()
			behind := s.ApplyAsync(ctx, batch("behind", ""))
			st.release()
			for _, c := range ahead {
				r.ok(c.Wait(ctx))
			}
			r.ok(behind.Wait(ctx))
			r.ok(<-done)
			if want := map[bool]int{false: 1, true: 2}[conflicts]; runs != want {
				t.Errorf("%d runs, want %d", runs, want)
			}
			stats := s.Stats()
			if stats.Version <= behind.Version() {
				t.Error("the writer has looked at all changes")
			}
			if stats.Views != 0 {
				t.Errorf("%d views are open", stats.Views)
			}
		})
	}
}

// After the first loss a transaction does not pause. Then it pauses for a
// random time, which doubles with each loss up to 10 ms.
func TestUpdateBacksOff(t *testing.T) {
	const updates, mostLosses = 50, 14
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		longest := [mostLosses + 1]time.Duration{}
		for range updates {
			losses, lost := 0, time.Now()
			r.ok(s.Update(ctx, func(tx *kvstore.Tx) error {
				longest[losses] = max(longest[losses], time.Since(lost))
				n := txNumber(tx, "n")
				setNumber(tx, "n", n+1)
				if losses == mostLosses {
					return nil
				}
				losses++
				r.ok(<-async(func() error { return s.Set("n", []byte(strconv.Itoa(n+10))) }))
				lost = time.Now()
				return nil
			}))
		}
		for losses, pause := range longest {
			bound := time.Duration(0)
			if losses > 1 {
				bound = min(100*time.Microsecond<<(losses-2), 10*time.Millisecond)
			}
			if pause > bound || pause < bound/2 {
				t.Errorf("the longest of %d pauses after %d losses is %v, want up to %v", updates, losses, pause, bound)
			}
		}
	})
}

// A pause ends with ctx.
func TestUpdateGivesUpInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		short, cancel := context.WithCancel(ctx)
		began, runs := time.Now(), 0
		r.fails(s.Update(short, func(tx *kvstore.Tx) error {
			n := txNumber(tx, "n")
			setNumber(tx, "n", n+1)
			r.ok(<-async(func() error { return s.Set("n", []byte(strconv.Itoa(n+10))) }))
			if runs++; runs == 3 {
				began = time.Now()
				time.AfterFunc(1, cancel)
			}
			return nil
		}), kvstore.ErrConflict, context.Canceled)
		if took := time.Since(began); took != 1 {
			t.Errorf("Update returns after %v", took)
		}
	})
}
