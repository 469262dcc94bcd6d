package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"kvstore"
	"kvstore/internal/vfs"
)

// This file is about transactions.

// txNumber reads a key as a number, 0 if it is absent.
func txNumber(tx *kvstore.Tx, key string) int {
	value, _ := tx.Get(key)
	n, _ := strconv.Atoi(string(value))
	return n
}

func setNumber(tx *kvstore.Tx, key string, n int) { tx.Set(key, []byte(strconv.Itoa(n))) }

// A transaction sees its own writes, and the store shows them once they are
// committed. A map is the model.
func TestUpdateSeesItsOwnWrites(t *testing.T) {
	r, rng := newRandomRig(t)
	s := r.open()
	stored := map[string]string{}
	for range 400 {
		state := maps.Clone(stored)
		fails := rng.IntN(4) == 0
		r.fails(s.Update(ctx, func(tx *kvstore.Tx) error {
			for range rng.IntN(12) {
				key := strings.Repeat("k", rng.IntN(3)) + string(rune('a'+rng.IntN(6)))
				switch rng.IntN(4) {
				case 0:
					value := []byte(strings.Repeat("v", rng.IntN(5)))
					tx.Set(key, value)
					state[key] = string(value)
					if len(value) > 0 {
						value[0] = 'x' // it was copied
					}
				case 1:
					tx.Delete(key)
					delete(state, key)
				case 2:
					has := rng.IntN(2) == 0 && tx.Has(key)
					value, ok := tx.Get(key)
					if has && !ok || ok != tx.Has(key) {
						t.Fatalf("Has(%q) %v and %v, Get %v", key, has, tx.Has(key), ok)
					}
					if want, there := state[key]; ok != there || string(value) != want || ok != (value != nil) {
						t.Fatalf("Get(%q): %q, %v, want %q, %v", key, value, ok, want, there)
					}
					for i := range value {
						value[i] = 'x' // it is ours
					}
				default:
					some := kvstore.Range{Reverse: rng.IntN(2) == 0, Limit: rng.IntN(5)}
					if rng.IntN(2) == 0 {
						some.From, some.To = key, "kl"
					}
					wantScan(t, state, some, tx.Scan(some))
				}
			}
			if fails {
				return syscall.EPERM
			}
			stored = state
			return nil
		}), map[bool][]error{true: {syscall.EPERM}}[fails]...)
		var pairs []string
		for key, value := range stored {
			pairs = append(pairs, key, value)
		}
		r.want(s, pairs...)
	}
	r.want(r.reopenAfter(s, r.kill), slices.Concat(pairsOf(stored)...)...)
}

func pairsOf(state map[string]string) (pairs [][]string) {
	for key, value := range state {
		pairs = append(pairs, []string{key, value})
	}
	return pairs
}

// A loop does not show what its body writes. The next loop does.
func TestUpdateWritesInsideAScan(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1", "c", "3")
	r.ok(s.Update(ctx, func(tx *kvstore.Tx) error {
		tx.Set("b", []byte("2"))
		value, _ := tx.Get("b")
		value[0] = 'x' // it is ours
		want := map[string]string{"a": "1", "b": "2", "c": "3"}
		wantScan(t, want, kvstore.Range{}, func(yield func(string, []byte) bool) {
			for key, value := range tx.Scan(kvstore.Range{}) {
				tx.Set("bb", []byte("new"))
				tx.Set("b", []byte("new"))
				tx.Delete("c")
				if !yield(key, value) {
					return
				}
			}
		})
		want = map[string]string{"a": "1", "b": "new", "bb": "new"}
		wantScan(t, want, kvstore.Range{}, tx.Scan(kvstore.Range{}))
		all := map[string]string{}
		for key, value := range tx.All() {
			tx.Set("bbb", []byte("newer"))
			tx.Set("b", []byte("newer"))
			all[key] = string(value)
		}
		if !maps.Equal(all, want) {
			t.Errorf("All shows %v, want %v", all, want)
		}
		return nil
	}))
	r.want(s, "a", "1", "b", "newer", "bb", "new", "bbb", "newer")
}

