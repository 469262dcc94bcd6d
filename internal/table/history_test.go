package table

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"kvstore/internal/testseed"
)

// checkHistory verifies the invariants of old versions: each that was not
// dropped is in the chain of its key, from the newest to the oldest, and all
// that is used is counted.
func (t *Table) checkHistory(tb rapid.TB) {
	tb.Helper()
	chained, bytes := map[uint64]bool{}, 0
	for i := range t.shards {
		x := &t.shards[i].history
		bytes += x.check(tb)
		for _, slot := range x.from(slotAt{}) {
			newer := int64(1 << 62)
			for place := slot & oldPlaceMask; place != 0; place = t.history.at(place).older() {
				o := t.history.at(place)
				hash := t.hash(string(t.history.record(o).key()))
				if o.dropped() || o.until() >= newer || chained[place] || hash>>oldTagShift != slot>>oldTagShift ||
					hash%shardCount != uint64(i) {
					tb.Fatalf("shard %d: version %d, before %d, dropped %v", i, o.until(), newer, o.dropped())
				}
				newer, chained[place] = o.until(), true
			}
		}
	}
	live, paged := t.history.check(tb, chained)
	if live != len(chained) {
		tb.Fatalf("%d versions in pages, %d in chains", live, len(chained))
	}
	if counted := int(t.history.bytes.Load()); counted != bytes+paged {
		tb.Fatalf("%d bytes are counted, but %d in indexes and %d in pages are used", counted, bytes, paged)
	}
}

func (x *historyIndex) check(tb rapid.TB) (bytes int) {
	tb.Helper()
	last := uint64(0)
	for i, leaf := range x.leaves {
		if len(leaf) == 0 || len(leaf) >= leafSlots || cap(leaf) > 16 && len(leaf) < cap(leaf)/2 {
			tb.Fatalf("leaf %d has %d slots and room for %d", i, len(leaf), cap(leaf))
		}
		if first := uint64(x.firsts[i]); last > first && i > 0 || first > leaf[0]>>oldTagShift || i == 0 && first != 0 {
			tb.Fatalf("leaf %d from %x on begins with %x, after %x", i, first, leaf[0]>>oldTagShift, last)
		}
		for _, slot := range leaf {
			if slot>>oldTagShift < last {
				tb.Fatalf("leaf %d: %x after %x", i, slot>>oldTagShift, last)
			}
			last = slot >> oldTagShift
		}
		bytes += 8*cap(leaf) + leafOverhead
	}
	if bytes != x.bytes {
		tb.Fatalf("an index of %d bytes counts %d", bytes, x.bytes)
	}
	return bytes
}

// check returns the number of versions that were not dropped, and the bytes
// that are used.
func (l *historyLog) check(tb rapid.TB, chained map[uint64]bool) (live, bytes int) {
	tb.Helper()
	last, order := int64(0), int64(-1)
	for i, p := range l.pages {
		dead := 0
		for at := 0; at < p.used; {
			o := oldRecord(p.mem[at:])
			if o.until() < last {
				tb.Fatalf("page %d: a version that ended at %d lies behind one that ended at %d", i, o.until(), last)
			}
			last = o.until()
			if place := uint64(p.number)<<oldPageBits | uint64(at); o.dropped() {
				dead += o.size()
			} else if live++; !chained[place] {
				tb.Fatalf("page %d: no chain leads to the version at %d", i, at)
			} else if o.link()&oldAside != 0 {
				bytes += len((*l.dir.Load())[o.aside()])
			}
			at += o.size()
		}
		open := i == len(l.pages)-1
		if dead != p.dead || p.used > 0 && p.last != last || int64(p.order) <= order || !open && p.used == dead {
			tb.Fatalf("page %d of %d: %d bytes used, %d dead, counted %d, order %d after %d",
				i, len(l.pages), p.used, dead, p.dead, p.order, order)
		}
		if order = int64(p.order); open {
			bytes += p.used
		} else {
			bytes += len(p.mem)
		}
	}
	return live, bytes
}

// retained returns how many versions are retained.
func (t *Table) retained() (n int) {
	for _, p := range t.history.pages {
		for at := 0; at < p.used; at += oldRecord(p.mem[at:]).size() {
			if !oldRecord(p.mem[at:]).dropped() {
				n++
			}
		}
	}
	return n
}

// Closing a view drops what was retained for it alone, on all pages of the
// history, also on pages that begin with older versions.
func TestViewsDropPages(t *testing.T) {
	const keys, some = 10_000, 3_000
	tab := New(0)
	defer tab.Release()
	set := func(keys int) {
		for i := range keys {
			version := tab.Version() + 1
			op := Op{Key: fmt.Append(nil, i), Value: fmt.Append(nil, version)}
			tab.Apply([]Commit{{Ops: []Op{op}, Version: version}})
		}
	}
	set(keys)
	old := tab.View()
	set(some)
	middle := tab.View()
	set(keys)
	tab.checkHistory(t)
	if n := tab.retained(); n != keys+some || len(tab.history.pages) < 5 {
		t.Fatalf("%d versions are retained on %d pages, want %d", n, len(tab.history.pages), keys+some)
	}
	middle.Close()
	tab.checkHistory(t)
	if n := tab.retained(); n != keys {
		t.Fatalf("%d versions are retained for the older view, want %d", n, keys)
	}
	for i := range keys {
		if value, _ := old.Get(nil, strconv.Itoa(i)); string(value) != strconv.Itoa(i+1) {
			t.Fatalf("the older view shows %q under %d", value, i)
		}
	}
	old.Close()
	tab.checkHistory(t)
	if _, _, held := tab.Views(); held != 0 || len(tab.history.pages) > 1 {
		t.Fatalf("%d versions, %d bytes are retained for no view", tab.retained(), held)
	}
}

