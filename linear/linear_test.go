// Package linear checks that kvstore is linearizable. It records the operations
// of many goroutines on a store on the real file system. Then porcupine looks
// for an order of the operations, consistent with the times they took, in which
// a plain map gives the same answers. See README.md.
package linear

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/goleak"

	"kvstore"
	"kvstore/internal/testseed"
)

const (
	// roundsEnv is the number of histories that a test records.
	roundsEnv     = "KVSTORE_LINEAR_ROUNDS"
	defaultRounds = 60
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // stores that fail as they should are no news
	if text := os.Getenv(childEnv); text != "" {
		runChild(text)
		return
	}
	goleak.VerifyTestMain(m)
}

// rounds calls round n times, each time with a new planner. Any failure names
// the seed.
func rounds(t *testing.T, divisor int, round func(t *testing.T, p *planner) []porcupine.Operation) {
	n := defaultRounds
	if text := os.Getenv(roundsEnv); text != "" {
		n = int(number(t, roundsEnv, text))
	}
	if testing.Short() {
		divisor *= 4
	}
	n = max(1, n/divisor)
	seed := testseed.New(t)
	operations, started := 0, time.Now()
	for i := range n {
		history := round(t, newPlanner(seed, i))
		if t.Failed() {
			t.Fatalf("round %d", i)
		}
		operations += len(history)
	}
	took := time.Since(started)
	t.Logf("%d histories, %d operations in %v: %.0f histories and %.0f operations a second, recorded and checked",
		n, operations, took.Round(time.Millisecond), float64(n)/took.Seconds(), float64(operations)/took.Seconds())
}

func newPlanner(seed uint64, round int) *planner {
	return &planner{Rand: rand.New(rand.NewPCG(seed, uint64(round)))}
}

func number(t *testing.T, name, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// bothModes runs a test with SyncWrites on and off.
func bothModes(t *testing.T, test func(t *testing.T, syncWrites bool)) {
	for _, syncWrites := range []bool{true, false} {
		t.Run(fmt.Sprintf("SyncWrites=%v", syncWrites), func(t *testing.T) { test(t, syncWrites) })
	}
}

// config has a short SyncInterval, so that the background fsync of SyncWrites
// false takes part.
func config(dir string, syncWrites bool) kvstore.Config {
	return kvstore.Config{
		DataDir: dir, SyncWrites: syncWrites, SyncInterval: time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), // a child that says anything has failed
	}
}

func openReal(t *testing.T, dir string, syncWrites bool) target {
	t.Helper()
	s, err := kvstore.OpenWithConfig(config(dir, syncWrites))
	if err != nil {
		t.Fatal(err)
	}
	return real{s}
}

