package table_test

import (
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

	"kvstore/internal/table"
	"kvstore/internal/testseed"
)

func set(key, value string) table.Op { return table.Op{Key: []byte(key), Value: []byte(value)} }

// apply applies ops as one commit.
func apply(tab *table.Table, version int64, ops ...table.Op) {
	tab.Apply([]table.Commit{{Ops: ops, Version: version}})
}

func del(key string) table.Op { return table.Op{Key: []byte(key), Delete: true} }

// wantState compares everything that a table returns with a map.
func wantState(t *testing.T, tab *table.Table, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for p := range tab.All() {
		key, value := string(p.Key), p.Value
		if _, twice := got[key]; twice {
			t.Fatalf("All shows %q twice", key)
		}
		got[key] = string(value)
	}
	if !maps.Equal(got, want) {
		t.Fatalf("All: %.200v, want %.200v", got, want)
	}
	keys := slices.Sorted(slices.Values(tab.Keys()))
	if !slices.Equal(keys, slices.Sorted(maps.Keys(want))) {
		t.Fatalf("Keys: %.200q", keys)
	}
	if tab.Len() != len(want) {
		t.Fatalf("Len %d, want %d", tab.Len(), len(want))
	}
	for key, value := range want {
		if got, ok := tab.Get(nil, key); !ok || string(got) != value || !tab.Has(key) {
			t.Fatalf("Get(%q): %q, %v, Has %v; want %q", key, got, ok, tab.Has(key), value)
		}
	}
}

func TestEmpty(t *testing.T) {
	for _, keys := range []int{0, 1, 10_000} {
		tab := table.New(keys)
		wantState(t, tab, nil)
		if got, ok := tab.Get(nil, ""); ok || got != nil || tab.Has("") || tab.Version() != 0 {
			t.Fatalf("an empty table has something: %q, %v", got, ok)
		}
		apply(tab, 1, del("a"))
		wantState(t, tab, nil)
	}
}

// A table agrees with a map after random commits of all sizes. There are few
// keys, so that a commit often has a key twice.
func TestAgreesWithAMap(t *testing.T) {
	rng := testseed.Rand(t)
	tab, model := table.New(0), map[string]string{}
	for version := range int64(500) {
		var ops []table.Op
		for range rng.IntN(6) {
			key := string(slices.Repeat([]byte{byte(rng.IntN(20))}, rng.IntN(3))) // sometimes the empty key
			if rng.IntN(3) == 0 {
				ops = append(ops, del(key))
				delete(model, key)
				continue
			}
			value := strconv.Itoa(rng.IntN(1000))[rng.IntN(2):] // sometimes empty
			ops = append(ops, set(key, value))
			model[key] = value
		}
		apply(tab, version+1, ops...)
		wantState(t, tab, model)
		if tab.Version() != version+1 {
			t.Fatalf("version %d, want %d", tab.Version(), version+1)
		}
	}
}

func TestLaterOpsOfACommitWin(t *testing.T) {
	tab := table.New(0)
	apply(tab, 1, set("a", "1"), set("a", "2"), set("b", "1"), del("b"), del("c"), set("c", "1"))
	wantState(t, tab, map[string]string{"a": "2", "c": "1"})
	apply(tab, 2, del("a"), del("a"), set("c", "2"), del("c"), set("c", "3"))
	wantState(t, tab, map[string]string{"c": "3"})
}

func TestCopiesInAndOut(t *testing.T) {
	tab := table.New(0)
	key, value := []byte("key"), []byte("value")
	apply(tab, 1, table.Op{Key: key, Value: value})
	tab.Load([]table.Op{{Key: append([]byte("other "), key...), Value: value}}, 1)
	copy(key, "xxx")
	copy(value, "xxxxx")
	want := map[string]string{"key": "value", "other key": "value"}
	wantState(t, tab, want)
	got, _ := tab.Get(nil, "key")
	copy(got, "xxxxxxxxxxxxxxxx")
	wantState(t, tab, want)
	next, _ := tab.Get(nil, "other key")
	next = append(next, "!"...)
	if wantState(t, tab, want); string(next) != "value!" {
		t.Fatal(string(next))
	}
}

func TestGetAppends(t *testing.T) {
	tab := table.New(0)
	apply(tab, 1, set("a", "value"), set("empty", ""))
	dst := append(make([]byte, 0, 20), "dst:"...)
	for key, want := range map[string]string{"a": "dst:value", "empty": "dst:", "none": "dst:"} {
		got, ok := tab.Get(dst, key)
		if string(got) != want || ok != (key != "none") || &got[0] != &dst[0] {
			t.Errorf("Get(dst, %q): %q, %v", key, got, ok)
		}
	}
}

// Values from MultiGet may lie side by side in memory. Appending to one, or
// changing it, changes neither another value nor the table.
func TestMultiGetValuesAreTheirOwn(t *testing.T) {
	tab, want := table.New(0), map[string]string{}
	var ops []table.Op
	var keys []string
	for i := range 200 { // several windows of small values, with a large one now and then
		key, value := fmt.Sprint("key ", i), strings.Repeat(strconv.Itoa(i), 1+i%7)
		if i%50 == 0 {
			value = strings.Repeat("large ", 1000)
		}
		ops, keys, want[key] = append(ops, set(key, value)), append(keys, key), value
	}
	apply(tab, 1, ops...)
	values := make([][]byte, len(keys))
	tab.MultiGet(values, keys)
	for i := range values {
		_ = append(values[i], "clobbered"...)
	}
	for i, key := range keys {
		if string(values[i]) != want[key] {
			t.Fatalf("%q is %.100q after others were appended to, want %.100q", key, values[i], want[key])
		}
		clear(values[i])
	}
	wantState(t, tab, want)
}

