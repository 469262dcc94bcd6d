package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"kvstore/internal/testseed"
)

// check verifies the invariants that hold between two changes: every record is
// found by its key and counted in its slab, and the dead bytes are within
// bounds.
func (t *Table) check(tb rapid.TB) {
	tb.Helper()
	keys := 0
	for i := range t.shards {
		s := &t.shards[i]
		live := map[uint32]int{}
		count := 0
		for at, slot := range s.slots {
			if slot == 0 {
				continue
			}
			count++
			r := s.slabs.at(slot & placeMask)
			hash := t.hash(string(r.key()))
			if found, _ := s.find(hash, string(r.key())); found != at || t.shardOf(hash) != s {
				tb.Fatalf("shard %d: the key in slot %d is found in %d", i, at, found)
			}
			live[uint32(slot&placeMask>>offsetBits)] += r.size()
		}
		if count != s.count || count > s.maxLoad(len(s.slots)) || s.staged != 0 {
			tb.Fatalf("shard %d: %d slots of %d are in use, counted %d, %d staged",
				i, count, len(s.slots), s.count, s.staged)
		}
		if len(s.slots) > minSlots && count < len(s.slots)/16 {
			tb.Fatalf("shard %d: %d slots for %d keys", i, len(s.slots), count)
		}
		keys += count
		s.slabs.check(tb, live)
	}
	if keys != t.Size() {
		tb.Fatalf("Size %d, %d keys", t.Size(), keys)
	}
}

func (l *slabs) check(tb rapid.TB, live map[uint32]int) {
	tb.Helper()
	used, dead, mapped := 0, 0, 0
	for n, mem := range l.mem {
		use := l.use[n]
		if int(use.used-use.dead) != live[uint32(n)] || int(use.used) > len(mem) {
			tb.Fatalf("slab %d of %d bytes: %d used, %d dead, %d live",
				n, len(mem), use.used, use.dead, live[uint32(n)])
		}
		used, dead, mapped = used+int(use.used), dead+int(use.dead), mapped+len(mem)
	}
	if used != l.used || dead != l.dead || mapped != l.mapped {
		tb.Fatalf("used %d, dead %d, mapped %d; counted %d, %d, %d", used, dead, mapped, l.used, l.dead, l.mapped)
	}
	if dead > l.allowedDead(true) {
		tb.Fatalf("%d dead bytes of %d, allowed %d", dead, used, l.allowedDead(true))
	}
}

// model is the expected content of a table.
type model map[string][]byte

func (m model) compare(tb rapid.TB, t *Table) {
	tb.Helper()
	got := 0
	for p := range t.All() {
		key, value := string(p.Key), p.Value
		if want, ok := m[key]; !ok || !bytes.Equal(want, value) {
			tb.Fatalf("%q is %d bytes, want %d, %v", key, len(value), len(want), ok)
		}
		got++
	}
	if got != len(m) {
		tb.Fatalf("%d pairs, want %d", got, len(m))
	}
	keys := append([]string{"", "absent"}, t.Keys()...)
	values := make([][]byte, len(keys))
	t.MultiGet(values, keys)
	for i, key := range keys {
		want, present := m[key]
		if value, ok := t.Get(nil, key); ok != present || !bytes.Equal(value, want) || t.Has(key) != present {
			tb.Fatalf("Get(%q): %d bytes, %v", key, len(value), ok)
		}
		if (values[i] != nil) != present || !bytes.Equal(values[i], want) {
			tb.Fatalf("MultiGet(%q): %d bytes", key, len(values[i]))
		}
	}
}

// fewer returns a fifth of n under the race detector, which takes ten times as
// long.
func fewer(n int) int {
	if raceEnabled {
		return n / 5
	}
	return n
}

// randomValue returns a value that is empty, small, or larger than a slab.
func randomValue(rng *rand.Rand) []byte {
	size := rng.IntN(40)
	switch rng.IntN(20) {
	case 0:
		size = rng.IntN(2 * maxInPlaceBytes)
	case 1:
		size = maxPackedBytes - 32 + rng.IntN(64)
	case 2:
		size = rng.IntN(3 * maxSlabBytes)
	}
	return bytes.Repeat([]byte{byte(rng.Uint32())}, size)
}

