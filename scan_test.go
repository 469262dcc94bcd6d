package kvstore_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"kvstore"
	"kvstore/internal/testseed"
)

// This file is about scans.

// scanned returns what Scan must show of a state.
func scanned(state map[string]string, r kvstore.Range) []string {
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(state)), func(key string) bool {
		return key < r.From || r.To != "" && key >= r.To || !strings.HasPrefix(key, r.Prefix)
	})
	if r.Reverse {
		slices.Reverse(keys)
	}
	if r.Limit > 0 {
		keys = keys[:min(len(keys), r.Limit)]
	}
	return keys
}

var ranges = rapid.Custom(func(t *rapid.T) kvstore.Range {
	bound := rapid.OneOf(keys, rapid.SampledFrom([]string{"", "a\x00", "\xff", "e\x00", "KV", "\xff\xff", "z"}))
	return kvstore.Range{
		From: bound.Draw(t, "from"), To: bound.Draw(t, "to"), Prefix: bound.Draw(t, "prefix"),
		Reverse: rapid.Bool().Draw(t, "reverse"), Limit: rapid.IntRange(-1, 5).Draw(t, "limit"),
	}
})

// wantScan checks that pairs are those of a state within a range, in order.
func wantScan(t tester, state map[string]string, r kvstore.Range, pairs func(func(string, []byte) bool)) {
	t.Helper()
	want, got := scanned(state, r), []string(nil)
	for key, value := range pairs {
		if got = append(got, key); value == nil || string(value) != state[key] {
			t.Fatalf("Scan(%+v) shows %.40q under %q, want %.40q", r, value, key, state[key])
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("Scan(%+v) shows %q, want %q", r, got, want)
	}
}

// tester is what a test and a rapid check have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Every combination of bounds is compared with a sorted list, over keys at the
// edges of what a byte can be.
func TestScanOfEveryRange(t *testing.T) {
	r := newRig(t)
	s := r.open()
	state := map[string]string{}
	edges := []string{
		"", "\x00", "a", "a\x00", "a\x00b", "a\xff", "a\xff\xff", "b", "ba", "c",
		"\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff",
	}
	for _, key := range edges {
		state[key] = "value of " + key
		r.set(s, key, state[key])
	}
	r.set(s, "gone", "1")
	r.ok(s.Delete("gone"))
	bounds := append(slices.Clone(edges), "`", "aa", "bb", "zzz")
	for _, from := range bounds {
		for _, to := range bounds {
			for _, prefix := range bounds {
				for _, limit := range []int{-1, 0, 1, 3} {
					for _, reverse := range []bool{false, true} {
						r := kvstore.Range{From: from, To: to, Prefix: prefix, Reverse: reverse, Limit: limit}
						wantScan(t, state, r, s.Scan(r))
					}
				}
			}
		}
	}
	wantScan(t, state, kvstore.Prefix("a"), s.Scan(kvstore.Prefix("a")))
}

// A loop that ends early, by break, a panic or Goexit, leaves no view open. Its
// body may use the store in any way.
func TestScanReleasesEverything(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1", "b", "2", "c", "3")
	all := s.Scan(kvstore.Range{})
	for range all {
		if n := s.Stats().Views; n != 1 {
			t.Fatalf("%d views in a loop", n)
		}
		break
	}
	func() {
		defer func() {
			if recover() != "fell" {
				t.Error("the panic is lost")
			}
		}()
		for range all {
			panic("fell")
		}
	}()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range all {
			runtime.Goexit()
		}
	})
	wg.Wait()
	if n := s.Stats().Views; n != 0 {
		t.Fatalf("%d views after the loops", n)
	}
}

func TestScanWithWritesInside(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "1", "b", "2", "c", "3")
	before := map[string]string{"a": "1", "b": "2", "c": "3"}
	wantScan(t, before, kvstore.Range{}, func(yield func(string, []byte) bool) {
		for key, value := range s.Scan(kvstore.Range{}) {
			r.ok(s.Delete(key))
			r.set(s, key+"'", "new", "c", "4")
			for inner, value := range s.Scan(kvstore.Range{Prefix: key + "'"}) {
				if inner != key+"'" || string(value) != "new" {
					t.Errorf("a scan inside shows %q, %q", inner, value)
				}
			}
			value[0]++ // it is ours
			value[0]--
			if !yield(key, value) {
				return
			}
		}
	})
	want := map[string]string{"a'": "new", "b'": "new", "c": "4", "c'": "new"}
	wantScan(t, want, kvstore.Range{}, s.Scan(kvstore.Range{}))
}

