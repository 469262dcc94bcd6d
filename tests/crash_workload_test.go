package tests

// This file has the commits that the children make: see crash_test.go.

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"kvstore"
)

// crashWriters is the number of goroutines that write.
const crashWriters = 64

// crashAdders is the number of goroutines that add to one number.
const crashAdders = 8

// crashOp is a goroutine's n-th commit. It depends on the goroutine and n
// alone, so that the parent can compute the expected state.
type crashOp struct {
	how    crashHow
	writes []crashWrite
}

type crashHow int

const (
	crashSet crashHow = iota + 1
	crashDelete
	crashApply
	crashAsync
	crashDo      // the writes, and crashTotal + 1
	crashDoAsync // the same
	crashAdd     // to a key of the goroutine, so that the sum is n
	crashUntil   // SetUntil
	crashExpire  // the last key that crashUntil has set
)

// Keys that all goroutines change.
const (
	crashTotal = "~total" // the number of functions that were committed
	crashAdded = "~added" // the number of additions by crashAddOn
)

type crashWrite struct {
	key    string
	value  string
	remove bool
	until  int  // the deadline, see crashDeadline; 0 for none
	touch  bool // changes the deadline alone, of a key that may be absent
}

// crashDeadline returns a deadline that no test lives to see, the zero time for
// 0.
func crashDeadline(n int) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Date(2200, 1, 1, 0, 0, 0, n, time.UTC)
}

// The commits of a goroutine repeat after crashPeriod. Each one touches keys of
// one of crashSlots slots, and no other commit of that period does.
const (
	crashKinds  = 12
	crashSlots  = 4
	crashPeriod = crashKinds * crashSlots
)

func crashOpOf(writer, n int) crashOp {
	prefix := crashPrefix(writer)
	slot := "/" + strconv.Itoa(n/crashKinds%crashSlots)
	set := func(name string) crashWrite {
		key := prefix + name + slot
		return crashWrite{key: key, value: crashValue(key, n)}
	}
	remove := crashWrite{key: prefix + "gone" + slot, remove: true}
	switch n % crashKinds {
	case 0:
		return crashOp{crashSet, []crashWrite{set("single")}}
	case 1:
		return crashOp{crashApply, []crashWrite{set("a"), set("b"), set("c"), set("d")}}
	case 2:
		return crashOp{crashAsync, []crashWrite{set("e"), set("f"), set("g")}}
	case 3:
		return crashOp{crashAsync, []crashWrite{set("h"), set("gone"), set("i")}}
	case 4:
		return crashOp{crashApply, []crashWrite{set("j"), remove, set("k")}}
	case 5:
		return crashOp{crashAsync, []crashWrite{set("l"), set("gone")}}
	case 6:
		return crashOp{crashDelete, []crashWrite{remove}}
	case 7:
		return crashOp{crashDo, []crashWrite{set("m"), set("n")}}
	case 8:
		return crashOp{crashDoAsync, []crashWrite{set("o")}}
	case 9:
		until := set("until")
		until.until = n
		return crashOp{crashUntil, []crashWrite{until}}
	case 10:
		return crashOp{crashExpire, []crashWrite{{key: prefix + "until" + slot, until: n, touch: true}}}
	default:
		return crashOp{crashAdd, []crashWrite{{key: prefix + "sum", value: strconv.Itoa(n)}}}
	}
}

// crashFunctions returns how many of a goroutine's first n commits are made by
// functions.
func crashFunctions(n int) (functions int) {
	for i := range n {
		if how := crashOpOf(0, i+1).how; how == crashDo || how == crashDoAsync {
			functions++
		}
	}
	return functions
}

// start begins the commit. The function that it returns waits for the result.
func (op crashOp) start(store *kvstore.Store) (wait func() error) {
	first := op.writes[0]
	var err error
	switch op.how {
	case crashAsync:
		commit := store.ApplyAsync(context.Background(), op.batch())
		return func() error { return commit.Wait(context.Background()) }
	case crashApply:
		err = store.Apply(context.Background(), op.batch())
	case crashSet:
		err = store.Set(first.key, []byte(first.value))
	case crashUntil:
		err = store.SetUntil(first.key, []byte(first.value), crashDeadline(first.until))
	case crashExpire:
		_, err = store.Expire(first.key, crashDeadline(first.until))
	case crashDelete:
		err = store.Delete(first.key)
	case crashDo:
		err = store.Do(context.Background(), op.run)
	case crashDoAsync:
		commit := store.DoAsync(context.Background(), op.run)
		return func() error { return commit.Wait(context.Background()) }
	case crashAdd:
		err = op.add(store)
	}
	return func() error { return err }
}

// run is the function of crashDo and crashDoAsync.
func (op crashOp) run(tx *kvstore.Tx) error {
	text, _ := tx.Get(crashTotal)
	total, err := crashNumber(text)
	if err != nil {
		return err
	}
	tx.Set(crashTotal, strconv.AppendInt(nil, total+1, 10))
	for _, w := range op.writes {
		tx.Set(w.key, []byte(w.value))
	}
	return nil
}