// A table agrees with a map after random groups of commits, with many keys and
// few, values of all sizes, and hashes that are equal in all bits, in the bits
// of the slot, or in those of the shard.
func TestGroupsAgreeWithAMap(t *testing.T) {
	for _, mask := range []uint64{^uint64(0), 0, 1, 0xff, 3<<62 | 1} {
		for _, keys := range []int{3, 40, 1000} {
			t.Run(fmt.Sprintf("mask=%x/keys=%d", mask, keys), func(t *testing.T) {
				rng := testseed.Rand(t)
				tab, m := newTable(0, mask), model{}
				defer tab.Release()
				version := int64(0)
				for range fewer(60) {
					deletes := rng.IntN(4) // in some rounds the table grows, in others it shrinks
					var group []Commit
					for range 1 + rng.IntN(80) {
						c := Commit{}
						for range 1 + rng.IntN(1+rng.IntN(12)) {
							op := Op{Key: fmt.Appendf(nil, "key %d", rng.IntN(keys)), Value: randomValue(rng)}
							if op.Delete = rng.IntN(4) < deletes; op.Delete {
								op.Value = nil
								delete(m, string(op.Key))
							} else {
								m[string(op.Key)] = op.Value
							}
							c.Ops = append(c.Ops, op)
						}
						version++
						c.Version = version
						group = append(group, c)
					}
					tab.Apply(group)
					tab.check(t)
					if tab.Version() != version {
						t.Fatalf("version %d, want %d", tab.Version(), version)
					}
				}
				m.compare(t, tab)
			})
		}
	}
}

// Compaction preserves live records. Small records of all sizes in one shard
// are replaced and deleted again and again, so that every slab is compacted
// many times.
func TestCompactionPreservesLiveRecords(t *testing.T) {
	const keys, writes = 300, 30_000
	rng := testseed.Rand(t)
	tab, m := newTable(0, 0), model{}
	defer tab.Release()
	for version := range int64(writes) {
		key, value := fmt.Appendf(nil, "key %d", rng.IntN(keys)), bytes.Repeat([]byte{byte(version)}, rng.IntN(600))
		op := Op{Key: key, Value: value}
		if op.Delete = rng.IntN(8) == 0; op.Delete {
			op.Value = nil
			delete(m, string(op.Key))
		} else {
			m[string(op.Key)] = op.Value
		}
		tab.Apply([]Commit{{Ops: []Op{op}, Version: version + 1}})
		if version%1000 == 999 {
			tab.check(t)
			m.compare(t, tab)
		}
	}
}

// A table that is emptied gives its memory back, also while it is loaded. What
// it keeps does not grow when it is filled and emptied again.
func TestDeletedMemoryComesBack(t *testing.T) {
	change := map[string]func(tab *Table, ops []Op, version int64){
		"one by one": func(tab *Table, ops []Op, version int64) {
			for i := range ops {
				tab.Apply([]Commit{{Ops: ops[i:][:1], Version: version}})
			}
		},
		"loaded": func(tab *Table, ops []Op, version int64) {
			for part := range slices.Chunk(ops, 1000) {
				tab.Load(part, version)
			}
		},
	}
	for name, change := range change {
		t.Run(name, func(t *testing.T) {
			tab := New(0)
			defer tab.Release()
			ops := make([]Op, fewer(50_000))
			value := bytes.Repeat([]byte("v"), 200)
			for version := range int64(6) {
				for key := range ops {
					ops[key] = Op{Key: fmt.Append(nil, key), Value: value, Delete: version%2 == 1}
				}
				change(tab, ops, version+1)
			}
			tab.check(t)
			slots, mapped := 0, 0
			for i := range tab.shards {
				slots += len(tab.shards[i].slots)
				mapped += tab.shards[i].slabs.mapped
			}
			if slots != shardCount*minSlots || mapped > shardCount*maxSlabBytes {
				t.Fatalf("an empty table has %d slots and %d bytes of slabs", slots, mapped)
			}
		})
	}
}

// A table that was made for many keys keeps the room for them until they are
// loaded.
func TestLoadKeepsTheRoomForMore(t *testing.T) {
	const keys = 100_000
	tab := New(keys)
	defer tab.Release()
	s := tab.shardOf(tab.hash("first"))
	slots := len(s.slots)
	tab.Load([]Op{{Key: []byte("first")}}, 1)
	if len(s.slots) != slots || s.maxLoad(slots) < keys/shardCount {
		t.Errorf("%d slots, %d when the table was made", len(s.slots), slots)
	}
}

