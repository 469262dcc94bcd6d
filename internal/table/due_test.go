package table

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"kvstore/internal/testseed"
)

// This file is about single rules of expiry. TestDeadlinesAgreeWithAMap is
// about all of them together.

// setUntil applies one operation that sets a key with a deadline.
func setUntil(t *Table, key string, value []byte, deadline int64) {
	t.Apply([]Commit{{
		Version: t.Version() + 1, Ops: []Op{{Key: []byte(key), Value: value, Deadline: deadline}},
	}})
}

// touch applies one operation that changes a key's deadline.
func touch(t *Table, key string, deadline int64) {
	t.Apply([]Commit{{Version: t.Version() + 1, Ops: []Op{{Key: []byte(key), Deadline: deadline, Touch: true}}}})
}

// A touch follows what its own group has written before, in whichever commit,
// and what it touches afterwards is another value.
func TestTouchesInAGroup(t *testing.T) {
	set := func(value string, deadline int64) Op {
		return Op{Key: []byte("key"), Value: []byte(value), Deadline: deadline}
	}
	touch, del := Op{Key: []byte("key"), Deadline: 7, Touch: true}, Op{Key: []byte("key"), Delete: true}
	stay := Op{Key: []byte("key"), Touch: true}
	large := string(make([]byte, maxPackedBytes))
	for i, c := range []struct {
		ops  []Op
		want timed // a nil value for none
	}{
		{[]Op{touch}, timed{}},
		{[]Op{set("a", 0), touch}, timed{[]byte("a"), 7}},
		{[]Op{set("a", 5), touch}, timed{[]byte("a"), 7}},
		{[]Op{set("a", 5), stay}, timed{[]byte("a"), 0}},
		{[]Op{set("a", 5), touch, stay, touch}, timed{[]byte("a"), 7}},
		{[]Op{touch, set("a", 5)}, timed{[]byte("a"), 5}},
		{[]Op{set("a", 5), touch, set("b", 0)}, timed{[]byte("b"), 0}},
		{[]Op{set("a", 5), del, touch}, timed{}},
		{[]Op{del, touch}, timed{}},
		{[]Op{del, touch, set("a", 0), touch}, timed{[]byte("a"), 7}},
		{[]Op{set(large, 0), touch}, timed{[]byte(large), 7}},
	} {
		for _, before := range []timed{{}, {[]byte("x"), 0}, {[]byte("x"), 3}, {[]byte(large), 0}, {[]byte(large), 3}} {
			if string(c.ops[0].Value) == "" && !c.ops[0].Delete && before.value != nil {
				continue // it touches what is there
			}
			for _, together := range []bool{false, true} {
				tab := New(0)
				if before.value != nil {
					setUntil(tab, "key", before.value, before.deadline)
				}
				group := []Commit{{Ops: c.ops, Version: tab.Version() + 1}}
				if !together {
					group = nil
					for i, op := range c.ops {
						group = append(group, Commit{Ops: []Op{op}, Version: tab.Version() + int64(i) + 1})
					}
				}
				tab.Apply(group)
				value, deadline, ok := tab.GetAt(math.MinInt64, nil, "key")
				if ok != (c.want.value != nil) || !bytes.Equal(value, c.want.value) || deadline != c.want.deadline {
					t.Errorf("group %d on %d bytes until %d, one commit %v: %d bytes until %d, %v; want %d until %d",
						i, len(before.value), before.deadline, together, len(value), deadline, ok,
						len(c.want.value), c.want.deadline)
				}
				tab.check(t)
				tab.checkDeadlines(t)
				tab.Release()
			}
		}
	}
}

// A touch leaves what an open view shows, of a record that it changes in place,
// of one that it copies, and of a large one, whose slab becomes the view's.
func TestTouchesUnderAView(t *testing.T) {
	for _, size := range []int{0, 10, 5000, maxPackedBytes, 3 * maxSlabBytes} {
		for _, from := range []int64{0, 1000} {
			for _, to := range []int64{0, 2000} {
				tab, value := New(0), bytes.Repeat([]byte("v"), size)
				tab.UseClock(func() int64 { return 1 })
				setUntil(tab, "key", value, from)
				v := tab.View()
				touch(tab, "key", to)
				touch(tab, "absent", to)
				if got, deadline, ok := v.Find(nil, "key"); !ok || !bytes.Equal(got, value) || deadline != from {
					t.Errorf("%d bytes from %d to %d: the view shows %d until %d", size, from, to, len(got), deadline)
				}
				if v.Unchanged([]string{"key"}, nil) || !v.Unchanged([]string{"absent"}, nil) {
					t.Error("a touch of a key that is there counts as a change, and no other one")
				}
				changed := 0
				v.AnyChange(tab.Version(), func(string) bool { changed++; return false }, 0)
				if changed != 1 {
					t.Errorf("%d changes", changed)
				}
				tab.check(t)
				tab.checkHistory(t)
				v.Close()
				setUntil(tab, "other", value, 0) // where the slab may have been
				if got, deadline, ok := tab.GetAt(0, nil, "key"); !ok || !bytes.Equal(got, value) || deadline != to {
					t.Errorf("%d bytes from %d to %d: %d until %d", size, from, to, len(got), deadline)
				}
				tab.check(t)
				tab.Release()
			}
		}
	}
}