// record adds a session to h: a read of all keys, the clients' operations, a
// read of all keys again, and Close.
func (h *history) record(t *testing.T, s target, p *planner, shape shape) {
	t.Helper()
	h.use(s, [][]planned{readAll(h.epoch)}) // first, so that the checker soon knows the last session's state
	h.use(s, p.session(h.epoch, shape))
	h.use(s, [][]planned{readAll(h.epoch)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	h.point(op{Kind: opClose, Epoch: h.epoch})
}

func (h *history) use(s target, plans [][]planned) { h.add(run(s, plans)...) }

func run(s target, plans [][]planned) []*journal {
	base := time.Now()
	journals := make([]*journal, len(plans))
	for i := range journals {
		journals[i] = &journal{base: base}
	}
	runClients(s, plans, journals)
	return journals
}

// P2, P4, P9, P10: a few goroutines make operations of all kinds, including
// batches of several keys, in up to three sessions. In some sessions, one of
// the goroutines closes the store.
func TestHistoriesOfBatches(t *testing.T) {
	bothModes(t, func(t *testing.T, syncWrites bool) {
		rounds(t, 1, func(t *testing.T, p *planner) []porcupine.Operation {
			dir := t.TempDir()
			return recordBatches(t, p, func() target { return openReal(t, dir, syncWrites) })
		})
	})
}

// Mostly transactions, swaps and scans. A transaction is one operation, with
// the reads of its last attempt; so is a scan.
func TestHistoriesOfTransactions(t *testing.T) {
	bothModes(t, func(t *testing.T, syncWrites bool) {
		var repeated, swapped int
		counts := map[kind]int{}
		rounds(t, 1, func(t *testing.T, p *planner) []porcupine.Operation {
			dir := t.TempDir()
			history := recordTransactions(t, p, func() target { return openReal(t, dir, syncWrites) })
			check(t, wholeMap, history)
			for _, o := range history {
				r := o.Output.(result)
				counts[o.Input.(op).Kind]++
				if r.Runs > 1 {
					repeated++
				}
				if r.Swapped {
					swapped++
				}
			}
			return history
		})
		t.Logf("%d transactions, of which %d ran again; %d swaps, of which %d happened; %d scans",
			counts[opUpdate], repeated, counts[opSwap], swapped, counts[opScan])
		if repeated == 0 || swapped == 0 || swapped == counts[opSwap] {
			t.Error("no transactions or no swaps have conflicted")
		}
	})
}

// Functions that the writer runs and adds, on few keys, beside operations of
// all other kinds. Some transactions lose until they take their turns.
func TestHistoriesOfFunctions(t *testing.T) {
	bothModes(t, func(t *testing.T, syncWrites bool) {
		var took, sums int // turns; adds
		counts := map[kind]int{}
		rounds(t, 1, func(t *testing.T, p *planner) []porcupine.Operation {
			dir := t.TempDir()
			history := recordFunctions(t, p, func() target { return openReal(t, dir, syncWrites) })
			check(t, wholeMap, history)
			for _, o := range history {
				r, kind := o.Output.(result), o.Input.(op).Kind
				counts[kind]++
				if kind == opUpdate && r.Outcome == done && r.Runs > 4 {
					took++
				}
				if kind == opAdd && r.Outcome == done {
					sums++
				}
			}
			return history
		})
		t.Logf("%d functions; %d adds, of which %d made a sum; %d transactions, of which %d took a turn",
			counts[opDo]+counts[opDoAsync], counts[opAdd], sums, counts[opUpdate], took)
		if took == 0 || sums == 0 || sums == counts[opAdd] {
			t.Error("no turns, or no sums, or nothing but sums")
		}
	})
}

// P15: time passes the deadlines of keys while goroutines set, touch and read
// them. That a deadline passes is an operation: it happens between the last
// look at the store's clock that has shown an earlier moment and the first one
// that has not. Before it, keys with that deadline are there, and after it they
// are not. Two kinds of operations are left out, for what others may see while
// the disk is slow. A swap or a transaction is decided by the clock of its
// group, and readers may find a key gone that it has found, before they see
// what it writes. And the deadline of a key that is touched may show after it
// has passed, until the new one does.
func TestHistoriesOfDeadlines(t *testing.T) {
	bothModes(t, func(t *testing.T, syncWrites bool) {
		passed := 0
		rounds(t, 2, func(t *testing.T, p *planner) []porcupine.Operation {
			history := recordDeadlines(t, p, openReal(t, t.TempDir(), syncWrites))
			check(t, wholeMap, history)
			for i, o := range history { // in the order of calls
				if o.Input.(op).Kind == opPass && i > keyCount && i < len(history)-2*keyCount {
					passed++
				}
			}
			return history
		})
		t.Logf("%d deadlines have passed in the middle of a history", passed)
		if passed == 0 {
			t.Error("no deadline has passed while keys were in use")
		}
	})
}

func recordDeadlines(t *testing.T, p *planner, s target) []porcupine.Operation {
	t.Helper()
	var h history
	h.opened()
	first := s.Now().Add(200 * time.Microsecond).UnixNano()
	for i := range 1 + p.Int64N(4) {
		p.soon = append(p.soon, first+i*p.Int64N(2*int64(time.Millisecond)))
	}
	slices.Sort(p.soon)
	p.soon = slices.Compact(p.soon)
	plans := p.session(h.epoch, shape{clients: 2 + p.IntN(4), ops: 8 + p.IntN(8)})
	clock := &journal{base: time.Now()}
	journals := []*journal{clock}
	for range plans {
		journals = append(journals, &journal{base: clock.base})
	}
	var watching sync.WaitGroup
	watching.Go(func() { clock.watch(s, h.epoch, p.soon) })
	runClients(s, plans, journals[1:])
	watching.Wait()
	h.add(journals...)
	h.use(s, [][]planned{readAll(h.epoch)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	h.point(op{Kind: opClose, Epoch: h.epoch})
	return h.finish()
}

// watch records when the store's clock passes these deadlines.
func (j *journal) watch(s target, epoch int, deadlines []int64) {
	before := int64(0) // a moment that is not later than the last look that has shown an earlier time
	for _, deadline := range deadlines {
		for {
			at := time.Since(j.base).Nanoseconds()
			if s.Now().UnixNano() >= deadline {
				break
			}
			before = at
			runtime.Gosched()
		}
		j.ops = append(j.ops, porcupine.Operation{
			Input: op{Kind: opPass, Epoch: epoch, Until: deadline}, Output: result{Outcome: done},
			Call: before, Return: time.Since(j.base).Nanoseconds(),
		})
	}
}

func recordFunctions(t *testing.T, p *planner, open func() target) []porcupine.Operation {
	t.Helper()
	var h history
	for range 1 + p.IntN(2) {
		h.opened()
		h.record(t, open(), p, shape{
			clients: 2 + p.IntN(5), ops: 4 + p.IntN(8), closes: p.IntN(4) == 0, serial: true,
		})
	}
	return h.finish()
}

func recordTransactions(t *testing.T, p *planner, open func() target) []porcupine.Operation {
	t.Helper()
	var h history
	for range 1 + p.IntN(2) {
		h.opened()
		h.record(t, open(), p, shape{
			clients: 2 + p.IntN(5), ops: 4 + p.IntN(8), closes: p.IntN(4) == 0, transactions: true,
		})
	}
	return h.finish()
}

func recordBatches(t *testing.T, p *planner, open func() target) []porcupine.Operation {
	t.Helper()
	history := recordOnly(t, p, open)
	check(t, wholeMap, history)
	return history
}

func recordOnly(t *testing.T, p *planner, open func() target) []porcupine.Operation {
	t.Helper()
	var h history
	for range 1 + p.IntN(3) {
		h.opened()
		h.record(t, open(), p, shape{clients: 2 + p.IntN(5), ops: 4 + p.IntN(12), closes: p.IntN(3) == 0})
	}
	return h.finish()
}

// Long histories of operations on single keys, which can be checked key by key.
func TestHistoriesOfSingleKeys(t *testing.T) {
	bothModes(t, func(t *testing.T, syncWrites bool) {
		rounds(t, 20, func(t *testing.T, p *planner) []porcupine.Operation {
			s := openReal(t, t.TempDir(), syncWrites)
			var h history
			h.use(s, p.session(0, shape{clients: maxClients, ops: 400, singles: true}))
			h.use(s, [][]planned{readAll(0)[:keyCount]})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			history := h.finish()
			check(t, keyByKey, history)
			return history
		})
	})
}

// P4, at a rate that no checker of histories can handle. Each batch writes its
// number under several keys, replaces the key that is named after the previous
// batch, and adds a key. So each Get, AppendGet, Has, Len and Keys shows the
// number of a batch. After a read has returned, no later read of any goroutine
// may show a smaller number.
func TestP4ReadsNeverGoBack(t *testing.T) {
	bothModes(t, func(t *testing.T, syncWrites bool) { neverGoBack(t, syncWrites, true) })
}

// The same with single writes. Each adds a key, and Has, Len and Keys must
// never go back.
func TestSingleReadsNeverGoBack(t *testing.T) {
	bothModes(t, func(t *testing.T, syncWrites bool) { neverGoBack(t, syncWrites, false) })
}

func neverGoBack(t *testing.T, syncWrites, inBatches bool) {
	const (
		keys    = 5
		readers = 3
	)
	batches := 1500
	if os.Getenv(roundsEnv) != "" {
		batches = 8000
	}
	s, err := kvstore.OpenWithConfig(config(t.TempDir(), syncWrites))
	if err != nil {
		t.Fatal(err)
	}
	var (
		seen, asked atomic.Int64 // the latest batch that a read has shown, and that the writer has sent
		reads       atomic.Int64
		group       sync.WaitGroup
		over        = make(chan struct{})
	)
	parse := func(b []byte, ok bool) int {
		if !ok {
			return 0
		}
		n, err := strconv.Atoi(string(b))
		if err != nil {
			t.Error(err)
		}
		return n
	}
	versionOf := func(rng *rand.Rand) (name string, n int) {
		i, how, others := rng.IntN(keys), rng.IntN(8), keys+1
		if !inBatches {
			how, others = []int{0, 0, 0, 2, 2, 2, 2, 1}[how], 0
		}
		switch how {
		case 0:
			return "Len", max(0, s.Len()-others)
		case 1:
			list := s.Keys()
			if !inBatches {
				return "Keys", len(list)
			}
			for _, key := range list {
				if number, ok := strings.CutPrefix(key, "last "); ok {
					n = parse([]byte(number), true)
				}
			}
			if len(list) != max(0, n+keys+1) && n > 0 {
				t.Errorf("Keys shows %d keys after batch %d", len(list), n)
			}
			return "Keys", n
		case 2:
			from := int(seen.Load())
			if s.Has("more " + strconv.Itoa(from+1)) {
				from++
			} else if from > 0 && !s.Has("more "+strconv.Itoa(from)) {
				from--
			}
			return "Has", from
		case 3:
			b, ok := s.AppendGet([]byte("1"), "key "+strconv.Itoa(i)) // a digit in front of the number
			if !ok {
				return "AppendGet", 0
			}
			return "AppendGet", parse(b[1:], true)
		default:
			b, ok := s.Get("key " + strconv.Itoa(i))
			return "Get", parse(b, ok)
		}
	}
	seed := testseed.New(t)
	for reader := range readers {
		rng := newPlanner(seed, reader).Rand
		group.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				floor := seen.Load()
				name, n := versionOf(rng)
				if ceiling := asked.Load(); int64(n) < floor || int64(n) > ceiling {
					t.Errorf("%s shows batch %d after a read has shown %d; the latest one sent is %d",
						name, n, floor, ceiling)
					return
				}
				for floor < int64(n) && !seen.CompareAndSwap(floor, int64(n)) {
					floor = seen.Load()
				}
				reads.Add(1)
				runtime.Gosched()
			}
		})
	}
	started := time.Now()
	var under []*kvstore.Commit
	for n := 1; n <= batches && !t.Failed(); n++ {
		var b kvstore.Batch
		if inBatches {
			for i := range keys {
				b.Set("key "+strconv.Itoa(i), strconv.AppendInt(nil, int64(n), 10))
			}
			b.Delete("last " + strconv.Itoa(n-1))
			b.Set("last "+strconv.Itoa(n), nil)
		}
		b.Set("more "+strconv.Itoa(n), nil)
		for reads.Load() < int64(20*n) && !t.Failed() {
			runtime.Gosched()
		}
		asked.Store(int64(n))
		if under = append(under, s.ApplyAsync(context.Background(), &b)); len(under) < 3 && n < batches {
			continue
		}
		for _, commit := range under {
			if err := commit.Wait(context.Background()); err != nil {
				t.Error(err)
			}
		}
		under = under[:0]
		for floor := seen.Load(); floor < int64(n) && !seen.CompareAndSwap(floor, int64(n)); {
			floor = seen.Load() // an acknowledged batch is visible
		}
	}
	close(over)
	group.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	took := time.Since(started)
	t.Logf("%d batches, %d reads in %v: %.0f reads a second", batches, reads.Load(), took.Round(time.Millisecond),
		float64(reads.Load())/took.Seconds())
}

// ---- negative controls: the checker must be able to reject ----

// Histories made by hand. Each bad one has a good twin, which differs in a
// detail and could have happened.
func TestBadHistoriesAreRejected(t *testing.T) {
	type row = porcupine.Operation
	set := func(client, order int, from, to int64, writes ...write) row {
		return row{
			Input:  op{Kind: opApply, Client: client, Epoch: 1, Order: order, Writes: writes},
			Output: result{Outcome: done}, Call: from, Return: to,
		}
	}
	as := func(r row, o outcome) row { r.Output = result{Outcome: o}; return r }
	get := func(key int, v value, from, to int64) row {
		return row{
			Input:  op{Kind: opGet, Epoch: 1, Key: key},
			Output: result{Outcome: done, Value: v}, Call: from, Return: to,
		}
	}
	length := func(n int, from, to int64) row {
		return row{Input: op{Kind: opLen, Epoch: 1}, Output: result{Outcome: done, Count: n}, Call: from, Return: to}
	}
	keys := func(bits uint32, from, to int64) row {
		return row{Input: op{Kind: opKeys, Epoch: 1}, Output: result{Outcome: done, Keys: bits}, Call: from, Return: to}
	}
	point := func(k kind, from, to int64) row {
		return row{Input: op{Kind: k, Epoch: 1}, Output: result{Outcome: done}, Call: from, Return: to}
	}
	w := func(key int, v value) write { return write{Key: key, Value: v} }
	scan := func(r span, from, to int64, pairs ...pair) row {
		return row{
			Input:  op{Kind: opScan, Epoch: 1, Scan: r},
			Output: result{Outcome: done, Reads: [][]pair{pairs}}, Call: from, Return: to,
		}
	}
	swap := func(client, order int, old value, next write, swapped bool, from, to int64) row {
		return row{
			Input:  op{Kind: opSwap, Client: client, Epoch: 1, Order: order, Old: old, Writes: []write{next}},
			Output: result{Outcome: done, Swapped: swapped}, Call: from, Return: to,
		}
	}
	until := func(client, order int, deadline int64, from, to int64, next write) row {
		next.Until = deadline
		return set(client, order, from, to, next)
	}
	passes := func(deadline int64, from, to int64) row {
		r := point(opPass, from, to)
		r.Input = op{Kind: opPass, Epoch: 1, Until: deadline}
		return r
	}
	deadline := func(key int, deadline int64, from, to int64) row {
		return row{
			Input:  op{Kind: opDeadline, Epoch: 1, Key: key},
			Output: result{Outcome: done, Value: empty, Until: deadline}, Call: from, Return: to,
		}
	}
	look := func(key int) txStep { return txStep{Key: key} }
	put := func(key int, v value) txStep { return txStep{Write: &write{Key: key, Value: v}} }
	over := func(r span) txStep { return txStep{Scan: &r} }
	update := func(client, order int, from, to int64, reads [][]pair, steps ...txStep) row {
		o := op{Kind: opUpdate, Client: client, Epoch: 1, Order: order, Steps: steps}
		for _, step := range steps {
			if step.Write != nil {
				o.Writes = append(o.Writes, *step.Write)
			}
		}
		return row{Input: o, Output: result{Outcome: done, Reads: reads}, Call: from, Return: to}
	}
	is := func(pairs ...pair) []pair { return pairs }
	kinded := func(r row, k kind) row {
		o := r.Input.(op)
		o.Kind = k
		r.Input = o
		return r
	}
	add := func(client, order, delta, sum int, from, to int64) row {
		return row{
			Input:  op{Kind: opAdd, Client: client, Epoch: 1, Order: order, Delta: delta, Writes: []write{{}}},
			Output: result{Outcome: done, Value: zero + value(sum)}, Call: from, Return: to,
		}
	}
	for _, c := range []struct {
		name      string
		bad, good []row
		single    bool // all operations are on single keys, so keyByKey must agree
	}{
		{
			"a lost update",
			[]row{set(0, 1, 1, 2, w(0, 2)), get(0, absent, 3, 4)},
			[]row{set(0, 1, 1, 2, w(0, 2)), get(0, 2, 3, 4)},
			true,
		},
		{
			"a lost delete",
			[]row{set(0, 1, 1, 2, w(0, 2)), set(0, 2, 3, 4, w(0, absent)), get(0, 2, 5, 6)},
			[]row{set(0, 1, 1, 2, w(0, 2)), set(0, 2, 3, 5, w(0, absent)), get(0, 2, 5, 6)},
			true,
		},
		{
			"a stale read",
			[]row{set(0, 1, 1, 2, w(0, 2)), set(1, 1, 3, 4, w(0, 3)), get(0, 2, 5, 6)},
			[]row{set(0, 1, 1, 2, w(0, 2)), set(1, 1, 3, 5, w(0, 3)), get(0, 2, 5, 6)},
			true,
		},
		{
			"a read that goes back while the write is under way",
			[]row{set(0, 1, 1, 9, w(0, 2)), get(0, 2, 2, 3), get(0, absent, 4, 5)},
			[]row{set(0, 1, 1, 9, w(0, 2)), get(0, absent, 2, 3), get(0, 2, 4, 5)},
			true,
		},
		{
			"a key that is there after its deadline",
			[]row{until(0, 1, 9, 1, 2, w(0, 2)), passes(9, 3, 4), get(0, 2, 5, 6)},
			[]row{until(0, 1, 9, 1, 2, w(0, 2)), passes(9, 3, 5), get(0, 2, 5, 6)},
			false,
		},
		{
			"a key that is gone before its deadline",
			[]row{until(0, 1, 9, 1, 2, w(0, 2)), get(0, absent, 3, 4), passes(9, 5, 6)},
			[]row{until(0, 1, 9, 1, 2, w(0, 2)), get(0, absent, 3, 5), passes(9, 5, 6)},
			false,
		},
		{
			"a key that comes back after its deadline",
			[]row{
				until(0, 1, 9, 1, 7, w(0, 2)), passes(9, 2, 6), get(0, absent, 3, 4), get(0, 2, 5, 8), length(1, 7, 9),
			},
			[]row{
				until(0, 1, 9, 1, 7, w(0, 2)), passes(9, 2, 6), get(0, absent, 3, 4), get(0, 2, 5, 8), length(0, 7, 9),
			},
			false,
		},
		{
			"a deadline that a set does not clear",
			[]row{until(0, 1, 9, 1, 2, w(0, 2)), set(0, 2, 3, 4, w(0, 3)), deadline(0, 9, 5, 6)},
			[]row{until(0, 1, 9, 1, 2, w(0, 2)), set(0, 2, 3, 5, w(0, 3)), deadline(0, 9, 5, 6)},
			true,
		},
		{
			"a value that was never written",
			[]row{set(0, 1, 1, 9, w(0, 2)), get(0, garbage, 2, 3)},
			[]row{set(0, 1, 1, 9, w(0, 2)), get(0, 2, 2, 3)},
			true,
		},
		{
			"half a batch",
			[]row{set(0, 1, 1, 9, w(0, 2), w(1, 3)), get(0, 2, 2, 3), get(1, absent, 4, 5)},
			[]row{set(0, 1, 1, 9, w(0, 2), w(1, 3)), get(0, 2, 2, 3), get(1, 3, 4, 5)},
			false,
		},
		{
			"half a batch in Len",
			[]row{set(0, 1, 1, 9, w(0, 2), w(1, 3)), length(1, 2, 3)},
			[]row{set(0, 1, 1, 9, w(0, 2), w(1, 3)), length(2, 2, 3)},
			false,
		},
		{
			"half a batch in Keys",
			[]row{set(0, 1, 1, 9, w(0, 2), w(1, 3)), keys(0b10, 2, 3)},
			[]row{set(0, 1, 1, 9, w(0, 2), w(1, 3)), keys(0b11, 2, 3)},
			false,
		},
		{
			"Len behind Get",
			[]row{set(0, 1, 1, 9, w(0, 2)), get(0, 2, 2, 3), length(0, 4, 5)},
			[]row{set(0, 1, 1, 9, w(0, 2)), get(0, 2, 2, 4), length(0, 4, 5)},
			false,
		},
		{
			"two readers that disagree on the order of two writes",
			[]row{
				set(0, 1, 1, 9, w(0, 2)), set(1, 1, 1, 9, w(1, 3)), get(0, 2, 2, 3), get(1, absent, 4, 5),
				get(1, 3, 2, 3), get(0, absent, 4, 5),
			},
			[]row{
				set(0, 1, 1, 9, w(0, 2)), set(1, 1, 1, 9, w(1, 3)), get(0, 2, 2, 3), get(1, absent, 4, 5),
				get(1, 3, 4, 6), get(0, 2, 6, 7),
			},
			false,
		},
		{
			"a goroutine's commits in another order than its calls",
			[]row{set(0, 1, 1, 9, w(0, 2)), set(0, 2, 2, 9, w(0, 3)), get(0, 2, 10, 11)},
			[]row{set(0, 1, 1, 9, w(0, 2)), set(0, 2, 2, 9, w(0, 3)), get(0, 3, 10, 11)},
			true,
		},
		{
			"an effect of a call whose context had ended",
			[]row{as(set(0, 1, 1, 2, w(0, 2)), none), get(0, 2, 3, 4)},
			[]row{as(set(0, 1, 1, 2, w(0, 2)), none), get(0, absent, 3, 4)},
			true,
		},
		{
			"a write of unknown outcome that is seen and then not",
			[]row{as(set(0, 1, 1, 20, w(0, 2)), unknown), get(0, 2, 3, 4), get(0, absent, 5, 6)},
			[]row{as(set(0, 1, 1, 20, w(0, 2)), unknown), get(0, absent, 3, 4), get(0, 2, 5, 6)},
			true,
		},
		{
			"a write of unknown outcome after a later one of its goroutine",
			[]row{
				as(set(0, 1, 1, 20, w(0, 2)), unknown), set(0, 2, 3, 4, w(0, 3)), get(0, 2, 5, 6),
				point(opOpen, 19, 20),
			},
			[]row{as(set(0, 1, 1, 20, w(0, 2)), unknown), set(0, 2, 3, 4, w(0, 3)), get(0, 3, 5, 6)},
			true,
		},
		{
			"a crash that takes an acknowledged write",
			[]row{set(0, 1, 1, 2, w(0, 2)), point(opOpen, 3, 4), get(0, absent, 5, 6)},
			[]row{set(0, 1, 1, 2, w(0, 2)), point(opOpen, 3, 4), get(0, 2, 5, 6)},
			false,
		},
		{
			"a crash that takes what had been read",
			[]row{as(set(0, 1, 1, 4, w(0, 2)), unknown), get(0, 2, 2, 2), point(opOpen, 3, 4), get(0, absent, 5, 6)},
			[]row{
				as(set(0, 1, 1, 4, w(0, 2)), unknown), get(0, absent, 2, 2), point(opOpen, 3, 4),
				get(0, absent, 5, 6),
			},
			false,
		},
		{
			"half a batch after a crash",
			[]row{
				as(set(0, 1, 1, 4, w(0, 2), w(1, 3)), unknown), point(opOpen, 3, 4), get(0, 2, 5, 6),
				get(1, absent, 5, 6),
			},
			[]row{
				as(set(0, 1, 1, 4, w(0, 2), w(1, 3)), unknown), point(opOpen, 3, 4), get(0, 2, 5, 6), get(1, 3, 5, 6),
			},
			false,
		},
		{
			"a crash that takes a write and leaves the goroutine's next",
			[]row{
				as(set(0, 1, 1, 4, w(0, 2)), unknown), as(set(0, 2, 2, 4, w(1, 3)), unknown), point(opOpen, 3, 4),
				get(1, 3, 5, 6), get(0, 2, 7, 8), set(0, 1, 9, 10, w(0, 2)),
			},
			[]row{
				as(set(0, 1, 1, 4, w(0, 2)), unknown), as(set(0, 2, 2, 4, w(1, 3)), unknown), point(opOpen, 3, 4),
				get(1, 3, 5, 6), get(0, 2, 7, 8),
			},
			false,
		},
		{
			"a write that comes out of the last session",
			[]row{as(set(0, 1, 1, 20, w(0, 2)), unknown), point(opOpen, 3, 4), get(0, absent, 5, 6), get(0, 2, 7, 8)},
			[]row{
				as(set(0, 1, 1, 20, w(0, 2)), unknown), point(opOpen, 3, 4), get(0, absent, 5, 6),
				get(0, absent, 7, 8),
			},
			false,
		},
		{
			"a closed store that shows something",
			[]row{set(0, 1, 1, 2, w(0, 2)), point(opClose, 3, 4), get(0, 2, 5, 6)},
			[]row{set(0, 1, 1, 2, w(0, 2)), point(opClose, 3, 4), get(0, absent, 5, 6)},
			false,
		},
		{
			"ErrClosed from an open store",
			[]row{as(set(0, 1, 1, 2, w(0, 2)), closed), point(opClose, 3, 4)},
			[]row{as(set(0, 1, 1, 3, w(0, 2)), closed), point(opClose, 3, 4)},
			false,
		},
		{
			"an effect despite ErrClosed",
			[]row{as(set(0, 1, 1, 9, w(0, 2)), closed), point(opClose, 3, 4), point(opOpen, 10, 11), get(0, 2, 12, 13)},
			[]row{set(0, 1, 1, 9, w(0, 2)), point(opClose, 3, 4), point(opOpen, 10, 11), get(0, 2, 12, 13)},
			false,
		},
		{
			"a failed write that is seen",
			[]row{as(set(0, 1, 1, 20, w(0, 2)), failed), get(0, 2, 3, 4), point(opClose, 5, 6), point(opOpen, 7, 8)},
			[]row{as(set(0, 1, 1, 20, w(0, 2)), failed), point(opClose, 5, 6), point(opOpen, 7, 8), get(0, 2, 9, 10)},
			false,
		},
		{
			"half a batch in a scan",
			[]row{set(0, 1, 1, 9, w(1, 2), w(2, 3)), scan(span{}, 2, 3, pair{2, 3})},
			[]row{set(0, 1, 1, 9, w(1, 2), w(2, 3)), scan(span{}, 2, 3, pair{1, 2}, pair{2, 3})},
			false,
		},
		{
			"a scan of two moments",
			[]row{
				set(0, 1, 1, 2, w(1, 2), w(2, 3)), set(0, 2, 3, 9, w(1, 4)), set(1, 1, 10, 11, w(2, 5)),
				scan(span{}, 3, 12, pair{1, 2}, pair{2, 5}),
			},
			[]row{
				set(0, 1, 1, 2, w(1, 2), w(2, 3)), set(0, 2, 3, 9, w(1, 4)), set(1, 1, 10, 11, w(2, 5)),
				scan(span{}, 3, 12, pair{1, 4}, pair{2, 5}),
			},
			false,
		},
		{
			"a scan in the wrong order",
			[]row{set(0, 1, 1, 2, w(1, 2), w(2, 3)), scan(span{Reverse: true}, 3, 4, pair{1, 2}, pair{2, 3})},
			[]row{set(0, 1, 1, 2, w(1, 2), w(2, 3)), scan(span{Reverse: true}, 3, 4, pair{2, 3}, pair{1, 2})},
			false,
		},
		{
			"a scan that shows more than its range", // from a to b exclusive
			[]row{set(0, 1, 1, 2, w(1, 2), w(2, 3)), scan(span{From: 1, To: 2}, 3, 4, pair{1, 2}, pair{2, 3})},
			[]row{set(0, 1, 1, 2, w(1, 2), w(2, 3)), scan(span{From: 1, To: 2}, 3, 4, pair{1, 2})},
			false,
		},
		{
			"a scan beyond its limit",
			[]row{set(0, 1, 1, 2, w(1, 2), w(2, 3)), scan(span{Limit: 1}, 3, 4, pair{1, 2}, pair{2, 3})},
			[]row{set(0, 1, 1, 2, w(1, 2), w(2, 3)), scan(span{Limit: 1}, 3, 4, pair{1, 2})},
			false,
		},
		{
			"two swaps of one value",
			[]row{set(0, 1, 1, 2, w(0, 2)), swap(0, 2, 2, w(0, 3), true, 3, 9), swap(1, 1, 2, w(0, 4), true, 3, 9)},
			[]row{set(0, 1, 1, 2, w(0, 2)), swap(0, 2, 2, w(0, 3), true, 3, 9), swap(1, 1, 2, w(0, 4), false, 3, 9)},
			true,
		},
		{
			"a swap that refuses what is there",
			[]row{set(0, 1, 1, 2, w(0, 2)), swap(0, 2, 2, w(0, 3), false, 3, 4)},
			[]row{set(0, 1, 1, 2, w(0, 2)), swap(0, 2, 4, w(0, 3), false, 3, 4)},
			true,
		},
		{
			"a swap of unknown outcome that had nothing to swap",
			[]row{set(0, 1, 1, 2, w(0, 2)), as(swap(0, 2, 4, w(0, 3), false, 3, 20), unknown), get(0, 3, 5, 6)},
			[]row{set(0, 1, 1, 2, w(0, 2)), as(swap(0, 2, 2, w(0, 3), false, 3, 20), unknown), get(0, 3, 5, 6)},
			true,
		},
		{
			"a lost update of two transactions",
			[]row{
				update(0, 1, 1, 9, [][]pair{is(pair{0, absent})}, look(0), put(0, 2)),
				update(1, 1, 1, 9, [][]pair{is(pair{0, absent})}, look(0), put(0, 3)),
			},
			[]row{
				update(0, 1, 1, 9, [][]pair{is(pair{0, absent})}, look(0), put(0, 2)),
				update(1, 1, 1, 9, [][]pair{is(pair{0, 2})}, look(0), put(0, 3)),
			},
			false,
		},
		{
			"write skew",
			[]row{
				update(0, 1, 1, 9, [][]pair{is(pair{0, absent}), is(pair{1, absent})}, look(0), look(1), put(0, 2)),
				update(1, 1, 1, 9, [][]pair{is(pair{0, absent}), is(pair{1, absent})}, look(0), look(1), put(1, 3)),
			},
			[]row{
				update(0, 1, 1, 9, [][]pair{is(pair{0, absent}), is(pair{1, absent})}, look(0), look(1), put(0, 2)),
				update(1, 1, 1, 9, [][]pair{is(pair{0, 2}), is(pair{1, absent})}, look(0), look(1), put(1, 3)),
			},
			false,
		},
		{
			"a phantom",
			[]row{
				update(0, 1, 1, 9, [][]pair{nil}, over(span{}), put(1, 2)),
				update(1, 1, 1, 9, [][]pair{nil}, over(span{}), put(2, 3)),
			},
			[]row{
				update(0, 1, 1, 9, [][]pair{nil}, over(span{}), put(1, 2)),
				update(1, 1, 1, 9, [][]pair{is(pair{1, 2})}, over(span{}), put(2, 3)),
			},
			false,
		},
		{
			"a transaction that does not see its own write",
			[]row{update(0, 1, 1, 2, [][]pair{is(pair{0, absent})}, put(0, 2), look(0))},
			[]row{update(0, 1, 1, 2, [][]pair{is(pair{0, 2})}, put(0, 2), look(0))},
			false,
		},
		{
			"a transaction that scans a key that it has deleted",
			[]row{set(0, 1, 1, 2, w(1, 2)), update(0, 2, 3, 4, [][]pair{is(pair{1, 2})}, put(1, absent), over(span{}))},
			[]row{set(0, 1, 1, 2, w(1, 2)), update(0, 2, 3, 4, [][]pair{nil}, put(1, absent), over(span{}))},
			false,
		},
		{
			"a transaction that reads at two moments, and writes nothing",
			[]row{
				set(0, 1, 1, 9, w(0, 2), w(1, 3)),
				update(1, 0, 1, 9, [][]pair{is(pair{0, absent}), is(pair{1, 3})}, look(0), look(1)),
			},
			[]row{
				set(0, 1, 1, 9, w(0, 2), w(1, 3)),
				update(1, 0, 1, 9, [][]pair{is(pair{0, 2}), is(pair{1, 3})}, look(0), look(1)),
			},
			false,
		},
		{
			"half a transaction",
			[]row{update(0, 1, 1, 9, nil, put(0, 2), put(1, 3)), get(0, 2, 2, 3), get(1, absent, 4, 5)},
			[]row{update(0, 1, 1, 9, nil, put(0, 2), put(1, 3)), get(0, 2, 2, 3), get(1, 3, 4, 5)},
			false,
		},
		{
			"half a transaction after a crash",
			[]row{
				as(update(0, 1, 1, 4, nil, put(0, 2), put(1, 3)), unknown), point(opOpen, 3, 4), get(0, 2, 5, 6),
				get(1, absent, 5, 6),
			},
			[]row{
				as(update(0, 1, 1, 4, nil, put(0, 2), put(1, 3)), unknown), point(opOpen, 3, 4), get(0, 2, 5, 6),
				get(1, 3, 5, 6),
			},
			false,
		},
		{
			"an effect of a transaction that was given up",
			[]row{as(update(0, 1, 1, 2, nil, put(0, 2)), none), get(0, 2, 3, 4)},
			[]row{as(update(0, 1, 1, 2, nil, put(0, 2)), none), get(0, absent, 3, 4)},
			false,
		},
		{
			"a transaction on a closed store",
			[]row{point(opClose, 1, 2), update(0, 0, 3, 4, [][]pair{is(pair{0, absent})}, look(0))},
			[]row{point(opClose, 1, 2), as(update(0, 0, 3, 4, nil, look(0)), closed)},
			false,
		},
		{
			"two adds that give one sum",
			[]row{add(0, 1, 1, 1, 1, 9), add(1, 1, 1, 1, 1, 9)},
			[]row{add(0, 1, 1, 1, 1, 9), add(1, 1, 1, 2, 1, 9)},
			true,
		},
		{
			"an add that forgets the value",
			[]row{add(0, 1, 1, 1, 1, 2), add(0, 2, 2, 2, 3, 4)},
			[]row{add(0, 1, 1, 1, 1, 2), add(0, 2, 2, 3, 3, 4)},
			true,
		},
		{
			"a number that is refused",
			[]row{add(0, 1, 1, 1, 1, 2), as(add(0, 2, 1, 0, 3, 4), refused)},
			[]row{set(0, 1, 1, 2, w(0, 2)), as(add(0, 2, 1, 0, 3, 4), refused)},
			true,
		},
		{
			"an add of unknown outcome that adds twice",
			[]row{as(add(0, 1, 1, 0, 1, 20), unknown), get(0, zero+2, 3, 4)},
			[]row{as(add(0, 1, 1, 0, 1, 20), unknown), get(0, zero+1, 3, 4)},
			true,
		},
		{
			"a function that reads what comes after its answer",
			[]row{
				kinded(update(0, 1, 1, 2, [][]pair{is(pair{0, 3})}, look(0), put(1, 2)), opDo),
				set(1, 1, 3, 4, w(0, 3)),
			},
			[]row{
				kinded(update(0, 1, 1, 3, [][]pair{is(pair{0, 3})}, look(0), put(1, 2)), opDo),
				set(1, 1, 3, 4, w(0, 3)),
			},
			false,
		},
		{
			"a view of two moments",
			[]row{
				set(0, 1, 1, 9, w(0, 2), w(1, 3)),
				kinded(update(1, 0, 1, 9, [][]pair{is(pair{0, absent}), is(pair{1, 3})}, look(0), look(1)), opView),
			},
			[]row{
				set(0, 1, 1, 9, w(0, 2), w(1, 3)),
				kinded(update(1, 0, 1, 9, [][]pair{is(pair{0, 2}), is(pair{1, 3})}, look(0), look(1)), opView),
			},
			false,
		},
		{
			"a MultiGet of a closed store that shows something",
			[]row{
				set(0, 1, 1, 2, w(0, 2)), point(opClose, 3, 4),
				kinded(update(1, 0, 5, 6, [][]pair{is(pair{0, 2})}, look(0)), opMultiGet),
			},
			[]row{
				set(0, 1, 1, 2, w(0, 2)), point(opClose, 3, 4),
				kinded(update(1, 0, 5, 6, [][]pair{is(pair{0, absent})}, look(0)), opMultiGet),
			},
			false,
		},
		{
			"a result that does not exist",
			[]row{as(set(0, 1, 1, 2, w(0, 2)), wrong)},
			[]row{set(0, 1, 1, 2, w(0, 2))},
			true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			opened := row{Input: op{Kind: opOpen}, Output: result{Outcome: done}, Call: 0, Return: 0}
			models := map[string]porcupine.Model{"whole map": wholeMap}
			if c.single {
				models["key by key"] = keyByKey
			}
			for name, model := range models {
				verdict := func(rows []row) bool {
					rows = append([]row{opened}, rows...)
					if name == "key by key" { // that model has no sessions
						rows = rows[1:]
						for i := range rows {
							o := rows[i].Input.(op)
							o.Epoch = 0
							rows[i].Input = o
						}
					}
					return porcupine.CheckOperations(model, rows)
				}
				if verdict(c.bad) {
					t.Errorf("%s: accepted", name)
				}
				if !verdict(c.good) {
					t.Errorf("%s: the good twin was rejected", name)
				}
			}
		})
	}
}