// An old version takes 40 bytes beside its key and value at most, and all of it
// is counted: of a key that was overwritten, deleted, or new.
func TestOldVersionsArePacked(t *testing.T) {
	const most, perShard = 40, 40
	for _, n := range []int{1, 100, 3000, 50_000} {
		for _, size := range []int{0, 1, 10, 128, 1000, 5000} {
			if n*size > 10<<20 || raceEnabled && n > 10_000 {
				continue
			}
			for _, kind := range []string{"overwritten", "deleted", "new"} {
				tab, value := New(0), bytes.Repeat([]byte("v"), size)
				change := func(value []byte, remove bool) (keys int64) {
					for i := range n {
						op := Op{Key: fmt.Append(nil, "key ", i), Value: value, Delete: remove}
						tab.Apply([]Commit{{Ops: []Op{op}, Version: tab.Version() + 1}})
						keys += int64(len(op.Key))
					}
					return keys
				}
				old := int64(size)
				if kind == "new" {
					old = 0
				} else {
					change(value, false)
				}
				v := tab.View()
				data := change([]byte("another"), kind == "deleted") + int64(n)*old
				tab.checkHistory(t)
				_, _, held := tab.Views()
				limit := data + most*int64(n) + perShard*int64(min(n, shardCount)) + oldPageBytes/slackShare
				if held > limit || held < data {
					t.Errorf("%d %s keys with values of %d bytes: %d bytes are held, at least %d, at most %d",
						n, kind, size, held, data, limit)
				}
				v.Close()
				tab.checkHistory(t)
				if _, _, held := tab.Views(); held != 0 {
					t.Errorf("%d bytes are held for no view", held)
				}
				tab.Release()
			}
		}
	}
}

// A view that is open for long retains little, though many short views come and
// go, for which much is retained in between.
func TestShortViewsLeaveNoGaps(t *testing.T) {
	const keys, size = 3000, 200
	rng := testseed.Rand(t)
	tab, value := New(0), make([]byte, size)
	defer tab.Release()
	set := func(key int) {
		op := Op{Key: fmt.Append(nil, key), Value: value}
		tab.Apply([]Commit{{Ops: []Op{op}, Version: tab.Version() + 1}})
	}
	for key := range keys {
		set(key)
	}
	long := tab.View()
	var short []*View
	for i := range 20 * keys {
		short = append(short, tab.View())
		if set(rng.IntN(10)); i%20 == 0 {
			set(i / 20)
		}
		if len(short) > 5 {
			at := rng.IntN(len(short))
			short[at].Close()
			short = append(short[:at], short[at+1:]...)
		}
	}
	tab.checkHistory(t)
	_, _, held := tab.Views()
	if limit := int64(2*keys*(size+40) + 4*oldPageBytes); held > limit {
		t.Errorf("%d bytes are held, limit %d", held, limit)
	}
	for _, v := range append(short, long) {
		v.Close()
	}
	tab.checkHistory(t)
	if _, _, held := tab.Views(); held != 0 {
		t.Errorf("%d bytes are held for no view", held)
	}
}

// A window has few pairs, also when a view shows many keys that the table does
// not have any more, or whose old values are long.
func TestWindowsAreBounded(t *testing.T) {
	for _, size := range []int{0, 10_000} {
		tab := newTable(0, 0xffffffff00000000) // one shard
		keys := 20_000
		if size > 0 {
			keys = 1000
		}
		for i := range keys {
			op := Op{Key: fmt.Append(nil, i), Value: make([]byte, size)}
			tab.Apply([]Commit{{Ops: []Op{op}, Version: tab.Version() + 1}})
		}
		v := tab.View()
		for i := range keys {
			op := Op{Key: fmt.Append(nil, i), Delete: i%10 > 0}
			tab.Apply([]Commit{{Ops: []Op{op}, Version: tab.Version() + 1}})
		}
		shown := 0
		for w := range v.windows(false, true) {
			shown += len(w.pairs)
			if len(w.pairs) > 2*windowSlots || len(w.bytes) > windowBytes+100*(size+10) {
				t.Fatalf("a window has %d pairs and %d bytes", len(w.pairs), len(w.bytes))
			}
		}
		if shown != keys {
			t.Fatalf("%d keys of %d", shown, keys)
		}
		v.Close()
		tab.Release()
	}
}