// No read of a plain key looks at the clock, and each call looks once for all
// the others.
func TestClockIsReadOnce(t *testing.T) {
	tab, reads := New(0), 0
	defer tab.Release()
	tab.UseClock(func() int64 { reads++; return base })
	keys := []string{"absent"}
	for i := range 200 {
		keys = append(keys, fmt.Sprint("plain ", i))
		setUntil(tab, keys[len(keys)-1], []byte("value"), 0)
	}
	all := func() {
		tab.MultiGet(make([][]byte, len(keys)), keys)
		tab.Walk(0, 1000)
	}
	for _, key := range keys {
		tab.Get(nil, key)
		tab.Has(key)
	}
	all()
	if tab.Len(); reads > 0 {
		t.Errorf("%d reads of the clock for plain keys", reads)
	}
	for i := range 100 {
		keys = append(keys, fmt.Sprint("due ", i), fmt.Sprint("later ", i))
		setUntil(tab, fmt.Sprint("due ", i), []byte("value"), base)
		setUntil(tab, fmt.Sprint("later ", i), []byte("value"), base+1)
	}
	keys = keys[150 : 150+maxLockedKeys-6]
	reads = 0
	if all(); reads != 2 {
		t.Errorf("%d reads of the clock in two calls", reads)
	}
}

// A view reads the clock while no commit can be published. Otherwise it might
// show a key at a time when the next commit has taken it away already.
func TestViewReadsTheClockWithItsVersion(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	asked := false
	tab.UseClock(func() int64 {
		if asked = true; tab.applying.TryLock() {
			tab.applying.Unlock()
			t.Error("a commit may be published between the clock and the version")
		}
		return base
	})
	if tab.View().Close(); !asked {
		t.Error("the clock was not asked")
	}
}

// While nothing is due, Len waits for nobody.
func TestLenTakesNoLock(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	tab.UseClock(func() int64 { return base })
	setUntil(tab, "key", nil, base+1)
	tab.applying.Lock()
	if n := tab.Len(); n != 1 {
		t.Errorf("%d keys", n)
	}
	tab.applying.Unlock()
}

// What is due in the millisecond of now is counted by the record, however many
// keys share it and a word, and however their words are spread over leaves.
func TestDueWithinAMillisecond(t *testing.T) {
	rng := testseed.Rand(t)
	for _, mask := range []uint64{0, 0xffffffff00000000, 0xf << 60} { // one shard each
		keys := 1500
		if mask == 0xffffffff00000000 {
			keys = 5000
		}
		milli := milliOf(base) * 1e6
		for name, deadline := range map[string]func() int64{
			"one":           func() int64 { return int64(milli) + 500 },
			"two":           func() int64 { return int64(milli) + 500 + rng.Int64N(2) },
			"a millisecond": func() int64 { return int64(milli) + rng.Int64N(1e6) },
			"three":         func() int64 { return int64(milli) + rng.Int64N(3e6) - 1e6 },
		} {
			tab := newTimedTable(mask, 0)
			var commits []Commit
			for i := range keys {
				op := Op{Key: fmt.Append(nil, "key ", i), Deadline: deadline()}
				tab.change(op)
				commits = append(commits, Commit{Ops: []Op{op}, Version: int64(i + 1)})
			}
			tab.Apply(commits)
			for range keys / 3 {
				op := Op{Key: fmt.Append(nil, "key ", rng.IntN(keys)), Delete: rng.IntN(2) == 0, Deadline: deadline()}
				op.Touch = !op.Delete
				tab.change(op)
				tab.Apply([]Commit{{Ops: []Op{op}, Version: tab.Version() + 1}})
			}
			tab.checkDeadlines(t)
			for _, now := range []int64{-1, 0, 499, 500, 501, 5e5, 1e6 - 1, 1e6, 3e6, rng.Int64N(1e6)} {
				tab.model.now = int64(milli) + now
				due := len(tab.model.due())
				n, _ := tab.Due(tab.model.now)
				if tab.Len() != len(tab.model.keys)-due || n != due {
					t.Errorf("mask %x, %s: %d ns into the millisecond %d are due, Len %d, want %d of %d",
						mask, name, now, n, tab.Len(), due, len(tab.model.keys))
				}
			}
			wantKeys(t, "DueKeys", tab.DueKeys(tab.model.now, keys, 1<<30, nil), tab.model.due())
			tab.Release()
		}
	}
}

