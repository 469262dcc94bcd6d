package table

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// This file is about how long a lock is held: by number of keys and bytes, not
// by time.

// twoWindows fills a table with keys in order. The first key alone lies in
// shard 0, and the first key that a second window can have lies in shard 1.
func twoWindows(tab *Table) (keys []string) {
	for len(keys) < 4*maxLockedKeys {
		for n := 0; ; n++ {
			key := fmt.Sprintf("%06d %d", len(keys), n)
			shard := tab.hash(key) % shardCount
			if len(keys) == 0 && shard == 0 || len(keys) == windowKeys && shard == 1 || shard > 1 &&
				len(keys) != 0 && len(keys) != windowKeys {
				keys = append(keys, key)
				break
			}
		}
	}
	for i, key := range keys {
		tab.Apply([]Commit{{Ops: []Op{{Key: []byte(key), Value: []byte(key)}}, Version: int64(i + 1)}})
	}
	return keys
}

// waitUntilBlocked waits until a goroutine that is in a function waits for a
// lock.
func waitUntilBlocked(function string) {
	for !blockedIn(function) {
		runtime.Gosched()
	}
}

// lockApplying is what a commit has to wait for.
func lockApplying(tab *Table) {
	tab.applying.Lock()
	defer tab.applying.Unlock()
}

// A commit that waits for a read of many keys gets in after the first window of
// them. The read waits in its first window for shard 0, and would wait in the
// second one for shard 1 with the lock that the commit needs.
func TestLargeReadsLetCommitsIn(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	keys := twoWindows(tab)
	v := tab.View()
	defer v.Close()
	for range v.Scan(Bounds{}, Loop{}) {
		break // the index is built now
	}
	tab.Apply([]Commit{{Ops: []Op{{Key: []byte("later")}}, Version: v.Version() + 1}})
	values := make([][]byte, len(keys))
	shown := []string(nil)
	for _, read := range []func(){
		func() { v.MultiGet(values, keys) },
		func() { shown = keysOf(v.Scan(Bounds{}, Loop{})) },
	} {
		tab.shards[0].mu.Lock()
		tab.shards[1].mu.Lock()
		done, in := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); read() }()
		waitUntilBlocked("(*View).versionAt")
		go func() { defer close(in); lockApplying(tab) }()
		waitUntilBlocked("lockApplying")
		tab.shards[0].mu.Unlock()
		<-in
		tab.shards[1].mu.Unlock()
		<-done
	}
	for i, key := range keys {
		if string(values[i]) != key {
			t.Fatalf("%q under %q", values[i], key)
		}
	}
	if !slices.Equal(shown, keys) {
		t.Fatalf("%d keys of %d", len(shown), len(keys))
	}
}

// A view that is closed during a MultiGet leaves all values nil: those that
// were not read yet would look absent.
func TestMultiGetOfAViewThatIsClosed(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	keys := twoWindows(tab)
	v := tab.View()
	tab.Apply([]Commit{{Ops: []Op{{Key: []byte("later")}}, Version: v.Version() + 1}})
	values := make([][]byte, len(keys))
	done, closed := make(chan struct{}), make(chan struct{})
	tab.shards[0].mu.Lock()
	go func() { defer close(done); v.MultiGet(values, keys) }()
	waitUntilBlocked("(*View).versionAt")
	go func() { defer close(closed); v.Close() }()
	waitUntilBlocked("(*View).Close")
	tab.shards[0].mu.Unlock()
	<-closed
	<-done
	if i := slices.IndexFunc(values, func(value []byte) bool { return value != nil }); i >= 0 {
		t.Fatalf("value %d is %q", i, values[i])
	}
}

// Few keys are read under one lock, many keys and long values from a view.
func TestLargeReadsUseAView(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	value := make([]byte, maxLockedBytes/maxLockedKeys)
	keys := make([]string, maxLockedKeys+1)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
		tab.Apply([]Commit{{Ops: []Op{{Key: []byte(keys[i]), Value: value}}, Version: int64(i + 1)}})
	}
	long := []Op{{Key: []byte("long"), Value: make([]byte, maxCopyBytes+1)}}
	for i := range maxLockedBytes/maxCopyBytes + 1 {
		long = append(long, Op{Key: fmt.Append(nil, "copied ", i), Value: make([]byte, maxCopyBytes)})
	}
	tab.Apply([]Commit{{Ops: long, Version: int64(len(keys) + 1)}})
	multiGet := func(keys []string) func() int {
		return func() int {
			values := make([][]byte, len(keys))
			tab.MultiGet(values, keys)
			return len(bytes.Join(values, nil))
		}
	}
	get := func() int { value, _ := tab.Get(nil, "long"); return len(value) }
	copied := []string{"copied 0", "copied 1", "copied 2", "copied 3", "copied 4"}
	if tab.multiGet(make([][]byte, len(copied)), copied) {
		t.Error("long values are copied under one lock")
	}
	for _, c := range []struct {
		read func() int
		in   string
		want int
	}{
		{multiGet(keys[:maxLockedKeys]), "(*Table).multiGet", maxLockedBytes},
		{multiGet(keys), "(*Table).openView", maxLockedBytes + len(value)},
		{get, "(*Table).openView", maxCopyBytes + 1},
	} {
		got := make(chan int, 1)
		tab.applying.Lock()
		go func() { got <- c.read() }()
		for len(got) == 0 && !blockedIn(c.in) {
			runtime.Gosched()
		}
		early := len(got) > 0
		tab.applying.Unlock()
		if n := <-got; n != c.want || early {
			t.Errorf("%d bytes, want %d, in %s: %v", n, c.want, c.in, !early)
		}
	}
	if n := multiGet(copied)(); n != len(copied)*maxCopyBytes {
		t.Errorf("%d bytes of long values", n)
	}
	if n, _, _ := tab.Views(); n != 0 {
		t.Errorf("%d views are left", n)
	}
}

// Long keys are taken from the index a few at a time.
func TestScanOfLongKeys(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	const size = 65_535 - 6 // besides the number: the longest keys that there are
	var want []string
	for i := range 3 * maxLockedBytes / size {
		want = append(want, fmt.Sprintf("%06d", i)+strings.Repeat("k", size))
		tab.Apply([]Commit{{Ops: []Op{{Key: []byte(want[i])}}, Version: int64(i + 1)}})
	}
	v := tab.View()
	defer v.Close()
	for _, reverse := range []bool{false, true} {
		if got := keysOf(v.Scan(Bounds{}, Loop{Reverse: reverse})); !slices.Equal(got, want) {
			t.Fatalf("reverse %v: %d keys of %d", reverse, len(got), len(want))
		}
		slices.Reverse(want)
	}
	var keys keyList
	more := tab.index.Load().next(&Bounds{}, 0, false, maxScanKeys, &keys)
	if !more || len(keys.bytes) > maxLockedBytes+len(want[0]) {
		t.Fatalf("%d bytes of keys under one lock, more: %v", len(keys.bytes), more)
	}
}
