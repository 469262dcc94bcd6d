package tests

// This file has the commits that the children make: see crash_test.go.

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"kvstore"
)

// crashWriters is the number of goroutines that write.
const crashWriters = 64

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
)

type crashWrite struct {
	key    string
	value  string
	remove bool
}

// The commits of a goroutine repeat after crashPeriod. Each one touches keys of
// one of crashSlots slots, and no other commit of that period does.
const (
	crashKinds  = 7
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
	default:
		return crashOp{crashDelete, []crashWrite{remove}}
	}
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
	case crashDelete:
		err = store.Delete(first.key)
	}
	return func() error { return err }
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

// crashModel returns the state of a goroutine's keys after its n-th commit. The
// last commit that touched a key is at most a period away.
func crashModel(writer, n int) map[string]string {
	state := map[string]string{}
	for i := max(1, n-crashPeriod+1); i <= n; i++ {
		for _, w := range crashOpOf(writer, i).writes {
			if w.remove {
				delete(state, w.key)
			} else {
				state[w.key] = w.value
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
		writer, err := strconv.Atoi(key[:min(2, len(key))])
		value, ok := store.Get(key)
		if err != nil || writer < 0 || writer >= crashWriters || !ok {
			return sequences, fmt.Errorf("key %q is there, value %.40q, %t", key, value, ok)
		}
		states[writer][key] = string(value)
	}
	for writer, state := range states {
		if sequences[writer], err = crashSequence(writer, state); err != nil {
			return sequences, err
		}
	}
	return sequences, nil
}

func crashSequence(writer int, state map[string]string) (int, error) {
	newest := 0
	for key, value := range state {
		number, _, _ := strings.Cut(value, " ")
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