func TestAllMayBeLeft(t *testing.T) {
	tab := table.New(0)
	apply(tab, 1, set("a", "1"), set("b", "1"))
	for range tab.All() {
		break // must not panic, and must not leave a lock held
	}
	apply(tab, 2, set("a", "2"), set("b", "2"))
	wantState(t, tab, map[string]string{"a": "2", "b": "2"})
}

func TestLoadInParallel(t *testing.T) {
	const workers, each = 8, 5000
	const again = "too long for the place of the first value"
	tab := table.New(workers * each)
	tab.Load(nil, 7)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			ops := make([]table.Op, each)
			for i := range ops {
				ops[i] = set(fmt.Sprint(w, " ", i), strconv.Itoa(i))
			}
			tab.Load(ops, 7)
			tab.Load([]table.Op{set(fmt.Sprint(w, " ", 0), again)}, 7) // must not count the key twice
		})
	}
	wg.Wait()
	if tab.Len() != workers*each || tab.Version() != 7 {
		t.Fatalf("%d keys of version %d, want %d of 7", tab.Len(), tab.Version(), workers*each)
	}
	for w := range workers {
		for i := range each {
			want := strconv.Itoa(i)
			if i == 0 {
				want = again
			}
			if got, ok := tab.Get(nil, fmt.Sprint(w, " ", i)); !ok || string(got) != want {
				t.Fatalf("%d %d: %q, %v", w, i, got, ok)
			}
		}
	}
}

// Every commit writes its number to all keys of a set, adds one more key and
// replaces another one. So each of Get, MultiGet, Has, Len, Keys and Version
// shows which commit the reader sees. After a reader has seen commit n, no
// later read of any kind may show an earlier one.
func TestCommitsAreSeenWhole(t *testing.T) {
	const keys, commits = 40, 4000
	tab := table.New(0)
	numbers := make([]string, keys) // names of the keys that hold the last commit's number
	for i := range numbers {
		numbers[i] = "number " + strconv.Itoa(i)
	}
	twice := slices.Concat(numbers, numbers)
	// Commit n adds "grow n". So Len and the number of Keys are keys + 1 + n.
	commit := func(n int) {
		now, last := strconv.Itoa(n), strconv.Itoa(n-1)
		ops := []table.Op{set("grow "+now, ""), del("only " + last), set("only "+now, "")}
		for _, key := range numbers {
			ops = append(ops, set(key, now))
		}
		apply(tab, int64(n), ops...)
	}
	commit(1)
	var done atomic.Bool
	var wg sync.WaitGroup
	for r := range max(4, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 0))
			var buf []byte
			byLen := false                                   // only Len has shown seen; Len changes just before Version
			for seen := 1; !done.Load(); runtime.Gosched() { // otherwise the writer gets a processor only every 10 ms
				n, how := 0, rng.IntN(50)
				switch {
				case how == 0:
					shown := tab.Keys()
					n = len(shown) - keys - 1
					if !slices.Contains(shown, "only "+strconv.Itoa(n)) {
						t.Errorf("%d keys, but not the one of commit %d", len(shown), n)
						return
					}
				case how < 5:
					n = tab.Len() - keys - 1
				case how < 10:
					n = int(tab.Version())
				case how < 13:
					n = seen
					for tab.Has("grow " + strconv.Itoa(n+1)) {
						n++
					}
				case how < 20:
					values := make([][]byte, 2*keys) // more keys than one window
					tab.MultiGet(values, twice)
					n, _ = strconv.Atoi(string(values[0]))
					for i, value := range values {
						if string(value) != string(values[0]) {
							t.Errorf("MultiGet shows commit %s under key %d, and %s under the first one",
								value, i, values[0])
							return
						}
					}
				default:
					buf, _ = tab.Get(buf[:0], numbers[rng.IntN(keys)])
					n, _ = strconv.Atoi(string(buf))
				}
				if how >= 5 && how < 10 && byLen && n == seen-1 {
					continue
				}
				if n < seen {
					t.Errorf("read of kind %d shows commit %d after another had shown %d", how, n, seen)
					return
				}
				// Len takes no lock, so it must have changed before the
				// commit's first lock is released.
				if length := tab.Len() - keys - 1; length < n {
					t.Errorf("Len shows commit %d after a read of kind %d had shown %d", length, how, n)
					return
				}
				switch {
				case how > 0 && how < 5:
					byLen = byLen || n > seen
				case how >= 10 && how < 13:
					byLen = byLen && n == seen
				default:
					byLen = false
				}
				// The same holds for Version. The number of keys changes before
				// it.
				if version := int(tab.Version()); version < n && !byLen {
					t.Errorf("Version shows commit %d after a read of kind %d had shown %d", version, how, n)
					return
				}
				seen = n
			}
		})
	}
	for n := 2; n <= commits; n++ {
		commit(n)
		runtime.Gosched()
	}
	done.Store(true)
	wg.Wait()
}

func TestReadingAllocatesNothing(t *testing.T) {
	tab := table.New(0)
	apply(tab, 1, set("a", "value"))
	dst := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		dst, _ = tab.Get(dst[:0], "a")
		_, _, _ = tab.Has("a"), tab.Len(), tab.Version()
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
