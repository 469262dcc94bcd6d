package table

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"kvstore/internal/testseed"
)

// frozen is a view and what it must show while it is open.
type frozen struct {
	view *View
	want model
}

func (f *frozen) compare(tb testing.TB, rng *rand.Rand) {
	tb.Helper()
	f.compareScan(tb, rng)
	if f.view.Len() != len(f.want) {
		tb.Fatalf("a view of version %d has %d keys, want %d", f.view.Version(), f.view.Len(), len(f.want))
	}
	got := model{}
	for p := range f.view.All() {
		key := string(p.Key)
		if _, twice := got[key]; twice {
			tb.Fatalf("All shows %q twice", key)
		}
		got[key] = bytes.Clone(p.Value)
	}
	f.comparePairs(tb)
	for key, value := range f.want {
		if b, ok := f.view.Get(nil, key); !ok || !bytes.Equal(b, value) {
			tb.Fatalf("version %d: Get(%q): %d bytes, %v, want %d", f.view.Version(), key, len(b), ok, len(value))
		}
		if !bytes.Equal(got[key], value) {
			tb.Fatalf("version %d: All shows %d bytes of %q, want %d", f.view.Version(), len(got[key]), key, len(value))
		}
	}
	if len(got) != len(f.want) {
		tb.Fatalf("version %d: All shows %d keys, want %d", f.view.Version(), len(got), len(f.want))
	}
	for _, key := range []string{"absent", "key 0", "key 1"} {
		if _, ok := f.view.Get(nil, key); ok != (f.want[key] != nil) || f.view.Has(key) != ok {
			tb.Fatalf("version %d: Get(%q): %v, Has %v", f.view.Version(), key, ok, f.view.Has(key))
		}
	}
}

// comparePairs looks at all pairs, and at all keys and absent ones at once.
func (f *frozen) comparePairs(tb testing.TB) {
	tb.Helper()
	pairs := maps.Collect(f.view.Pairs(nil))
	if !maps.EqualFunc(pairs, f.want, bytes.Equal) {
		tb.Fatalf("version %d: Pairs shows %d keys, or others than those %d", f.view.Version(), len(pairs), len(f.want))
	}
	keys := append(slices.Collect(maps.Keys(f.want)), "absent", "key 0", "key 1")
	values := make([][]byte, len(keys))
	f.view.MultiGet(values, keys)
	for i, key := range keys {
		if want := f.want[key]; !bytes.Equal(values[i], want) || (values[i] != nil) != (want != nil) {
			tb.Fatalf("version %d: MultiGet shows %d bytes of %q, want %d", f.view.Version(), len(values[i]),
				key, len(want))
		}
		if pairs[key] == nil && f.want[key] != nil {
			tb.Fatalf("version %d: Pairs shows nil under %q", f.view.Version(), key)
		}
	}
}

// compareScan scans a range in one direction or the other, sometimes not to its
// end.
func (f *frozen) compareScan(tb testing.TB, rng *rand.Rand) {
	tb.Helper()
	sorted := slices.Sorted(maps.Keys(f.want))
	pick := func() string {
		if len(sorted) == 0 || rng.IntN(3) == 0 {
			return "key " + strconv.Itoa(rng.IntN(4000))
		}
		return sorted[rng.IntN(len(sorted))]
	}
	b := Bounds{Low: pick(), High: pick(), Bounded: rng.IntN(2) == 0}
	if rng.IntN(2) == 0 {
		b.Low = ""
	}
	reverse, limit := rng.IntN(2) == 0, 1+rng.IntN(2*len(sorted)+1)
	var want, got []string
	for _, key := range sorted {
		if key >= b.Low && (!b.Bounded || key < b.High) {
			want = append(want, key)
		}
	}
	if reverse {
		slices.Reverse(want)
	}
	want = want[:min(len(want), limit)]
	for key, value := range f.view.Scan(b, Loop{Reverse: reverse}) {
		if value == nil || !bytes.Equal(value, f.want[key]) {
			tb.Fatalf("version %d: Scan shows %d bytes of %q, want %d",
				f.view.Version(), len(value), key, len(f.want[key]))
		}
		if got = append(got, key); len(got) == limit {
			break
		}
	}
	if !slices.Equal(got, want) {
		tb.Fatalf("version %d: Scan(%+v, reverse %v) up to %d shows %d keys, want %d",
			f.view.Version(), b, reverse, limit, len(got), len(want))
	}
}

// stageTogether stages a group with several goroutines.
func stageTogether(tab *Table, goroutines int) {
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() { tab.Stage(func() {}) })
	}
	wg.Wait()
}

