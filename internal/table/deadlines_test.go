package table

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// checkDeadlines verifies the index of deadlines: its words are those of the
// keys that have a deadline, no more and no fewer, and its bounds are right.
func (t *Table) checkDeadlines(tb rapid.TB) {
	tb.Helper()
	t.sortLoaded()
	all, soonest := 0, int64(noDeadline)
	for i := range t.shards {
		s := &t.shards[i]
		var want []uint64
		bounds := map[uint64][2]int64{}
		for _, slot := range s.slots {
			if slot == 0 {
				continue
			}
			if d := s.slabs.at(slot & placeMask).deadline(); d != 0 {
				word := deadlineWord(d, slot)
				want = append(want, word)
				b, ok := bounds[word]
				if !ok {
					b = [2]int64{d, d}
				}
				bounds[word] = [2]int64{min(b[0], d), max(b[1], d)}
			}
		}
		slices.Sort(want)
		s.deadlines.check(tb, want, bounds)
		if t.soonests[i] != s.deadlines.soonest() {
			tb.Fatalf("shard %d: soonest %d, want %d", i, t.soonests[i], s.deadlines.soonest())
		}
		all, soonest = all+len(want), min(soonest, t.soonests[i])
	}
	if t.Expiring() != all || t.soonest.Load() != soonest {
		tb.Fatalf("%d keys expire, want %d; soonest %d, want %d", t.Expiring(), all, t.soonest.Load(), soonest)
	}
}

func (x *deadlines) check(tb rapid.TB, want []uint64, bounds map[uint64][2]int64) {
	tb.Helper()
	var got []uint64
	room := 0
	for i, l := range x.leaves {
		if len(l.words) == 0 || l.first != l.words[0] {
			tb.Fatalf("leaf %d has %d words and begins with %x", i, len(l.words), l.first)
		}
		for _, word := range l.words {
			if b := bounds[word]; b[0] < l.low || b[1] > l.high {
				tb.Fatalf("leaf %d: %d to %d, but there is one of %d to %d", i, l.low, l.high, b[0], b[1])
			}
		}
		got, room = append(got, l.words...), room+cap(l.words)
	}
	if !slices.Equal(got, want) || x.count != len(want) {
		tb.Fatalf("%d words, counted %d, want %d", len(got), x.count, len(want))
	}
	if len(want) > 0 && len(want)*10/7 < room-2*leafWords {
		tb.Fatalf("%d words have room for %d", len(want), room)
	}
}

// timed is a value with a deadline.
type timed struct {
	value    []byte
	deadline int64
}

// timedModel is what a table or a view must show: of all keys, those that are
// not due.
type timedModel struct {
	keys map[string]timed
	now  int64
	held map[string]bool
}

func (m *timedModel) alive(key string) bool {
	p, ok := m.keys[key]
	return ok && (p.deadline == 0 || p.deadline > m.now || m.held[key])
}