// P9: the pairs of a scan belong to the caller, which may change and append to
// them.
func TestP9ScannedPairsAreTheCallers(t *testing.T) {
	r := newRig(t)
	s := r.open()
	state := map[string]string{}
	for i, n := range []int{0, 1, 10, 1000, 1024, 1025, 5000, 300_000, 3, 1024} {
		key := string(rune('a' + i))
		state[key] = strings.Repeat(key, n)
		r.set(s, key, state[key])
	}
	v := r.view(s)
	for range 2 {
		values := map[string][]byte{}
		for key, value := range v.Scan(kvstore.Range{}) {
			values[key] = value
			_ = append(value, "behind it"...)
		}
		for key, value := range values {
			if string(value) != state[key] {
				t.Fatalf("%.20q, want %.20q", value, state[key])
			}
			for i := range value {
				value[i] = 'x'
			}
		}
		r.set(s, "e", "another", "g", "another") // the second time, the view has old states
	}
}

// An empty value is shown, even if no other value needs memory.
func TestScanShowsAnEmptyValue(t *testing.T) {
	r := newRig(t)
	s := r.open()
	r.set(s, "a", "")
	shown := 0
	for key, value := range s.Scan(kvstore.Range{}) {
		shown++
		if key != "a" || value == nil || len(value) != 0 {
			t.Errorf("%q has the value %#v", key, value)
		}
	}
	if shown != 1 {
		t.Errorf("%d pairs", shown)
	}
}