// Views are opened and closed in any order while groups of commits are applied.
// Each view shows its own state to the end, and after the last one closes
// nothing is retained. Hashes are complete, equal, or equal except for the
// shard.
func TestViewsStayWhatTheyWere(t *testing.T) {
	for _, mask := range []uint64{^uint64(0), 0, 0xff, ^uint64(0xff)} {
		for _, keys := range []int{3, 60, fewer(3000)} {
			t.Run(fmt.Sprintf("mask=%x/keys=%d", mask, keys), func(t *testing.T) {
				if mask == 0 && keys > 100 {
					keys = 300 // all of them in one chain
				}
				rng := testseed.Rand(t)
				tab, m := newTable(0, mask), model{}
				defer tab.Release()
				var open []*frozen
				for version := int64(1); version < int64(fewer(120)); {
					if rng.IntN(3) == 0 {
						open = append(open, &frozen{tab.View(), maps.Clone(m)})
					}
					if len(open) > 0 && rng.IntN(3) == 0 {
						i := rng.IntN(len(open))
						open[i].compare(t, rng)
						open[i].view.Close()
						open = append(open[:i], open[i+1:]...)
					}
					deletes := rng.IntN(4)
					var group []Commit
					for range 1 + rng.IntN(4) {
						c := Commit{Version: version}
						for range 1 + rng.IntN(keys/3+2) {
							op := Op{Key: fmt.Appendf(nil, "key %d", rng.IntN(keys)), Value: randomValue(rng)}
							if op.Delete = rng.IntN(4) < deletes; op.Delete {
								op.Value = nil
								delete(m, string(op.Key))
							} else {
								m[string(op.Key)] = append([]byte{}, op.Value...)
							}
							c.Ops = append(c.Ops, op)
						}
						group = append(group, c)
						version++
					}
					tab.Begin(group)
					stageTogether(tab, 1+rng.IntN(3))
					for _, c := range group {
						for _, op := range c.Ops {
							if x := tab.index.Load(); x != nil && !op.Delete && !x.tree.has(string(op.Key)) {
								t.Fatalf("%q is not in the index, and may be seen at any moment", op.Key)
							}
						}
					}
					if len(open) > 0 && rng.IntN(3) == 0 { // staged changes are invisible, staged keys not pruned
						i := rng.IntN(len(open))
						open[i].compare(t, rng)
						open[i].view.Close()
						open = append(open[:i], open[i+1:]...)
					}
					tab.Publish()
					tab.check(t)
					tab.checkHistory(t)
				}
				for _, f := range open {
					f.compare(t, rng)
					f.view.Close()
				}
				m.compare(t, tab)
				if n, _, held := tab.Views(); n != 0 || held != 0 {
					t.Fatalf("%d views are open and %d bytes are held", n, held)
				}
				tab.View().Close() // the index drops what was put off when the next view closes
				tab.ordered()      // the views of few versions may have run no scan
				got, want := tab.index.Load().tree.root.check(t, "", "", false), slices.Sorted(maps.Keys(m))
				if !slices.Equal(got, want) {
					t.Fatalf("the index has %d keys, want %d", len(got), len(want))
				}
				tab.checkHistory(t)
				if n := tab.retained(); n > 0 {
					t.Fatalf("%d versions are retained", n)
				}
			})
		}
	}
}

// A version that began with the very commit that a view shows belongs to that
// view, and stays when a newer view closes.
func TestViewsKeepVersionsThatBeganWithThem(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	set := func(key string, version int64) {
		tab.Apply([]Commit{{Ops: []Op{{Key: []byte(key), Value: fmt.Append(nil, version)}}, Version: version}})
	}
	set("a", 1)
	first := tab.View() // so that it is known when the next version began
	defer first.Close()
	set("a", 2)
	began := tab.View()
	defer began.Close()
	set("b", 3)
	newer := tab.View()
	set("a", 4)
	newer.Close()
	for want, v := range map[string]*View{"1": first, "2": began} {
		if value, _ := v.Get(nil, "a"); string(value) != want {
			t.Errorf("the view of version %s shows %q", want, value)
		}
	}
}