// Stores with a planted fault are recorded like real ones, and the checker must
// find each fault. A fault strikes only now and then, so only the right
// histories show it.
func TestPlantedFaultsAreFound(t *testing.T) {
	const most = 400 // rounds
	for name, plant := range map[string]func(real, *fault) target{
		"none":           func(r real, _ *fault) target { return r },
		"lost update":    func(r real, f *fault) target { return lostUpdate{r, f} },
		"half batch":     func(r real, f *fault) target { return halfBatch{r, f} },
		"stale read":     func(r real, f *fault) target { return staleRead{r, f} },
		"stale Len":      func(r real, f *fault) target { return staleLen{r, f} },
		"early ack":      func(r real, f *fault) target { return earlyAck{r, f} },
		"reordered":      func(r real, f *fault) target { return reordered{r, f} },
		"ended, applied": func(r real, f *fault) target { return endedApplied{r, f} },
		"forgets":        func(r real, f *fault) target { return forgets{r, f} },
		"torn scan":      func(r real, f *fault) target { return tornScan{r, f} },
		"careless swap":  func(r real, f *fault) target { return carelessSwap{r, f} },
		"only a view":    func(r real, f *fault) target { return onlyView{r, f} },
		"phantoms":       func(r real, f *fault) target { return phantoms{r, f} },
		"two commits":    func(r real, f *fault) target { return twoCommits{r, f} },
		"careless add":   func(r real, f *fault) target { return carelessAdd{r, f} },
		"careless do":    func(r real, f *fault) target { return carelessDo{r, f} },
		"early do":       func(r real, f *fault) target { return earlyDo{r, f} },
		"no deadline":    func(r real, f *fault) target { return noDeadline{r, f} },
	} {
		t.Run(name, func(t *testing.T) {
			rounds := most
			if name == "none" {
				rounds = 20
			}
			seed := testseed.New(t)
			for i := range rounds {
				p, dir := newPlanner(seed, i), t.TempDir()
				f := &fault{}
				record := recordOnly
				switch {
				case strings.HasSuffix(name, " add"), strings.HasSuffix(name, " do"):
					record = recordFunctions
				case i%2 == 1:
					record = recordTransactions
				}
				history := record(t, p, func() target {
					return plant(openReal(t, dir, false).(real), f)
				})
				f.group.Wait()
				verdict := porcupine.CheckOperationsTimeout(wholeMap, history, checkTimeout)
				if verdict == porcupine.Illegal && name != "none" {
					t.Logf("found in history %d", i+1)
					return
				}
				if verdict != porcupine.Ok {
					t.Fatalf("history %d: %s", i+1, verdict)
				}
			}
			if name != "none" {
				t.Fatalf("not found in %d histories", rounds)
			}
		})
	}
}