// After an error, a panic or Goexit nothing was written, and nothing stays
// open.
func TestUpdateThatFails(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	before := s.Stats().Commits
	cause := errors.New("cause")
	err := s.Update(ctx, func(tx *kvstore.Tx) error { tx.Set("a", nil); return cause })
	if err != cause { //nolint:errorlint // unwrapped is promised
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != "fell" {
				t.Error("the panic is lost")
			}
		}()
		_ = s.Update(ctx, func(tx *kvstore.Tx) error { tx.Set("a", nil); panic("fell") })
	}()
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Update(ctx, func(tx *kvstore.Tx) error { tx.Set("a", nil); runtime.Goexit(); return nil })
	})
	wg.Wait()
	r.ok(s.Update(ctx, func(tx *kvstore.Tx) error { tx.Get("a"); return nil }))
	r.set(s, "b", "1")
	before++
	if held := s.Stats().ViewBytes; held != 0 {
		t.Fatalf("%d bytes are held for no view", held)
	}
	if stats := s.Stats(); stats.Views != 0 || stats.Commits != before {
		t.Fatalf("%+v", stats)
	}
	r.want(s, "a", "1", "b", "1")
}

// A transaction that its function has kept is useless and harmless.
func TestUpdateHasEnded(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	var kept *kvstore.Tx
	r.ok(s.Update(ctx, func(tx *kvstore.Tx) error { kept = tx; tx.Set("b", []byte("2")); return nil }))
	kept.Set("c", nil)
	kept.Delete("a")
	for _, key := range []string{"a", "b"} {
		if value, ok := kept.Get(key); ok || value != nil || kept.Has(key) {
			t.Fatalf("%q, Has %v", value, kept.Has(key))
		}
	}
	wantScan(t, nil, kvstore.Range{}, kept.Scan(kvstore.Range{}))
	r.want(s, "a", "1", "b", "2")
}

func TestUpdateIsRefused(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	set := func(key string, value []byte) func(*kvstore.Tx) error {
		return func(tx *kvstore.Tx) error { tx.Set(key, value); return nil }
	}
	read := func(tx *kvstore.Tx) error {
		if value, ok := tx.Get("a"); !ok || string(value) != "1" {
			t.Errorf("%q, %v", value, ok)
		}
		return nil
	}
	r.fails(s.Update(ctx, set(strings.Repeat("x", kvstore.MaxKeyBytes+1), nil)), kvstore.ErrKeyTooLarge)
	r.fails(s.Update(ctx, func(tx *kvstore.Tx) error {
		tx.Set("a", []byte("2"))
		tx.Delete(strings.Repeat("x", kvstore.MaxKeyBytes+1))
		tx.Set("a", []byte("3"))
		return nil
	}), kvstore.ErrKeyTooLarge)
	r.want(s, "a", "1")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	r.fails(s.Update(ended, func(*kvstore.Tx) error { t.Error("it is run"); return nil }), context.Canceled)
	inside, cancel := context.WithCancel(ctx)
	err := s.Update(inside, func(tx *kvstore.Tx) error { tx.Set("b", nil); cancel(); return nil })
	if r.fails(err, context.Canceled); errors.Is(err, kvstore.ErrConflict) {
		t.Fatal("a conflict with no other write")
	}
	r.fail(written(vfs.OpSync), syscall.EIO, forever)
	r.fails(s.Update(ctx, set("b", nil)), kvstore.ErrFailed, syscall.EIO)
	r.fails(s.Update(ctx, set("b", nil)), kvstore.ErrFailed, syscall.EIO)
	r.ok(s.Update(ctx, read))
	r.fails(s.Close(), kvstore.ErrFailed)
	r.fails(s.Update(ctx, read), kvstore.ErrClosed)
	r.fs.SetHook(nil)
	r.ok(r.open().Close())
	r.config.ReadOnly = true
	s = r.open()
	r.fails(s.Update(ctx, set("b", nil)), kvstore.ErrReadOnly)
	r.ok(s.Update(ctx, read))
}