// When one of three views closes, the other two go on to show their states,
// whatever is written then.
func TestViewsKeepTheirStateWhenOneCloses(t *testing.T) {
	rng := testseed.Rand(t)
	for closed := range 3 {
		tab, m := New(0), model{}
		set := func(n int) {
			op := Op{Key: fmt.Append(nil, "key ", n), Value: fmt.Append(nil, tab.Version())}
			m[string(op.Key)] = op.Value
			tab.Apply([]Commit{{Ops: []Op{op}, Version: tab.Version() + 1}})
		}
		var open []*frozen
		for n := range 3 {
			set(n) // no view before this one needs it
			open = append(open, &frozen{tab.View(), maps.Clone(m)})
		}
		open[closed].view.Close()
		for n := range 3 {
			set(n)
		}
		for _, f := range slices.Delete(open, closed, closed+1) {
			f.compare(t, rng)
			f.view.Close()
		}
		tab.checkHistory(t)
		tab.Release()
	}
}

// Many goroutines read their views while the writer goes on. Every key holds
// the number of the last commit.
func TestViewsWhileWriting(t *testing.T) {
	const keys = 500
	commits := fewer(300)
	tab := New(0)
	defer tab.Release()
	commit := func(n int) {
		var ops []Op
		for i := range keys {
			op := Op{Key: fmt.Append(nil, i), Value: fmt.Append(nil, n)}
			if i%5 == n%5 { // each key is present in four commits out of five
				op = Op{Key: op.Key, Delete: true}
			}
			ops = append(ops, op)
		}
		tab.Apply([]Commit{{Ops: ops, Version: int64(n)}})
	}
	commit(1)
	var done atomic.Bool
	var wg sync.WaitGroup
	for r := range max(4, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for !done.Load() {
				v := tab.View()
				n := 0
				pairs := func(yield func(string, []byte) bool) {
					v.All()(func(p Pair) bool { return yield(unsafeString(p.Key), p.Value) })
				}
				if r%2 == 0 {
					pairs = v.Scan(Bounds{}, Loop{Reverse: r%4 == 0})
				}
				for key, value := range pairs {
					n++
					i, _ := strconv.Atoi(key)
					if string(value) != strconv.Itoa(int(v.Version())) || i%5 == int(v.Version()%5) {
						t.Errorf("a view of commit %d shows %s in key %s", v.Version(), value, key)
						done.Store(true)
						break
					}
				}
				if n != v.Len() || v.Len() != keys/5*4 {
					t.Errorf("a view of commit %d shows %d keys, Len is %d", v.Version(), n, v.Len())
					done.Store(true)
				}
				v.Close()
			}
		})
	}
	for n := 2; n <= commits && !done.Load(); n++ {
		commit(n)
		runtime.Gosched()
	}
	done.Store(true)
	wg.Wait()
	if n, _, held := tab.Views(); n != 0 || held != 0 {
		t.Fatalf("%d views are open and %d bytes are held", n, held)
	}
}

// A loop over a view that is closed shows no further pair, even of those that
// it has read already.
func TestLoopsEndWithTheirView(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	for i := range 1000 {
		tab.Apply([]Commit{{Ops: []Op{{Key: fmt.Append(nil, i)}}, Version: int64(i + 1)}})
	}
	for _, loop := range []func(v *View, shown func() bool){
		func(v *View, shown func() bool) { v.All()(func(Pair) bool { return shown() }) },
		func(v *View, shown func() bool) { v.Pairs(nil)(func(string, []byte) bool { return shown() }) },
		func(v *View, shown func() bool) {
			v.Scan(Bounds{}, Loop{})(func(string, []byte) bool { return shown() })
		},
	} {
		for _, last := range []int{1, 2, 20, 500} {
			v, n := tab.View(), 0
			loop(v, func() bool {
				if n++; n == last {
					v.Close()
				}
				return true
			})
			if n != last {
				t.Errorf("a loop over a view that was closed after %d pairs shows %d", last, n)
			}
		}
	}
}

// A view opens between two commits, and waits for a commit that is being
// published.
func TestViewWaitsForACommit(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	opened := make(chan *View, 1)
	tab.applying.Lock() // as Publish does
	go func() { opened <- tab.View() }()
	for len(opened) == 0 && !blockedIn("(*Table).openView") {
		runtime.Gosched()
	}
	early := len(opened) > 0
	tab.applying.Unlock()
	if (<-opened).Close(); early {
		t.Fatal("a view has opened in the middle of a commit")
	}
}

// blockedIn reports whether a goroutine that is in a function waits for a lock.
func blockedIn(function string) bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		header, frames, _ := strings.Cut(stack, "\n")
		if strings.Contains(header, "sync.") && strings.Contains(frames, function) {
			return true
		}
	}
	return false
}