// The index of deadlines has the words of the deadlines that were inserted and
// not removed, whatever their order, and leaves that are full enough.
func TestDeadlineLeaves(t *testing.T) {
	seed := testseed.New(t)
	for name, next := range map[string]func(rng *rand.Rand, i int) int64{
		"random":     func(rng *rand.Rand, _ int) int64 { return base + rng.Int64N(1e15) },
		"rising":     func(_ *rand.Rand, i int) int64 { return base + int64(i)*1e6 },
		"nearly":     func(rng *rand.Rand, i int) int64 { return base + int64(i)*1e5 + rng.Int64N(1e6) },
		"falling":    func(_ *rand.Rand, i int) int64 { return base - int64(i)*1e6 },
		"few values": func(rng *rand.Rand, _ int) int64 { return base + rng.Int64N(3)*1e6 },
		"one word":   func(_ *rand.Rand, i int) int64 { return base + int64(i) },
		"clustered":  func(rng *rand.Rand, i int) int64 { return base + int64(i%7)*1e12 + rng.Int64N(1e9) },
	} {
		rng := rand.New(rand.NewPCG(seed, 0))
		m := leafMemory{arena: newArena()}
		var x deadlines
		type entry struct {
			word     uint64
			deadline int64
		}
		var all []entry
		hash := func() uint64 { // with many equal words
			if name == "one word" {
				return 0
			}
			return rng.Uint64() & (0xff << 50)
		}
		check := func() {
			t.Helper()
			bounds, words := map[uint64][2]int64{}, []uint64{}
			for _, e := range all {
				b, ok := bounds[e.word]
				if !ok {
					b = [2]int64{e.deadline, e.deadline}
				}
				bounds[e.word] = [2]int64{min(b[0], e.deadline), max(b[1], e.deadline)}
				words = append(words, e.word)
			}
			slices.Sort(words)
			x.check(t, words, bounds)
			for range 20 {
				word := firstWord(milliOf(next(rng, rng.IntN(10_000)))) | rng.Uint64()&prefixMask
				leaf, at := x.seek(word)
				before, _ := slices.BinarySearch(words, word)
				if n := x.sum(leaf) + at; n != before {
					t.Fatalf("%s: %d words before %x, want %d", name, n, word, before)
				}
				if n := x.leavesBefore(word); n > 0 && x.leaves[n-1].first >= word ||
					n < len(x.leaves) && x.leaves[n].first < word {
					t.Fatalf("%s: %d leaves before %x", name, n, word)
				}
			}
		}
		for i := range 10_000 {
			d := next(rng, i)
			e := entry{deadlineWord(d, hash()), d}
			all = append(all, e)
			x.insert(e.word, e.deadline, &m)
			if i%1000 == 999 {
				check()
			}
			if name != "rising" && rng.IntN(4) == 0 {
				at := rng.IntN(len(all))
				x.remove(all[at].word, &m)
				all = slices.Delete(all, at, at+1)
			}
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for len(all) > 0 {
			x.remove(all[len(all)-1].word, &m)
			if all = all[:len(all)-1]; len(all)%1000 == 0 {
				check()
			}
		}
		m.tidy()
		if x.leaves != nil || m.arena.used.Load() > maxSpareLeaves*pageBytes {
			t.Errorf("%s: %d leaves and %d bytes are left", name, len(x.leaves), m.arena.used.Load())
		}
		m.arena.release()
	}
}

// A deadline takes 20 bytes at most, however deadlines came and changed, and
// none of a key that has none.
func TestMemoryOfADeadline(t *testing.T) {
	if !freesParts {
		t.Skip("SKIPPED, NOT TESTED HERE: memory of Go's heap is freed as a whole")
	}
	const most = 20
	rng := testseed.Rand(t)
	random := func(int) int64 { return base + rng.Int64N(1e15) }
	rising := func(i int) int64 { return base + int64(i)*1e6 }
	for _, keys := range []int{70_000, 100_000 + rng.IntN(100_000)} {
		for _, how := range []string{"random", "rising", "loaded", "touched", "fewer"} {
			value := make([]byte, 128-16-recordHeader+rng.IntN(8))
			next := random
			if how == "rising" {
				next = rising
			}
			records := func(deadline func(i int) int64) (tab *Table, records int) {
				tab = New(keys)
				ops := make([]Op, keys)
				for i := range ops {
					ops[i] = Op{Key: fmt.Appendf(nil, "key %012d", i), Value: value, Deadline: deadline(i)}
				}
				apply := func(ops []Op) {
					for part := range slices.Chunk(ops, 1000) {
						tab.Apply([]Commit{{Ops: part, Version: tab.Version() + 1}})
					}
				}
				switch how {
				case "loaded":
					tab.Load(ops, 1)
				case "touched":
					apply(ops)
					for i := range ops {
						ops[i].Touch = true
						ops[i].Deadline = deadline(i)
					}
					apply(ops)
				case "fewer":
					apply(ops)
					for i := range ops {
						ops[i].Delete = true
					}
					rng.Shuffle(keys, func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
					apply(ops[:keys/2])
				default:
					apply(ops)
				}
				tab.sortLoaded()
				for i := range tab.shards {
					records += tab.shards[i].slabs.used - tab.shards[i].slabs.dead
				}
				return tab, records
			}
			plain, plainBytes := records(func(int) int64 { return 0 })
			timed, timedBytes := records(next)
			index := 0
			for i := range timed.shards {
				x := &timed.shards[i].deadlines
				index += cap(x.leaves) * 48
				for _, l := range x.leaves {
					index += cap(l.words) * 8
				}
			}
			n := timed.Size()
			each := float64(index+timedBytes-plainBytes) / float64(n)
			t.Logf("%d keys, %s: %.2f bytes each", n, how, each)
			if each > most || plain.Size() != n || plain.Expiring() != 0 || timed.Expiring() != n {
				t.Errorf("%d keys, %s: %.2f bytes each; %d and %d expire",
					n, how, each, plain.Expiring(), timed.Expiring())
			}
			if each := plainBytes / n; each != recordBytes(16, len(value), 0) {
				t.Errorf("a plain record takes %d bytes", each)
			}
			plain.Release()
			timed.Release()
		}
	}
}

// A key that is due and held is alive for readers, and for a view to its end.
func TestHold(t *testing.T) {
	tab := newTimedTable(^uint64(0), base)
	defer tab.Release()
	for _, key := range []string{"a", "b", "c"} {
		op := Op{Key: []byte(key), Value: []byte(key), Deadline: base + 10}
		tab.change(op)
		setUntil(tab.Table, key, op.Value, op.Deadline)
	}
	tab.Hold(map[string]int64{"a": base + 20, "b": base + 10, "absent": 0})
	tab.model.held = map[string]bool{"a": true}
	tab.model.now = base + 10
	tab.open()
	tab.model.compareTable(t, tab.Table)
	touch(tab.Table, "a", base+20)
	tab.change(Op{Key: []byte("a"), Deadline: base + 20, Touch: true})
	tab.Hold(nil)
	tab.model.held = nil
	tab.model.compareTable(t, tab.Table)
	tab.model.now = base + 20
	tab.model.compareTable(t, tab.Table)
	v := tab.views[0]
	v.model.compareView(t, v.View, 1)
	v.Close()
}

// What readers count agrees with what they see while a writer sets, touches and
// deletes keys and time goes on.
func TestDeadlinesWhileWriting(t *testing.T) {
	const keys = 300
	commits := fewer(400)
	var now atomic.Int64
	now.Store(base)
	tab := New(0)
	defer tab.Release()
	tab.UseClock(now.Load)
	var done atomic.Bool
	var wg sync.WaitGroup
	for r := range 3 {
		wg.Go(func() {
			for !done.Load() {
				if n := tab.Len(); n < 0 || n > keys {
					t.Errorf("Len is %d", n)
				}
				tab.NextDeadline()
				at := now.Load()
				tab.DueKeys(at, 100, 1<<20, nil)
				if n, oldest := tab.Due(at); n < 0 || n > keys || n > 0 && oldest > at {
					t.Errorf("%d keys are due, since %d", n, oldest-base)
				}
				v := tab.View()
				n := maps.Collect(v.Pairs(nil))
				if r == 0 {
					n = maps.Collect(v.Scan(Bounds{}, Loop{}))
				}
				if len(n) != v.Len() {
					t.Errorf("a view shows %d keys, and says %d", len(n), v.Len())
				}
				v.Close()
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for version := range int64(commits) {
		c := Commit{Version: version + 1}
		for range 10 {
			op := Op{Key: fmt.Append(nil, rng.IntN(keys)), Deadline: now.Load() + rng.Int64N(5e6)}
			op.Touch, op.Delete = rng.IntN(3) == 0, rng.IntN(4) == 0
			c.Ops = append(c.Ops, op)
		}
		tab.Apply([]Commit{c})
		now.Add(rng.Int64N(1e5))
	}
	done.Store(true)
	wg.Wait()
	tab.checkDeadlines(t)
}

// The first use of a table that was loaded knows its deadlines, whatever it is.
func TestLoadedDeadlines(t *testing.T) {
	for name, due := range map[string]func(tab *Table) int{
		"Len":          func(tab *Table) int { return tab.Size() - tab.Len() },
		"Due":          func(tab *Table) int { n, _ := tab.Due(base); return n },
		"DueKeys":      func(tab *Table) int { return len(tab.DueKeys(base, 10, 100, nil)) },
		"NextDeadline": func(tab *Table) int { n, _ := tab.NextDeadline(); return int(n - base + 2) },
		"View": func(tab *Table) int {
			v := tab.View()
			defer v.Close()
			return v.Size() - v.Len()
		},
		"Apply": func(tab *Table) int {
			touch(tab, "c", base)
			return tab.Size() - tab.Len() - 1
		},
	} {
		tab := New(0)
		tab.clock = func() int64 { return base } // UseClock would use the deadlines
		tab.Load([]Op{
			{Key: []byte("a"), Deadline: base},
			{Key: []byte("b"), Deadline: base},
			{Key: []byte("c"), Deadline: base + 1},
			{Key: []byte("d")},
			{Key: []byte("e"), Deadline: base},
		}, 1)
		tab.Load([]Op{{Key: []byte("e"), Delete: true}}, 1)
		if n := due(tab); n != 2 {
			t.Errorf("%s: %d keys are due, want 2", name, n)
		}
		tab.checkDeadlines(t)
		tab.Release()
	}
}

// A released table has no deadlines.
func TestReleaseOfDeadlines(t *testing.T) {
	for _, loaded := range []bool{false, true} {
		tab := New(0)
		op := Op{Key: []byte("a"), Deadline: base}
		if loaded {
			tab.clock = func() int64 { return base + 1 } // and nothing is sorted yet
			tab.Load([]Op{op}, 1)
		} else {
			tab.UseClock(func() int64 { return base + 1 })
			tab.Apply([]Commit{{Ops: []Op{op}, Version: 1}})
		}
		tab.Release()
		n, oldest := tab.Due(base + 1)
		_, some := tab.NextDeadline()
		if n != 0 || oldest != 0 || some || tab.Expiring() != 0 || tab.Size() != 0 || tab.Len() != 0 ||
			len(tab.DueKeys(base+1, 1, 1, nil)) != 0 {
			t.Errorf("a released table has deadlines, loaded %v", loaded)
		}
	}
}

// A key with a deadline is read without memory of its own.
func TestReadingDeadlinesAllocatesNothing(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	tab.UseClock(func() int64 { return base })
	setUntil(tab, "due", []byte("value"), base)
	setUntil(tab, "later", []byte("value"), base+1)
	dst := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		for _, key := range []string{"due", "later"} {
			dst, _ = tab.Get(dst[:0], key)
			dst, _, _ = tab.GetAt(base, dst[:0], key)
			tab.Has(key)
			tab.Deadline(key)
			tab.Len()
			tab.Due(base)
			tab.NextDeadline()
		}
	}); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

// Compaction keeps deadlines, and takes room that a record needs no more.
func TestCompactionKeepsDeadlines(t *testing.T) {
	const keys, writes = 200, 20_000
	rng := testseed.Rand(t)
	tab, want := newTable(0, 0xffffffff00000000), map[string]int64{} // one shard
	defer tab.Release()
	for range writes {
		op := Op{Key: fmt.Append(nil, "key ", rng.IntN(keys)), Deadline: rng.Int64N(3)}
		if op.Touch = rng.IntN(2) == 0 && tab.has(string(op.Key)); !op.Touch {
			op.Value = make([]byte, rng.IntN(300))
		}
		tab.Apply([]Commit{{Ops: []Op{op}, Version: tab.Version() + 1}})
		want[string(op.Key)] = op.Deadline
	}
	for key, deadline := range want {
		if d, ok := tab.Deadline(key); !ok || d != deadline {
			t.Errorf("%q has %d, %v, want %d", key, d, ok, deadline)
		}
	}
	tab.check(t)
	tab.checkDeadlines(t)
}