// P12: a transaction is one batch with one version, and one entry for each key,
// the last.
func TestUpdateIsOneCommit(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1")
	before := s.Stats().Commits
	r.ok(s.Update(ctx, func(tx *kvstore.Tx) error {
		for i := range 3 {
			setNumber(tx, "b", i)
			tx.Delete("a")
			tx.Delete("never")
		}
		tx.Set("c", nil)
		tx.Delete("c")
		return nil
	}))
	if n := s.Stats().Commits - before; n != 1 {
		t.Fatalf("%d commits", n)
	}
	last := r.writes()[1:]
	for _, e := range last {
		if e.timestamp != last[0].timestamp {
			t.Fatalf("several versions: %+v", last)
		}
	}
	want := []string{"2 a ", "1 b 2", "2 c ", "2 never "}
	if got := fmt.Sprint(len(last)); got != "4" || !slices.EqualFunc(last, want, func(e logEntry, s string) bool {
		return fmt.Sprintf("%d %s %s", e.op, e.key, e.value) == s
	}) {
		t.Fatalf("%+v", last)
	}
}

// Each way in which a transaction's reads can change under it, and each change
// that only looks like one.
func TestUpdateConflicts(t *testing.T) {
	get := func(key string) func(*kvstore.Tx) { return func(tx *kvstore.Tx) { tx.Get(key) } }
	has := func(key string) func(*kvstore.Tx) { return func(tx *kvstore.Tx) { tx.Has(key) } }
	scan := func(r kvstore.Range) func(*kvstore.Tx) {
		return func(tx *kvstore.Tx) {
			for range tx.Scan(r) {
			}
		}
	}
	first := func(r kvstore.Range, n int) func(*kvstore.Tx) {
		return func(tx *kvstore.Tx) {
			shown := 0
			for range tx.Scan(r) {
				if shown++; shown == n {
					break
				}
			}
		}
	}
	fell := func(r kvstore.Range, n int) func(*kvstore.Tx) {
		return func(tx *kvstore.Tx) {
			defer func() { _ = recover() }()
			shown := 0
			for range tx.Scan(r) {
				if shown++; shown == n {
					panic("fell")
				}
			}
		}
	}
	set := func(key string) *kvstore.Batch { return batch(key, "changed") }
	del := func(key string) *kvstore.Batch {
		b := new(kvstore.Batch)
		b.Delete(key)
		return b
	}
	both := func(key string) *kvstore.Batch {
		b := set(key)
		b.Delete(key)
		return b
	}
	// None of the ranges that other writers leave alone contains "bz".
	for _, c := range []struct {
		name      string
		reads     func(*kvstore.Tx)
		others    *kvstore.Batch
		conflicts bool
	}{
		{"the key", get("b"), set("b"), true},
		{"the key is deleted", get("b"), del("b"), true},
		{"another key", get("b"), set("d"), false},
		{"the key, among others", get("b"), batch("ax", "", "b", "changed", "x", ""), true},
		{"several other keys", get("b"), batch("ax", "", "d", "changed", "x", ""), false},
		{"an absent key comes", get("x"), set("x"), true},
		{"whether a key is there, and its value changes", has("b"), set("b"), true},
		{"whether a key is there, and it is deleted", has("b"), del("b"), true},
		{"whether a key is there, and another changes", has("b"), set("d"), false},
		{"whether an absent key is there, and it comes", has("x"), set("x"), true},
		{
			"whether a key is there that was written before",
			func(tx *kvstore.Tx) { tx.Delete("b"); tx.Has("b") }, set("b"), false,
		},
		{"a key that is written only", func(*kvstore.Tx) {}, set("b"), false},
		{"a key that is written before it is read", func(tx *kvstore.Tx) {
			tx.Set("b", nil)
			tx.Get("b")
		}, set("b"), false},
		{"a key in a range", scan(kvstore.Prefix("b")), set("b"), true},
		{"a deleted key in a range", scan(kvstore.Range{From: "a", To: "c"}), del("b"), true},
		{"a phantom in a range", scan(kvstore.Range{From: "a", To: "c"}), set("bb"), true},
		{"a phantom that went again", scan(kvstore.Range{From: "a", To: "c"}), both("bb"), true},
		{"a phantom in an empty range", scan(kvstore.Prefix("x")), set("x1"), true},
		{"a phantom at the end of all", scan(kvstore.Range{From: "d"}), set("zzz"), true},
		{"a phantom before the first", scan(kvstore.Range{}), set(""), true},
		{"below a range", scan(kvstore.Range{From: "c", To: "d"}), set("b"), false},
		{"at the end of a range", scan(kvstore.Range{From: "c", To: "d"}), set("d"), false},
		{"behind where a loop was left", first(kvstore.Range{}, 2), set("bb"), false},
		{"where a loop was left", first(kvstore.Range{}, 2), set("b"), true},
		{"before where a loop was left", first(kvstore.Range{}, 2), set("aa"), true},
		{"behind where a loop was left, in reverse", first(kvstore.Range{Reverse: true}, 2), set("bb"), false},
		{"where a loop was left, in reverse", first(kvstore.Range{Reverse: true}, 2), set("c"), true},
		{"before where a loop was left, in reverse", first(kvstore.Range{Reverse: true}, 2), set("cc"), true},
		{"where a loop has panicked", fell(kvstore.Range{}, 2), set("b"), true},
		{"before where a loop has panicked", fell(kvstore.Range{}, 2), set("aa"), true},
		{"below what a loop that has panicked was over", fell(kvstore.Range{From: "c"}, 1), set("b"), false},
		{"behind a limit", scan(kvstore.Range{Limit: 2}), set("bb"), false},
		{"before a limit", scan(kvstore.Range{Limit: 2}), set("aa"), true},
		{"behind a limit that is not reached", scan(kvstore.Range{Limit: 9}), set("zzz"), true},
	} {
		for _, how := range []string{"while it runs", "in the same group", "a while ago"} {
			t.Run(c.name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					s := r.open()
					r.view(s) // for which older states are kept
					r.set(s, "a", "0", "b", "0", "a", "1", "b", "2", "d", "4", "c", "3")
					for range s.Scan(kvstore.Range{}) {
						break
					}
					runs := 0
					var st *stall
					result := async(func() error {
						return s.Update(ctx, func(tx *kvstore.Tx) error {
							runs++
							c.reads(tx)
							tx.Set("result", []byte(strconv.Itoa(runs)))
							switch {
							case runs > 1:
							case how == "while it runs":
								return s.Apply(ctx, c.others)
							case how == "a while ago":
								r.ok(s.Apply(ctx, c.others))
								later := r.view(s)
								r.ok(s.Apply(ctx, c.others))
								r.ok(later.Close()) // releases what is retained for it, not what is retained for us
							default:
								st = r.stall(vfs.OpWrite)
								s.ApplyAsync(ctx, batch("bz", "")) // hangs; those behind it form a group
								<-st.began
								s.ApplyAsync(ctx, c.others)
							}
							return nil
						})
					})
					if synctest.Wait(); st != nil {
						st.release()
					}
					r.ok(<-result)
					if want := map[bool]int{false: 1, true: 2}[c.conflicts]; runs != want {
						t.Fatalf("%d runs, want %d", runs, want)
					}
					if value, _ := s.Get("result"); string(value) != strconv.Itoa(runs) {
						t.Fatalf("result %q after %d runs", value, runs)
					}
				})
			})
		}
	}
}