// Overwriting leaves garbage in proportion, whatever keys are written and
// however sizes change. The mapped memory stays below 1.25 times the live
// bytes, plus the unused ends of slabs, plus a slab or two for each shard.
func TestGarbageIsBounded(t *testing.T) {
	const keys = 20_000
	writes := fewer(200_000)
	seed := testseed.New(t)
	for _, name := range []string{"uniform", "zipf", "one size", "large"} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			zipf := rand.NewZipf(rng, 1.1, 1, keys-1)
			tab, sizes := New(0), make([]int, keys)
			defer tab.Release()
			value := make([]byte, 40<<10)
			live := 0
			for i := range writes {
				key := uint64(rng.IntN(keys))
				size := rng.IntN(600)
				switch name {
				case "zipf":
					key = zipf.Uint64()
				case "one size":
					size = 300
				case "large":
					size = rng.IntN(len(value))
					if key %= 200; i > writes/10 {
						continue
					}
				}
				op := Op{Key: fmt.Append(nil, key), Value: value[:size]}
				tab.Apply([]Commit{{Ops: []Op{op}, Version: int64(i + 1)}})
				if sizes[key] > 0 {
					live -= sizes[key]
				}
				sizes[key] = recordBytes(len(op.Key), size, 0)
				live += sizes[key]
			}
			tab.check(t)
			used, mapped := 0, 0
			for i := range tab.shards {
				used += tab.shards[i].slabs.used
				mapped += tab.shards[i].slabs.mapped
			}
			t.Logf("%d bytes alive, %d used, %d mapped", live, used, mapped)
			if limit := live/4*5 + shardCount*maxSlabBytes/4; used > limit {
				t.Errorf("%d bytes used for %d alive, limit %d", used, live, limit)
			}
			if limit := used/8*9 + shardCount*maxSlabBytes; mapped > limit {
				t.Errorf("%d bytes mapped for %d used, limit %d", mapped, used, limit)
			}
		})
	}
}

// Records of any size, alone and overwritten with other sizes, leave little
// memory unused: an eighth of it, what garbage is allowed, and a slab or two.
func TestNoSizeWastesMemory(t *testing.T) {
	if !freesParts {
		t.Skip("SKIPPED, NOT TESTED HERE: memory of Go's heap is freed as a whole")
	}
	const most = 200_000
	rng := testseed.Rand(t)
	sizes := []int{11_000, 16_384, 16_400, 21_840, 32_740, 32_770, 65_536, most}
	for size := 1; size < most; size += 1 + size/8 + rng.IntN(1+size/16) {
		sizes = append(sizes, size)
	}
	for _, size := range sizes {
		tab, live, total := newTable(0, 0xffffffff00000000), map[int]int{}, 0 // one shard
		value, keys := make([]byte, size), 3<<20/(size+1000)
		set := func(key, size int) {
			op := Op{Key: fmt.Appendf(nil, "key %d", key), Value: value[:size]}
			tab.Apply([]Commit{{Ops: []Op{op}, Version: tab.Version() + 1}})
			record := recordBytes(len(op.Key), size, 0)
			total += record - live[key]
			live[key] = record
		}
		for key := range keys {
			set(key, size)
		}
		slabs := &tab.shards[0].slabs
		if limit := total/7*8 + maxSlabBytes; slabs.mapped > limit {
			t.Errorf("%d values of %d bytes: %d bytes of records take %d, limit %d",
				keys, size, total, slabs.mapped, limit)
		}
		for range 2 * keys {
			set(rng.IntN(keys), rng.IntN(size+1))
		}
		if limit := total/4*5/7*8 + 4*maxSlabBytes; slabs.mapped > limit {
			t.Errorf("%d values of up to %d bytes: %d bytes of records take %d, limit %d",
				keys, size, total, slabs.mapped, limit)
		}
		tab.check(t)
		tab.Release()
	}
}

// A slab that is too small for the next record gives back what it has left.
// Small and large records in turn make that much of each slab.
func TestSizesInTurnWasteNoMemory(t *testing.T) {
	if !freesParts {
		t.Skip("SKIPPED, NOT TESTED HERE: memory of Go's heap is freed as a whole")
	}
	for _, sizes := range [][2]int{{1000, 32_000}, {8000, 32_700}, {12_000, 32_000}, {20_000, 32_000}} {
		tab, total := newTable(0, 0xffffffff00000000), 0 // one shard
		for i := range 200 {
			op := Op{Key: fmt.Appendf(nil, "key %d", i), Value: make([]byte, sizes[i%2])}
			tab.Apply([]Commit{{Ops: []Op{op}, Version: tab.Version() + 1}})
			total += recordBytes(len(op.Key), len(op.Value), 0)
		}
		if mapped, limit := tab.shards[0].slabs.mapped, total/7*8+maxSlabBytes; mapped > limit {
			t.Errorf("values of %d bytes in turn: %d bytes of records take %d, limit %d", sizes, total, mapped, limit)
		}
		tab.check(t)
		tab.Release()
	}
}