// add adds so much that the sum is the number of this commit, if none before it
// is lost or was made twice.
func (op crashOp) add(store *kvstore.Store) error {
	want, err := crashNumber([]byte(op.writes[0].value))
	if err != nil {
		return err
	}
	sum, err := store.Add(op.writes[0].key, min(crashKinds, want))
	if err == nil && sum != want {
		return fmt.Errorf("the sum of %q is %d, and should be %d", op.writes[0].key, sum, want)
	}
	return err
}

// crashNumber returns the number of a value, 0 if there is none.
func crashNumber(text []byte) (int64, error) {
	if text == nil {
		return 0, nil
	}
	return strconv.ParseInt(string(text), 10, 64)
}

func (op crashOp) batch() *kvstore.Batch {
	b := new(kvstore.Batch)
	for _, w := range op.writes {
		if w.remove {
			b.Delete(w.key)
		} else {
			b.Set(w.key, []byte(w.value))
		}
	}
	return b
}

func crashPrefix(writer int) string { return fmt.Sprintf("%02d/", writer) }

// crashValue begins with n. It has up to 100 bytes, and some KiB now and then.
func crashValue(key string, n int) string {
	size := n * 37 % 100
	if n%61 == 0 {
		size += n * 101 % 10_000
	}
	return strconv.Itoa(n) + " " + strings.Repeat(key, 1+size/len(key))[:size]
}

// crashDated is between a value and its deadline in a state.
const crashDated = " until "

// crashEntry is what a state has of a key.
func crashEntry(value string, until int) string {
	if until == 0 {
		return value
	}
	return value + crashDated + strconv.Itoa(until)
}

// crashModel returns the state of a goroutine's keys after its n-th commit. The
// last commit that touched a key is at most a period away.
func crashModel(writer, n int) map[string]string {
	state := map[string]string{}
	for i := max(1, n-crashPeriod+1); i <= n; i++ {
		for _, w := range crashOpOf(writer, i).writes {
			before, ok := state[w.key]
			switch {
			case w.remove:
				delete(state, w.key)
			case w.touch && ok:
				value, _, _ := strings.Cut(before, crashDated)
				state[w.key] = crashEntry(value, w.until)
			case !w.touch:
				state[w.key] = crashEntry(w.value, w.until)
			}
		}
	}
	return state
}

// crashSequences returns, for each goroutine, the number of its commits that
// the store holds. That number must explain every key and value.
func crashSequences(store *kvstore.Store) (sequences [crashWriters]int, err error) {
	states := [crashWriters]map[string]string{}
	for writer := range states {
		states[writer] = map[string]string{}
	}
	for _, key := range store.Keys() {
		if key == crashTotal || key == crashAdded {
			continue
		}
		writer, err := strconv.Atoi(key[:min(2, len(key))])
		value, ok := store.Get(key)
		deadline, hasDeadline := store.Deadline(key)
		if err != nil || writer < 0 || writer >= crashWriters || !ok || !hasDeadline {
			return sequences, fmt.Errorf("key %q is there, value %.40q, %t, %t", key, value, ok, hasDeadline)
		}
		until := deadline.Nanosecond() // of the zero time, 0
		if !deadline.Equal(crashDeadline(until)) {
			return sequences, fmt.Errorf("key %q has the deadline %v", key, deadline)
		}
		states[writer][key] = crashEntry(string(value), until)
	}
	for writer, state := range states {
		if sequences[writer], err = crashSequence(writer, state); err != nil {
			return sequences, err
		}
	}
	return sequences, crashCheckTotal(store, sequences)
}

// crashCheckTotal verifies that no function's part of crashTotal is lost.
func crashCheckTotal(store *kvstore.Store, sequences [crashWriters]int) error {
	text, _ := store.Get(crashTotal)
	total, err := crashNumber(text)
	if err != nil {
		return err
	}
	want := 0
	for _, n := range sequences {
		want += crashFunctions(n)
	}
	if total != int64(want) {
		return fmt.Errorf("the goroutines have committed %d functions, and %d have counted", want, total)
	}
	return nil
}

func crashSequence(writer int, state map[string]string) (int, error) {
	newest := 0
	for key, value := range state {
		number, _, _ := strings.Cut(value, " ")
		if _, until, ok := strings.Cut(value, crashDated); ok {
			number = until // not less than that of the value
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return 0, fmt.Errorf("key %q has value %.40q: %w", key, value, err)
		}
		newest = max(newest, n)
	}
	// A Delete leaves no number behind. There are never two in a row.
	for _, n := range []int{newest, newest + 1} {
		if maps.Equal(state, crashModel(writer, n)) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("goroutine %d is at commit %d by its newest value, but %s", writer, newest,
		crashDifference(state, crashModel(writer, newest)))
}

// crashDifference describes one key that differs.
func crashDifference(got, want map[string]string) string {
	for key, value := range want {
		if got[key] != value {
			return fmt.Sprintf("key %q is %.40q and should be %.40q", key, got[key], value)
		}
	}
	for key, value := range got {
		if _, ok := want[key]; !ok {
			return fmt.Sprintf("key %q is %.40q and should not be there", key, value)
		}
	}
	return "nothing differs"
}