// A view outlives its table. The released table opens no more views, and its
// memory is released with the last view.
func TestViewsOutliveTheirTable(t *testing.T) {
	tab := New(0)
	tab.Apply([]Commit{{Ops: []Op{{Key: []byte("a"), Value: []byte("1")}}, Version: 1}})
	first, second := tab.View(), tab.View()
	tab.Release()
	if tab.View() != nil {
		t.Fatal("a released table has opened a view")
	}
	first.Close()
	(&frozen{second, model{"a": []byte("1")}}).compare(t, rand.New(rand.NewPCG(0, 0)))
	second.Close()
	if tab.Len() != 0 || tab.Has("a") {
		t.Fatal("the table is still there")
	}
}

// A retained key is a copy, like everything in the table.
func TestRetainedKeysAreCopies(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	key := []byte("key")
	op := Op{Key: key, Value: []byte("1")}
	tab.Apply([]Commit{{Ops: []Op{op}, Version: 1}})
	v := tab.View()
	op.Value = []byte("2")
	tab.Apply([]Commit{{Ops: []Op{op}, Version: 2}})
	copy(key, "xxx")
	if value, ok := v.Get(nil, "key"); !ok || string(value) != "1" {
		t.Fatalf("%q, %v", value, ok)
	}
	v.Close()
	if n, _, held := tab.Views(); n != 0 || held != 0 {
		t.Fatalf("%d views are open and %d bytes are held", n, held)
	}
}

// A window that begins at any slot has all keys whose search begins in it,
// including those whose slots lie after it.
func TestWindowsOfAShard(t *testing.T) {
	tab := newTable(0, 0xffffffff00000000) // one shard
	defer tab.Release()
	for i := range 3000 {
		tab.Apply([]Commit{{Ops: []Op{{Key: fmt.Append(nil, i)}}, Version: int64(i + 1)}})
	}
	s := &tab.shards[0]
	homes := make([]int, len(s.slots)) // how many searches begin at each slot
	for _, slot := range s.slots {
		if slot != 0 {
			homes[s.home(slot)]++
		}
	}
	for first := range homes {
		seen := map[string]bool{}
		from := uint64(first) << s.shift
		to := tab.windowEnd(s, from)
		s.walk(from, to, func(r record) {
			if key := string(r.key()); seen[key] {
				t.Fatalf("%q twice from slot %d on", key, first)
			} else {
				seen[key] = true
			}
		})
		want := 0
		for _, n := range homes[first : to>>s.shift] {
			want += n
		}
		if len(seen) != want {
			t.Fatalf("%d keys from slot %d on, want %d", len(seen), first, want)
		}
	}
}

// A view of a shard with many windows yields each key once, though some keys
// are changed and some deleted while the view is open, and the shard grows and
// shrinks while a loop iterates over it.
func TestViewOfALargeShard(t *testing.T) {
	const keys = 6000
	tab := newTable(0, 0xffffffff00000000) // one shard
	defer tab.Release()
	version := int64(0)
	apply := func(from, to int, op func(key []byte) Op) {
		for i := from; i < to; i++ {
			version++
			tab.Apply([]Commit{{Ops: []Op{op(fmt.Append(nil, i))}, Version: version}})
		}
	}
	set := func(key []byte) Op { return Op{Key: key, Value: key} }
	del := func(key []byte) Op { return Op{Key: key, Delete: true} }
	apply(0, keys, set)
	v := tab.View()
	defer v.Close()
	apply(0, keys/2, del)
	apply(keys/2, keys*3/4, func(key []byte) Op { return Op{Key: key, Value: []byte("another")} })
	seen := map[string]bool{}
	for p := range v.All() {
		key, value := string(p.Key), p.Value
		if key != string(value) || seen[key] {
			t.Fatalf("%q with %q, seen: %v", key, value, seen[key])
		}
		seen[key] = true
		switch len(seen) {
		case keys / 4:
			apply(keys, 5*keys, set) // the shard grows
		case keys / 2:
			apply(keys/2, 5*keys, del) // the shard shrinks
		}
	}
	if len(seen) != keys {
		t.Fatalf("%d keys of %d", len(seen), keys)
	}
}