// A pair takes no more than OPERATIONS says, also in a small store, which takes
// little memory ahead.
func TestMemoryOfAPair(t *testing.T) {
	if !freesParts {
		t.Skip("SKIPPED, NOT TESTED HERE: memory of Go's heap is freed as a whole")
	}
	const total, overhead, ahead = 40e6, 50, 16 << 20
	for _, size := range []int{128, 2000, 9000, 32_769} {
		tab, value, key := New(0), make([]byte, size), make([]byte, 16)
		pairs := int64(total / (len(key) + size))
		for n := range pairs {
			binary.BigEndian.PutUint64(key, uint64(n))
			tab.Apply([]Commit{{Ops: []Op{{Key: key, Value: value}}, Version: n + 1}})
		}
		data := pairs * int64(len(key)+size)
		mapped, used := tab.Memory()
		if limit := data + max(overhead*pairs, data/5); used > limit || mapped > used+ahead {
			t.Errorf("%d values of %d bytes: %d bytes take %d of %d, limit %d", pairs, size, data, used, mapped, limit)
		}
		tab.Release()
	}
}

// An arena reuses freed memory.
func TestArenaReuses(t *testing.T) {
	a := newArena()
	defer a.release()
	seen := map[*byte]bool{}
	for _, size := range []int{1, pageBytes, pageBytes + 1, maxSlabBytes, 3 * maxSlabBytes} {
		b := a.alloc(size)
		if len(b) != roundPages(size) {
			t.Fatalf("%d bytes for %d", len(b), size)
		}
		if seen[&b[0]] {
			t.Fatalf("given twice")
		}
		seen[&b[0]] = true
		for i := range b {
			b[i] = 0xff
		}
	}
	all := maps.Clone(seen)
	for range 3 { // more than keeps its pages
		var spans [][]byte
		for range 100 {
			b := a.alloc(maxSlabBytes)
			if all[&b[0]] && seen[&b[0]] {
				t.Fatal("given twice")
			}
			all[&b[0]] = true
			b[0], b[len(b)-1] = 1, 1
			spans = append(spans, b)
		}
		for _, b := range spans {
			a.free(b)
		}
	}
}

// Slots in reused memory must be empty.
func TestReusedSlotsAreEmpty(t *testing.T) {
	a := newArena()
	defer a.release()
	b := a.alloc(pageBytes)
	for i := range b {
		b[i] = 0xff
	}
	a.free(b)
	for i, slot := range allocSlots(a, pageBytes/8) {
		if slot != 0 {
			t.Fatalf("slot %d is %x", i, slot)
		}
	}
}

// Shards have about as many keys each, but do not all double their slots at
// about the same time, when they would wait for memory.
func TestShardsGrowOneAfterTheOther(t *testing.T) {
	const slots, step = 2048, 1000
	rng := testseed.Rand(t)
	tab := New(0)
	defer tab.Release()
	var grown []int // how many keys there were when each shard outgrew its slots
	for keys := 0; len(grown) < shardCount; keys += step {
		commit := Commit{Version: int64(keys + 1)}
		for range step {
			commit.Ops = append(commit.Ops, Op{Key: fmt.Append(nil, rng.Uint64())})
		}
		tab.Apply([]Commit{commit})
		for now := larger(tab, slots); len(grown) < now; {
			grown = append(grown, keys+step)
		}
	}
	tab.check(t)
	first, last := grown[shardCount/4], grown[shardCount*3/4]
	t.Logf("a quarter of the shards had grown at %d keys, three at %d", first, last)
	if last-first < last/18 {
		t.Error("half of the shards grow at the same time")
	}
}

// larger returns how many shards of a table have more than this many slots.
func larger(tab *Table, slots int) (n int) {
	for i := range tab.shards {
		if len(tab.shards[i].slots) > slots {
			n++
		}
	}
	return n
}

// A released table is empty for a reader that still holds it.
func TestRelease(t *testing.T) {
	tab := New(1000)
	tab.Load([]Op{{Key: []byte("a"), Value: []byte("1")}}, 1)
	tab.Release()
	values := [][]byte{nil}
	tab.MultiGet(values, []string{"a"})
	if _, ok := tab.Get(nil, "a"); ok || tab.Has("a") || tab.Len() != 0 || len(tab.Keys()) != 0 || values[0] != nil {
		t.Fatal("a released table has something")
	}
}