// shown returns the keys that are shown, in order.
func (m *timedModel) shown() (keys []string) {
	for key := range m.keys {
		if m.alive(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// due returns the keys that are due, in the order of their deadlines.
func (m *timedModel) due() (keys []string) {
	for key := range m.keys {
		if !m.alive(key) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Compare(m.keys[a].deadline, m.keys[b].deadline) })
	return keys
}

// compareTable compares all that a table says.
func (m *timedModel) compareTable(tb rapid.TB, t *Table) {
	tb.Helper()
	shown, due := m.shown(), m.due()
	n, oldest := t.Due(m.now)
	if t.Size() != len(m.keys) || t.Len() != len(shown) || n != len(due) || t.Now() != m.now {
		tb.Fatalf("at %d: %d keys of %d, %d are due; want %d of %d, %d",
			t.Now(), t.Len(), t.Size(), n, len(shown), len(m.keys), len(due))
	}
	if next, ok := t.NextDeadline(); !ok {
		for key, p := range m.keys {
			if p.deadline != 0 {
				tb.Fatalf("no deadline, but %q has %d", key, p.deadline)
			}
		}
	} else if n > 0 && oldest != next || n == 0 && oldest != 0 {
		tb.Fatalf("the oldest of %d is %d, the next one %d", n, oldest, next)
	} else {
		m.compareNext(tb, next)
	}
	wantKeys(tb, "Keys", t.Keys(), shown)
	var walked []string
	for place := uint64(0); place < WalkEnd; {
		var some []string
		some, place = t.Walk(place, 7)
		walked = append(walked, some...)
	}
	wantKeys(tb, "Walk", walked, shown)
	all := []string{}
	for p := range t.All() {
		want := m.keys[string(p.Key)]
		if all = append(all, string(p.Key)); p.Deadline != want.deadline || !bytes.Equal(p.Value, want.value) {
			tb.Fatalf("All: %q has %d, want %d", p.Key, p.Deadline, want.deadline)
		}
	}
	wantKeys(tb, "All", all, slices.Sorted(maps.Keys(m.keys)))
	keys := append(slices.Collect(maps.Keys(m.keys)), "absent")
	values := make([][]byte, len(keys))
	t.MultiGet(values, keys)
	for i, key := range keys {
		want := m.keys[key]
		if !m.alive(key) {
			want = timed{}
		}
		value, ok := t.Get(nil, key)
		deadline, present := t.Deadline(key)
		if ok != m.alive(key) || t.Has(key) != ok || present != ok || deadline != want.deadline ||
			!bytes.Equal(value, want.value) || (values[i] != nil) != ok || !bytes.Equal(values[i], want.value) {
			tb.Fatalf("at %d: %q is %v, has %v, %d bytes, %d bytes by MultiGet, deadline %d, %v; want %d bytes, %d",
				m.now, key, ok, t.Has(key), len(value), len(values[i]), deadline, present, len(want.value),
				m.keys[key].deadline)
		}
		if d, ok := t.HasAt(math.MinInt64, key); ok != (key != "absent") || d != m.keys[key].deadline {
			tb.Fatalf("%q is there: %v, %d", key, ok, d)
		}
		if v, d, ok := t.GetAt(math.MinInt64, nil, key); ok != (key != "absent") || d != m.keys[key].deadline ||
			!bytes.Equal(v, m.keys[key].value) {
			tb.Fatalf("%q is there: %v, %d", key, ok, d)
		}
	}
	m.compareDueKeys(tb, t, due)
}

// compareNext looks whether next is the earliest deadline, to the millisecond.
func (m *timedModel) compareNext(tb rapid.TB, next int64) {
	tb.Helper()
	earliest := int64(math.MaxInt64)
	for _, p := range m.keys {
		if p.deadline != 0 {
			earliest = min(earliest, p.deadline)
		}
	}
	if next > earliest || milliOf(earliest) > 0 && milliOf(next) < milliOf(earliest) && next < math.MaxInt64-1 {
		tb.Fatalf("the next deadline is %d, want %d", next, earliest)
	}
}

// compareDueKeys asks for all keys that are due, and for some.
func (m *timedModel) compareDueKeys(tb rapid.TB, t *Table, due []string) {
	tb.Helper()
	all := t.DueKeys(m.now, 1<<20, 1<<30, nil)
	wantKeys(tb, "DueKeys", all, due)
	inOrder := func(a, b string) int { return cmp.Compare(milliOf(m.keys[a].deadline), milliOf(m.keys[b].deadline)) }
	if !slices.IsSortedFunc(all, inOrder) {
		tb.Fatalf("the keys that are due are not in order")
	}
	// Which keys of a millisecond come first is open.
	wantSome := func(got []string, of []string, n int) {
		tb.Helper()
		wantKeys(tb, "DueKeys, each once", slices.Compact(slices.Sorted(slices.Values(got))), got)
		if len(got) != n || !slices.EqualFunc(got, of[:n], func(a, b string) bool { return inOrder(a, b) == 0 }) {
			tb.Fatalf("%d keys that are due, %.200q, want the first %d of %.200q", len(got), got, n, of)
		}
	}
	skip := func(key string) bool { return len(key)%2 == 0 }
	want := slices.DeleteFunc(slices.Clone(all), skip)
	got := t.DueKeys(m.now, 1<<20, 1<<30, skip)
	wantSome(got, want, len(want))
	if slices.ContainsFunc(got, skip) {
		tb.Fatal("a key was not skipped")
	}
	if len(all) > 0 {
		most := 1 + len(all)/2
		wantSome(t.DueKeys(m.now, most, 1<<30, nil), all, most)
		wantSome(t.DueKeys(m.now, most, 0, nil), all, 1)
		wantSome(t.DueKeys(m.now, 0, 1, nil), all, 0)
		bytes := 0
		for _, key := range t.DueKeys(m.now, 1<<20, 12, nil) {
			bytes += len(key)
		}
		if bytes > max(12, len("key 00")) {
			tb.Fatalf("keys of %d bytes", bytes)
		}
	}
}

func wantKeys(tb rapid.TB, what string, got, want []string) {
	tb.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		tb.Fatalf("%s: %d keys %.200q, want %d %.200q", what, len(got), got, len(want), want)
	}
}

// compareView compares all that a view says.
func (m *timedModel) compareView(tb rapid.TB, v *View, length int) {
	tb.Helper()
	shown := m.shown()
	if v.Size() != len(m.keys) || v.Len() != length || v.Now() != m.now {
		tb.Fatalf("a view at %d has %d keys of %d, want %d of %d", v.Now(), v.Len(), v.Size(), length, len(m.keys))
	}
	soonest := int64(math.MaxInt64)
	for _, key := range shown {
		if d := m.keys[key].deadline; d != 0 {
			soonest = min(soonest, d)
		}
	}
	for name, loop := range map[string]func(*int64) func(func(string, []byte) bool){
		"Pairs": func(s *int64) func(func(string, []byte) bool) { return v.Pairs(s) },
		"Scan":  func(s *int64) func(func(string, []byte) bool) { return v.Scan(Bounds{}, Loop{Soonest: s}) },
		"backwards": func(s *int64) func(func(string, []byte) bool) {
			return v.Scan(Bounds{}, Loop{Reverse: true, Soonest: s})
		},
	} {
		var got []string
		least := int64(math.MaxInt64)
		for key, value := range loop(&least) {
			if got = append(got, key); !bytes.Equal(value, m.keys[key].value) {
				tb.Fatalf("%s: %q has %d bytes, want %d", name, key, len(value), len(m.keys[key].value))
			}
		}
		if wantKeys(tb, name, got, shown); least != soonest {
			tb.Fatalf("%s: the earliest deadline is %d, want %d", name, least, soonest)
		}
		for range loop(nil) {
			break
		}
	}
	for key, value := range v.Scan(Bounds{}, Loop{KeysOnly: true}) {
		if value != nil || !m.alive(key) {
			tb.Fatalf("%q with %d bytes", key, len(value))
		}
	}
	for name, pairs := range map[string]func(func(Pair) bool){"All": v.All(), "Saved": v.Saved()} {
		var got []string
		for p := range pairs {
			want := m.keys[string(p.Key)]
			if got = append(got, string(p.Key)); p.Deadline != want.deadline || !bytes.Equal(p.Value, want.value) {
				tb.Fatalf("%s: %q has %d, want %d", name, p.Key, p.Deadline, want.deadline)
			}
		}
		wantKeys(tb, name, got, slices.Collect(maps.Keys(m.keys)))
	}
	keys := append(slices.Collect(maps.Keys(m.keys)), "absent")
	values := make([][]byte, len(keys))
	v.MultiGet(values, keys)
	for i, key := range keys {
		want := m.keys[key]
		if !m.alive(key) {
			want = timed{}
		}
		value, found, ok := v.Find(nil, key)
		deadline, present := v.Deadline(key)
		if ok != m.alive(key) || v.Has(key) != ok || present != ok || deadline != want.deadline || found != deadline ||
			!bytes.Equal(value, want.value) || (values[i] != nil) != ok || !bytes.Equal(values[i], want.value) {
			tb.Fatalf("a view at %d: %q is %v, %d bytes, %d bytes by MultiGet, deadline %d; want %d bytes, %d",
				m.now, key, ok, len(value), len(values[i]), deadline, len(want.value), m.keys[key].deadline)
		}
	}
}

// timedTable is a table with a clock, and its model.
type timedTable struct {
	*Table
	model timedModel
	views []*timedView
}

type timedView struct {
	*View
	model timedModel
	len   int
}

func newTimedTable(mask uint64, now int64) *timedTable {
	t := &timedTable{Table: newTable(0, mask), model: timedModel{keys: map[string]timed{}, now: now}}
	t.UseClock(func() int64 { return t.model.now })
	return t
}

// change does to the model what op does.
func (t *timedTable) change(op Op) {
	switch p, ok := t.model.keys[string(op.Key)]; {
	case op.Delete:
		delete(t.model.keys, string(op.Key))
	case op.Touch && ok:
		t.model.keys[string(op.Key)] = timed{p.value, op.Deadline}
	case !op.Touch:
		t.model.keys[string(op.Key)] = timed{op.Value, op.Deadline}
	}
}

func (t *timedTable) open() {
	m := t.model
	m.keys = maps.Clone(m.keys)
	t.views = append(t.views, &timedView{t.View(), m, len(m.shown())})
}

// millisecond in which most deadlines of the tests lie.
const base = int64(1_700_000_000_123_000_000)

// drawDeadline draws a deadline near the clock: in its millisecond, in those
// around it, far away, or beyond what the index can tell apart.
func drawDeadline(t *rapid.T, now int64) int64 {
	return rapid.OneOf(
		rapid.Just(int64(0)),
		rapid.Int64Range(now-3, now+3),
		rapid.Int64Range(now-3e6, now+3e6),
		rapid.Int64Range(now, now+1e12),
		rapid.SampledFrom([]int64{
			1, -1, 999_999, -1_000_000, math.MinInt64, math.MaxInt64, math.MaxInt64 - 1,
			lastMilli * 1e6, lastMilli*1e6 + 1e6,
		}),
	).Draw(t, "deadline")
}

// drawOp draws an operation on one of some keys.
func drawOp(t *rapid.T, now int64, keys int) Op {
	op := Op{Key: fmt.Append(nil, "key ", rapid.IntRange(0, keys-1).Draw(t, "key"))}
	switch rapid.IntRange(0, 7).Draw(t, "op") {
	case 0:
		op.Delete = true
	case 1, 2, 3:
		op.Touch, op.Deadline = true, drawDeadline(t, now)
	default:
		size := rapid.OneOf(rapid.IntRange(0, 40), rapid.SampledFrom([]int{
			maxInPlaceBytes - 24, maxInPlaceBytes, maxPackedBytes - 40, maxPackedBytes - 16, maxPackedBytes,
			maxSlabBytes, maxCopyBytes + 1,
		})).Draw(t, "size")
		op.Value, op.Deadline = bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, size), drawDeadline(t, now)
	}
	return op
}