// Update gives up when ctx ends. Its error says so, and that there were
// conflicts.
func TestUpdateGivesUp(t *testing.T) {
	r := newRig(t)
	s := r.open()
	for _, when := range []string{"inside", "between"} {
		short, cancel := context.WithCancel(ctx)
		runs := 0
		err := s.Update(short, func(tx *kvstore.Tx) error {
			runs++
			setNumber(tx, "a", txNumber(tx, "a")+1)
			if when == "between" || runs < 3 {
				r.set(s, "a", strconv.Itoa(100*runs))
			}
			if runs == 3 && when == "inside" {
				cancel()
			}
			if runs == 4 {
				cancel()
			}
			return nil
		})
		cancel()
		r.fails(err, kvstore.ErrConflict, context.Canceled)
		r.want(s, "a", map[string]string{"inside": "200", "between": "400"}[when])
	}
}

// Every answer, that of a conflict too, comes when what it depends on is
// durable. If ctx ends while Update waits, the transaction's view is gone, and
// a change that it has not seen must still not be overwritten.
func TestUpdateWaitsForWhatItDependsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.open()
		r.set(s, "a", "1")
		short, cancel := context.WithCancel(ctx)
		st := r.stall(vfs.OpWrite)
		var runs atomic.Int32
		add := func(ctx context.Context, n int) <-chan error {
			return async(func() error {
				return s.Update(ctx, func(tx *kvstore.Tx) error {
					runs.Add(1)
					setNumber(tx, "a", txNumber(tx, "a")+n)
					return nil
				})
			})
		}
		first := add(ctx, 1)
		<-st.began
		second, third := add(ctx, 1), add(short, 10)
		r.waits(first)
		r.waits(second)
		r.waits(third)
		cancel()
		r.fails(<-third, context.Canceled)
		if n := runs.Load(); n != 3 {
			t.Fatalf("%d runs before the first answer", n)
		}
		st.release()
		r.ok(<-first)
		r.ok(<-second)
		r.want(s, "a", "3")
		if n := runs.Load(); n != 4 {
			t.Fatalf("%d runs", n)
		}
	})
}