// P10: a loop that is under way when the store is closed goes on. Later loops
// show nothing. A loop over a view ends with the view.
func TestP10ScanAndClose(t *testing.T) {
	r := newRig(t)
	s := r.open()
	state := map[string]string{}
	for i := range 1000 {
		key := strings.Repeat("k", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		state[key] = key
		r.set(s, key, key)
	}
	v := r.view(s)
	n := 0
	for range v.Scan(kvstore.Range{}) {
		if n++; n == 10 {
			r.ok(v.Close())
		}
	}
	if n != 10 {
		t.Fatalf("a loop over a view that was closed after 10 pairs shows %d", n)
	}
	wantScan(t, nil, kvstore.Range{}, v.Scan(kvstore.Range{}))
	n = 0
	wantScan(t, state, kvstore.Range{}, func(yield func(string, []byte) bool) {
		for key, value := range s.Scan(kvstore.Range{}) {
			if n++; n == 10 {
				r.close(s)
			}
			if !yield(key, value) {
				return
			}
		}
	})
	wantScan(t, nil, kvstore.Range{}, s.Scan(kvstore.Range{}))
}

// While other goroutines write, delete and close views, each scan shows one
// moment, in order. So does the first one, which builds the index.
func TestScansAgainstWrites(t *testing.T) {
	r, rng := newRandomRig(t)
	s := r.open()
	const pairs = 200
	name := func(i int) string { return string(rune('a'+i%20)) + string(rune('a'+i/20)) }
	// Exactly one key of each pair is there at any moment: commits move a value
	// from one to the other.
	for i := range pairs {
		r.set(s, name(i)+"0", "")
	}
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 3 {
		seed := rng.Uint64()
		writers.Go(func() {
			for n := seed; ; n = n*6364136223846793005 + 1442695040888963407 {
				select {
				case <-stop:
					return
				default:
				}
				i := int(n>>33)%(pairs/3)*3 + w
				b := new(kvstore.Batch)
				from, to := name(i)+"0", name(i)+"1"
				if s.Has(to) {
					from, to = to, from
				}
				b.Delete(from)
				b.Set(to, nil)
				if err := s.Apply(t.Context(), b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 4 {
		readers.Go(func() {
			for range 60 {
				last, count := "", 0
				for key := range s.Scan(kvstore.Range{Reverse: n%2 == 0}) {
					order := cmp.Compare(last, key)
					if n%2 == 0 {
						order = -order
					}
					if count > 0 && (order >= 0 || key[:2] == last[:2]) {
						t.Errorf("%q after %q", key, last)
						return
					}
					last = key
					count++
				}
				if count != pairs {
					t.Errorf("%d keys, want %d", count, pairs)
					return
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	writers.Wait()
}

// KeysOnly leaves out the values, and Count counts what Scan shows.
func TestKeysOnlyAndCount(t *testing.T) {
	r := newRig(t)
	s := r.open()
	for i := range 1000 {
		r.set(s, fmt.Sprintf("%03d", i), strings.Repeat("v", i*10))
	}
	v, err := s.View()
	r.ok(err)
	defer func() { r.ok(v.Close()) }()
	r.ok(s.Delete("500"))
	for _, rg := range []kvstore.Range{
		{},
		{Limit: 7},
		{Limit: 2000},
		{Prefix: "5"},
		{Prefix: "5", Limit: 7, Reverse: true},
		{From: "498", To: "503"},
		{From: "x"},
		{From: "5", To: "4"},
		{Reverse: true},
		{Limit: -1},
	} {
		keysOnly := rg
		keysOnly.KeysOnly = true
		scans := map[string]func(kvstore.Range) iter.Seq2[string, []byte]{"store": s.Scan, "view": v.Scan}
		for name, scan := range scans {
			var want, got []string
			for key, value := range scan(rg) {
				if want = append(want, key); value == nil {
					t.Fatalf("%s %+v: %s has no value", name, rg, key)
				}
			}
			for key, value := range scan(keysOnly) {
				if got = append(got, key); value != nil {
					t.Fatalf("%s %+v: %s has a value", name, rg, key)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s %+v: %d keys, want %d", name, rg, len(got), len(want))
			}
			count := map[string]func(kvstore.Range) int{"store": s.Count, "view": v.Count}[name]
			if n := count(rg); n != len(want) {
				t.Errorf("%s %+v: Count %d, want %d", name, rg, n, len(want))
			}
		}
		r.ok(s.Update(ctx, func(tx *kvstore.Tx) error {
			tx.Set("501", []byte("own"))
			for key, value := range tx.Scan(keysOnly) {
				if value != nil {
					t.Errorf("in a transaction, %s has a value", key)
				}
			}
			return nil
		}))
	}
	r.ok(v.Close())
	if n := v.Count(kvstore.Range{Prefix: "5"}); n != 0 {
		t.Errorf("a closed view counts %d", n)
	}
	r.close(s)
	if n := s.Count(kvstore.Range{}); n != 0 {
		t.Errorf("a closed store counts %d", n)
	}
}

func TestDeleteRange(t *testing.T) {
	for _, c := range []struct {
		r    kvstore.Range
		left string
	}{
		{kvstore.Range{}, ""},
		{kvstore.Range{Prefix: "b"}, "a1 a2 c1"},
		{kvstore.Range{From: "a2", To: "c"}, "a1 c1"},
		{kvstore.Range{Limit: 2}, "b1 b2 c1"},
		{kvstore.Range{Limit: 2, Reverse: true}, "a1 a2 b1"},
		{kvstore.Range{Prefix: "x"}, "a1 a2 b1 b2 c1"},
	} {
		r := newRig(t)
		s := r.open()
		r.set(s, "a1", "", "a2", "", "b1", "", "b2", "", "c1", "")
		before := s.Stats().Commits
		n, err := s.DeleteRange(ctx, c.r)
		r.ok(err)
		left := strings.Join(slices.Sorted(slices.Values(s.Keys())), " ")
		if left != c.left || n != 5-len(strings.Fields(c.left)) {
			t.Errorf("%+v: %d keys deleted, %q left, want %q", c.r, n, left, c.left)
		}
		if commits := s.Stats().Commits - before; commits != uint64(min(n, 1)) {
			t.Errorf("%+v: %d commits", c.r, commits)
		}
		r.close(s)
		_, err = s.DeleteRange(ctx, c.r)
		r.fails(err, kvstore.ErrClosed)
	}
}

// Walk returns all keys, some at a time. A cursor is of one session.
func TestWalk(t *testing.T) {
	r := newRig(t)
	s := r.open()
	if keys, next, err := s.Walk(0, 10); len(keys) > 0 || next != 0 || err != nil {
		t.Errorf("in an empty store: %v, %d, %v", keys, next, err)
	}
	r.set(s, some(300)...)
	var all []string
	first, last := uint64(0), uint64(0)
	for cursor, calls := uint64(0), 0; calls == 0 || cursor != 0; calls++ {
		keys, next, err := s.Walk(cursor, 10)
		r.ok(err)
		if len(keys) > 30 {
			t.Errorf("%d keys at once", len(keys))
		}
		all = append(all, keys...)
		if cursor, last = next, cursor; calls == 0 {
			first = next
		}
	}
	slices.Sort(all)
	if want := slices.Sorted(slices.Values(s.Keys())); !slices.Equal(all, want) {
		t.Errorf("%d keys, want %d", len(all), len(want))
	}
	for _, cursor := range []uint64{1, 1 << 35, first ^ 1<<36, first ^ 1<<60, last | 1<<63} {
		_, _, err := s.Walk(cursor, 10)
		r.fails(err, kvstore.ErrCursor)
	}
	refused := 0
	for range 5 {
		s = r.reopenAfter(s, r.close)
		if _, _, err := s.Walk(first, 10); errors.Is(err, kvstore.ErrCursor) {
			refused++
		}
	}
	if refused < 4 { // by chance, one in 65,535 is not
		t.Errorf("%d of 5 sessions refuse the cursor of another one", refused)
	}
	r.close(s)
	_, _, err := s.Walk(0, 10)
	r.fails(err, kvstore.ErrClosed)
}

// The index of keys goes with the snapshot, and a store that was never scanned
// has none.
func TestIndexOutlivesTheSession(t *testing.T) {
	const keys = 3000
	for _, c := range []struct {
		name    string
		ordered bool
		scan    bool
		way     func(r *rig, s *kvstore.Store)
		index   bool
	}{
		{"never scanned", false, false, func(r *rig, s *kvstore.Store) { r.close(s) }, false},
		{"closed", false, true, func(r *rig, s *kvstore.Store) { r.close(s) }, true},
		{"ordered", true, false, func(r *rig, s *kvstore.Store) { r.close(s) }, true},
		{"killed after a snapshot", false, true, func(r *rig, s *kvstore.Store) {
			r.ok(s.Snapshot(ctx))
			r.set(s, "0100x", "new", "0200", "changed")
			r.ok(s.Delete("0300"))
			r.kill(s)
		}, true},
		{"killed", false, true, func(r *rig, s *kvstore.Store) { r.kill(s) }, false},
		{"restored", false, true, func(r *rig, s *kvstore.Store) {
			var file bytes.Buffer
			v, err := s.View()
			r.ok(err)
			_, err = v.WriteTo(&file)
			r.ok(err)
			r.ok(v.Close())
			r.kill(s)
			r.config.DataDir = "/data/another"
			r.ok(kvstore.RestoreFS(r.fs, r.config.DataDir, &file))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, kvstore.WithFirstSegmentBytes(1<<20))
			r.config.Ordered = c.ordered
			s := r.open()
			b := &kvstore.Batch{}
			for _, i := range testseed.Rand(t).Perm(keys) {
				b.Set(fmt.Sprintf("%04d", i), []byte("value"))
			}
			r.ok(s.Apply(ctx, b))
			if c.scan {
				s.Count(kvstore.Prefix("0"))
			}
			if kvstore.HasIndex(s) != (c.scan || c.ordered) {
				t.Errorf("index %v", kvstore.HasIndex(s))
			}
			r.set(s, "x", "1", "a", "2") // behind the index's building
			c.way(r, s)
			r.config.Ordered = false
			s = r.open()
			if kvstore.HasIndex(s) != c.index {
				t.Errorf("in the next session, index %v", kvstore.HasIndex(s))
			}
			r.set(s, "0400x", "new")
			r.ok(s.Delete("0500"))
			var got []string
			for key := range s.Scan(kvstore.Range{}) {
				got = append(got, key)
			}
			if want := slices.Sorted(slices.Values(s.Keys())); !slices.Equal(got, want) {
				t.Errorf("a scan shows %d keys, want %d", len(got), len(want))
			}
		})
	}
}