// fault decides when a planted fault strikes, and has the fault's goroutines.
type fault struct {
	calls atomic.Int64
	group sync.WaitGroup
	mu    sync.Mutex
	old   map[string][]byte // guarded by mu
	len   atomic.Int64
}

func (f *fault) strikes(every int64) bool { return f.calls.Add(1)%every == 0 }

type lostUpdate struct {
	real
	*fault
}

func (s lostUpdate) Set(key string, value []byte) error {
	if s.strikes(8) {
		return nil
	}
	return s.real.Set(key, value)
}

type halfBatch struct {
	real
	*fault
}

func (s halfBatch) apply(ctx context.Context, writes []write) error {
	if len(writes) < 2 || !s.strikes(2) {
		return s.real.apply(ctx, writes)
	}
	return errors.Join(s.real.apply(ctx, writes[:1]), s.real.apply(ctx, writes[1:]))
}

type staleRead struct {
	real
	*fault
}

func (s staleRead) Get(key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.old[key]; old != nil && s.strikes(4) {
		return append([]byte{}, old...), true
	}
	value, ok := s.real.Get(key)
	if s.old == nil {
		s.old = map[string][]byte{}
	}
	s.old[key] = append([]byte(nil), value...)
	return value, ok
}

type staleLen struct {
	real
	*fault
}