// AnyChange finds exactly the keys that were changed since a view was opened,
// whatever other views are open, close, and have their versions moved.
func TestAnyChange(t *testing.T) {
	rng := testseed.Rand(t)
	for range fewer(10) {
		tab := New(0)
		type open struct {
			view    *View
			changed map[string]int64 // when each key was changed last
			first   map[string]int64 // when it was changed first
		}
		var views []*open
		for version := int64(1); version < 300; version++ {
			var ops []Op
			for range 1 + rng.IntN(20) {
				key := fmt.Sprintf("key %d", rng.IntN(400))
				op := Op{Key: []byte(key), Value: make([]byte, rng.IntN(300)), Delete: rng.IntN(4) == 0}
				if op.Delete && !tab.Has(key) {
					continue // it changes nothing
				}
				if slices.ContainsFunc(ops, func(o Op) bool { return string(o.Key) == key }) {
					continue
				}
				ops = append(ops, op)
				for _, v := range views {
					if v.changed[key] = version; v.first[key] == 0 {
						v.first[key] = version
					}
				}
			}
			tab.Apply([]Commit{{Ops: ops, Version: version}})
			switch rng.IntN(4) {
			case 0:
				views = append(views, &open{tab.View(), map[string]int64{}, map[string]int64{}})
			case 1:
				if len(views) > 0 {
					i := rng.IntN(len(views))
					views[i].view.Close()
					found, complete := views[i].view.AnyChange(version, func(string) bool { return true }, 0)
					if found || complete {
						t.Fatalf("a closed view: found %v, complete %v", found, complete)
					}
					views = slices.Delete(views, i, i+1)
				}
			}
			for _, v := range views {
				upTo := v.view.Version() + rng.Int64N(version-v.view.Version()+1)
				got := map[string]bool{}
				found, complete := v.view.AnyChange(upTo, func(key string) bool { got[key] = true; return false }, 0)
				if found || !complete {
					t.Fatalf("found %v, complete %v", found, complete)
				}
				for key, when := range v.first {
					if when <= upTo && !got[key] {
						t.Fatalf("a view of %d lacks the change of %q in %d", v.view.Version(), key, when)
					}
				}
				for key := range got {
					if v.first[key] == 0 || v.first[key] > upTo {
						t.Fatalf("%q was changed in %d, and found up to %d", key, v.first[key], upTo)
					}
				}
				if len(got) > 0 {
					one := slices.Sorted(maps.Keys(got))[0]
					found, complete := v.view.AnyChange(upTo, func(key string) bool { return key == one }, 0)
					if !found || !complete {
						t.Fatalf("%q: found %v, complete %v", one, found, complete)
					}
				}
				looked := 0
				_, complete = v.view.AnyChange(upTo, func(string) bool { looked++; return false }, 3)
				if complete && looked < len(got) {
					t.Fatalf("complete after %d of %d keys", looked, len(got))
				}
			}
		}
		for _, v := range views {
			v.view.Close()
		}
		tab.Release()
	}
}

// AnyChange does not look at versions that were dropped: the memory of a large
// one is gone, or another key's.
func TestAnyChangeSkipsWhatWasDropped(t *testing.T) {
	tab := New(0)
	version := int64(0)
	set := func(key string, n int) {
		version++
		tab.Apply([]Commit{{Ops: []Op{{Key: []byte(key), Value: make([]byte, n)}}, Version: version}})
	}
	changed := func(v *View, upTo int64) (keys []string) {
		v.AnyChange(upTo, func(key string) bool { keys = append(keys, key); return false }, 0)
		slices.Sort(keys)
		return slices.Compact(keys)
	}
	set("large", 1)
	v := tab.View()
	set("large", maxPackedBytes+1)
	later := tab.View()
	set("large", maxPackedBytes+1)
	later.Close() // drops what it alone has seen
	if got := changed(v, version); !slices.Equal(got, []string{"large"}) {
		t.Errorf("changed: %q", got)
	}
	upTo := version
	set("other", maxPackedBytes+1)
	another := tab.View()
	set("other", maxPackedBytes+1) // what it replaces is kept where the dropped one was
	if got := changed(v, upTo); !slices.Equal(got, []string{"large"}) {
		t.Errorf("changed: %q", got)
	}
	another.Close()
	v.Close()
	tab.Release()
}

// AnyChange looks at about as many changes as it was asked to.
func TestAnyChangeStops(t *testing.T) {
	const changes, most = 50_000, 1000
	const page = oldPageBytes / (oldHeader + recordHeader) // more than fit
	tab := New(0)
	v := tab.View()
	var ops []Op
	for i := range changes {
		ops = append(ops, Op{Key: fmt.Append(nil, i)})
	}
	tab.Apply([]Commit{{Ops: ops, Version: 1}})
	looked := 0
	found, complete := v.AnyChange(1, func(string) bool { looked++; return false }, most)
	if found || complete || looked < most || looked > most+page {
		t.Errorf("found %v, complete %v after %d changes", found, complete, looked)
	}
	v.Close()
	tab.Release()
}