// A table with deadlines agrees with a map: whatever is set, touched, deleted
// and loaded, however the clock moves, and in views to their end. The index of
// deadlines is exact after every step.
func TestDeadlinesAgreeWithAMap(t *testing.T) {
	cases := 0
	rapid.Check(t, func(rt *rapid.T) {
		if cases++; raceEnabled && cases > 20 {
			return // they take ten times as long, and there is one goroutine
		}
		mask := rapid.SampledFrom([]uint64{^uint64(0), 0, 0xff, ^uint64(0xff), 0xf << 60}).Draw(rt, "mask")
		start := rapid.SampledFrom([]int64{base, 0, -base, lastMilli * 1e6, 1e18}).Draw(rt, "start")
		keys := rapid.IntRange(1, 40).Draw(rt, "keys")
		tab := newTimedTable(mask, start)
		defer tab.Release()
		version := int64(0)
		group := func(rt *rapid.T) (commits []Commit) {
			for range rapid.IntRange(1, 3).Draw(rt, "commits") {
				version++
				c := Commit{Version: version}
				for range rapid.IntRange(1, 5).Draw(rt, "ops") {
					c.Ops = append(c.Ops, drawOp(rt, tab.model.now, keys))
				}
				commits = append(commits, c)
			}
			return commits
		}
		publish := func(commits []Commit) {
			tab.Publish()
			for _, c := range commits {
				for _, op := range c.Ops {
					tab.change(op)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"apply": func(rt *rapid.T) {
				commits := group(rt)
				tab.Begin(commits)
				tab.Stage(func() {})
				publish(commits)
			},
			"hold": func(rt *rapid.T) {
				commits := group(rt)
				if rapid.Bool().Draw(rt, "succeeds") {
					tab.Begin(commits)
					tab.Stage(func() {})
				} else {
					commits = nil
				}
				hold, held := map[string]int64{}, map[string]bool{}
				for range rapid.IntRange(0, 3).Draw(rt, "held") {
					key := fmt.Sprint("key ", rapid.IntRange(0, keys).Draw(rt, "key"))
					hold[key], held[key] = 0, true
				}
				tab.Hold(hold)
				tab.model.held = held
				tab.model.now += rapid.Int64Range(0, 2e6).Draw(rt, "passes")
				tab.open()
				tab.model.compareTable(rt, tab.Table)
				if commits != nil {
					publish(commits)
				}
				tab.Hold(nil)
				tab.model.held = nil
			},
			"load": func(rt *rapid.T) {
				if len(tab.views) > 0 {
					rt.Skip()
				}
				var ops []Op
				for range rapid.IntRange(1, 8).Draw(rt, "ops") {
					op := drawOp(rt, tab.model.now, keys)
					ops = append(ops, op)
					tab.change(op)
				}
				version++
				tab.Load(ops, version)
			},
			"clock": func(rt *rapid.T) {
				most := rapid.SampledFrom([]int64{5, 5e6, 1e12}).Draw(rt, "most")
				tab.model.now += rapid.Int64Range(0, most).Draw(rt, "by")
			},
			"view": func(rt *rapid.T) {
				if len(tab.views) < 4 {
					tab.open()
				}
			},
			"close": func(rt *rapid.T) {
				if len(tab.views) == 0 {
					rt.Skip()
				}
				i := rapid.IntRange(0, len(tab.views)-1).Draw(rt, "view")
				v := tab.views[i]
				v.model.compareView(rt, v.View, v.len)
				v.SetNow(v.model.now + rapid.Int64Range(-1e7, 1e7).Draw(rt, "later"))
				v.model.now = v.Now()
				v.model.compareView(rt, v.View, v.len)
				v.Close()
				tab.views = slices.Delete(tab.views, i, i+1)
			},
			"": func(rt *rapid.T) {
				tab.check(rt)
				tab.checkDeadlines(rt)
				tab.checkHistory(rt)
				tab.model.compareTable(rt, tab.Table)
			},
		})
		for _, v := range tab.views {
			v.model.compareView(rt, v.View, v.len)
			v.Close()
		}
	})
}