// While many transactions meet, no update is lost, no sum is skewed, and no
// inserted key is overlooked.
func TestUpdatesAreSerializable(t *testing.T) {
	const workers, each = 8, 40
	r, rng := newRandomRig(t)
	s := r.open()
	r.set(s, "x", "50", "y", "50")
	var wg sync.WaitGroup
	for w := range workers {
		seed := rng.Uint64()
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			for i := range each {
				err := s.Update(ctx, func(tx *kvstore.Tx) error {
					setNumber(tx, "count", txNumber(tx, "count")+1) // lost updates
					return nil
				})
				take := 1 + rng.IntN(30)
				from := []string{"x", "y"}[rng.IntN(2)]
				// Write skew: each takes from one, if both together have it.
				err = errors.Join(err, s.Update(ctx, func(tx *kvstore.Tx) error {
					if txNumber(tx, "x")+txNumber(tx, "y") >= take {
						setNumber(tx, from, txNumber(tx, from)-take)
					}
					return nil
				}), s.Update(ctx, func(tx *kvstore.Tx) error { // phantoms: each takes the next free number
					next := 0
					for key := range tx.Scan(kvstore.Range{Prefix: "ticket ", Reverse: true, Limit: 1}) {
						next, _ = strconv.Atoi(key[len("ticket "):])
						next++
					}
					tx.Set(fmt.Sprintf("ticket %06d", next), fmt.Append(nil, w, i))
					return nil
				}))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	state := state(s)
	x, _ := strconv.Atoi(state["x"])
	y, _ := strconv.Atoi(state["y"])
	if state["count"] != strconv.Itoa(workers*each) || x+y < 0 {
		t.Errorf("count %s, x %d, y %d", state["count"], x, y)
	}
	seen := map[string]bool{}
	for i := range workers * each {
		seen[state[fmt.Sprintf("ticket %06d", i)]] = true
	}
	if len(seen) != workers*each || seen[""] {
		t.Errorf("%d tickets of %d", len(seen), workers*each)
	}
	if stats := s.Stats(); stats.Views != 0 || stats.ViewBytes != 0 {
		t.Errorf("%+v", stats)
	}
}