func (s staleLen) Len() int {
	if s.strikes(3) {
		return int(s.len.Load())
	}
	n := s.real.Len()
	s.len.Store(int64(n))
	return n
}

type earlyAck struct {
	real
	*fault
}

func (s earlyAck) Set(key string, value []byte) error {
	own := append([]byte(nil), value...)
	s.group.Go(func() { _ = s.real.Set(key, own) })
	return nil
}

type reordered struct {
	real
	*fault
}

func (s reordered) async(ctx context.Context, writes []write) func(context.Context) error {
	result := make(chan error, 1)
	s.group.Go(func() { result <- s.apply(ctx, writes) })
	return func(ctx context.Context) error {
		select {
		case err := <-result:
			result <- err
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type endedApplied struct {
	real
	*fault
}

func (s endedApplied) apply(ctx context.Context, writes []write) error {
	return errors.Join(s.real.apply(context.WithoutCancel(ctx), writes), ctx.Err())
}

type forgets struct {
	real
	*fault
}

func (s forgets) Close() error {
	if keys := s.Keys(); len(keys) > 0 {
		if err := s.Delete(keys[0]); err != nil && !errors.Is(err, kvstore.ErrClosed) {
			return err
		}
	}
	return s.real.Close()
}

// tornScan shows the keys of one moment with values of later moments.
type tornScan struct {
	real
	*fault
}

func (s tornScan) Scan(r kvstore.Range) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for key := range s.real.Scan(r) {
			runtime.Gosched()
			if value, ok := s.Get(key); ok && !yield(key, value) {
				return
			}
		}
	}
}

// carelessSwap reads and then writes, not atomically.
type carelessSwap struct {
	real
	*fault
}

func (s carelessSwap) CompareAndSwap(key string, old, next []byte) (bool, error) {
	value, ok := s.Get(key)
	if ok != (old != nil) || !bytes.Equal(value, old) {
		return false, nil
	}
	runtime.Gosched()
	if next == nil {
		return true, s.Delete(key)
	}
	return true, s.Set(key, next)
}

// carelessAdd reads and then writes, not atomically.
type carelessAdd struct {
	real
	*fault
}

func (s carelessAdd) Add(key string, delta int64) (int64, error) {
	text, ok := s.Get(key)
	n, err := strconv.ParseInt(string(text), 10, 64)
	if ok && err != nil {
		return 0, kvstore.ErrNotNumber
	}
	runtime.Gosched()
	return n + delta, s.Set(key, strconv.AppendInt(nil, n+delta, 10))
}

// carelessDo runs functions on what is visible, and commits what they write
// afterwards.
type carelessDo struct {
	real
	*fault
}

func (s carelessDo) do(ctx context.Context, fn func(tx txn) error) error {
	return caught(func() error { return onlyView(s).update(ctx, fn) })
}

// earlyDo returns before what a function has read is visible.
type earlyDo struct {
	real
	*fault
}

func (s earlyDo) do(ctx context.Context, fn func(tx txn) error) error {
	ran, result := make(chan struct{}), make(chan error, 1)
	s.group.Go(func() {
		defer close(result)
		result <- s.real.do(ctx, func(tx txn) error {
			defer close(ran)
			return fn(tx)
		})
	})
	select {
	case <-ran:
		return nil
	case err := <-result:
		return err
	}
}

// onlyView makes a transaction's writes in a second transaction, which does not
// check the reads of the first: snapshot isolation without conflict detection.
type onlyView struct {
	real
	*fault
}

func (s onlyView) update(ctx context.Context, fn func(tx txn) error) error {
	var writes []func(tx *kvstore.Tx)
	err := s.Update(ctx, func(tx *kvstore.Tx) error {
		writes = nil
		if err := fn(noted{tx, &writes}); err != nil {
			return err
		}
		return errUnwritten
	})
	if !errors.Is(err, errUnwritten) {
		return err
	}
	return s.Update(ctx, func(tx *kvstore.Tx) error {
		for _, write := range writes {
			write(tx)
		}
		return nil
	})
}

var errUnwritten = errors.New("not written")

// noted is a transaction that records its writes.
type noted struct {
	*kvstore.Tx
	writes *[]func(tx *kvstore.Tx)
}

func (n noted) Set(key string, value []byte) {
	value = append([]byte{}, value...)
	*n.writes = append(*n.writes, func(tx *kvstore.Tx) { tx.Set(key, value) })
	n.Tx.Set(key, value)
}

func (n noted) SetUntil(key string, value []byte, deadline time.Time) {
	value = append([]byte{}, value...)
	*n.writes = append(*n.writes, func(tx *kvstore.Tx) { tx.SetUntil(key, value, deadline) })
	n.Tx.SetUntil(key, value, deadline)
}

func (n noted) Expire(key string, deadline time.Time) bool {
	*n.writes = append(*n.writes, func(tx *kvstore.Tx) { tx.Expire(key, deadline) })
	return n.Tx.Expire(key, deadline)
}

func (n noted) Delete(key string) {
	*n.writes = append(*n.writes, func(tx *kvstore.Tx) { tx.Delete(key) })
	n.Tx.Delete(key)
}

// phantoms has transactions that do not track scanned ranges until their first
// write.
type phantoms struct {
	real
	*fault
}

func (s phantoms) update(ctx context.Context, fn func(tx txn) error) error {
	return s.Update(ctx, func(tx *kvstore.Tx) error {
		v, err := s.View()
		if err != nil {
			return err
		}
		defer func() { _ = v.Close() }()
		return fn(&rangeless{Tx: tx, view: v})
	})
}

type rangeless struct {
	*kvstore.Tx
	view    *kvstore.View
	written bool
}

func (r *rangeless) Set(key string, value []byte) { r.written = true; r.Tx.Set(key, value) }
func (r *rangeless) Delete(key string)            { r.written = true; r.Tx.Delete(key) }

func (r *rangeless) SetUntil(key string, value []byte, deadline time.Time) {
	r.written = true
	r.Tx.SetUntil(key, value, deadline)
}

func (r *rangeless) Expire(key string, deadline time.Time) bool {
	r.written = true
	return r.Tx.Expire(key, deadline)
}

func (r *rangeless) Scan(some kvstore.Range) iter.Seq2[string, []byte] {
	if r.written {
		return r.Tx.Scan(some)
	}
	return r.view.Scan(some)
}

// twoCommits splits a transaction into two commits.
type twoCommits struct {
	real
	*fault
}

func (s twoCommits) update(ctx context.Context, fn func(tx txn) error) error {
	var writes []func(tx *kvstore.Tx)
	err := s.Update(ctx, func(tx *kvstore.Tx) error {
		writes = nil
		return fn(delayed{noted{tx, &writes}})
	})
	if err != nil || len(writes) < 2 {
		return err
	}
	return s.Update(context.Background(), func(tx *kvstore.Tx) error {
		for _, write := range writes {
			write(tx)
		}
		return nil
	})
}

// delayed is a transaction that makes only its first write.
type delayed struct{ noted }

func (d delayed) Set(key string, value []byte) {
	if len(*d.writes) == 0 {
		d.Tx.Set(key, value)
	}
	value = append([]byte{}, value...)
	*d.writes = append(*d.writes, func(tx *kvstore.Tx) { tx.Set(key, value) })
}

func (d delayed) SetUntil(key string, value []byte, deadline time.Time) {
	if len(*d.writes) == 0 {
		d.Tx.SetUntil(key, value, deadline)
	}
	value = append([]byte{}, value...)
	*d.writes = append(*d.writes, func(tx *kvstore.Tx) { tx.SetUntil(key, value, deadline) })
}

func (d delayed) Expire(key string, deadline time.Time) bool {
	found := d.Has(key)
	if len(*d.writes) == 0 {
		d.Tx.Expire(key, deadline)
	}
	*d.writes = append(*d.writes, func(tx *kvstore.Tx) { tx.Expire(key, deadline) })
	return found
}

func (d delayed) Delete(key string) {
	if len(*d.writes) == 0 {
		d.Tx.Delete(key)
	}
	*d.writes = append(*d.writes, func(tx *kvstore.Tx) { tx.Delete(key) })
}

// noDeadline forgets a deadline now and then.
type noDeadline struct {
	real
	*fault
}

func (s noDeadline) SetUntil(key string, value []byte, deadline time.Time) error {
	if s.strikes(2) && deadline.After(s.Now()) {
		return s.Set(key, value)
	}
	return s.real.SetUntil(key, value, deadline)
}
