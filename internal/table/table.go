// Package table is the store's memory: a hash table of keys and values. It
// contains no pointers, so that the garbage collector has nothing to scan, and
// it is sharded, so that readers and the one writer seldom meet. A read costs
// two cache misses, one for the slot and one for the record that the slot leads
// to.
//
// A key may have a deadline. From then on it is due, and no read shows it any
// more, until the goroutine that applies changes deletes it. A key without one
// costs nothing for that, neither memory nor a look at the clock.
//
// Any number of goroutines may read. One goroutine at a time may call Begin,
// Publish, Apply, All or Release. Between Begin and Publish, several may call
// Stage together. Load is for a table that nobody else uses yet. No method does
// I/O or calls out while it holds a lock, but for a look at the clock.
package table

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"kvstore/internal/format"
)

// shardCount is a power of two. It is large enough that a batch of a few keys
// disturbs few readers, and that a shard of a huge table grows within some
// milliseconds. It is small enough that a batch of a thousand keys locks each
// shard once for several of them.
const shardCount = 128

// Table maps keys to values. It copies both in and out.
type Table struct {
	seed  maphash.Seed // immutable
	mask  uint64       // immutable; tests clear bits to get equal hashes
	id    uint16       // immutable: see ID
	arena *arena       // immutable: the shards' memory

	cleanup runtime.Cleanup // immutable: releases the arena if the table is not released

	clock func() int64         // immutable: see UseClock; may be nil
	held  atomic.Pointer[held] // see Hold; nil for none

	length  atomic.Int64 // keys, also those that are due; written under the locks of the shards that a commit changes
	version atomic.Int64 // likewise: of the last commit applied

	// The index of deadlines, beside what the shards have of it. It is written
	// while applying is held, but for what was loaded.
	expiring atomic.Int64      // keys that have a deadline
	soonest  atomic.Int64      // the least of soonests, or less while a commit is published
	soonests [shardCount]int64 // a bound below each shard's deadlines, see deadlines.soonest
	stale    atomic.Bool       // some shards were loaded, see sortLoaded
	sorting  sync.Mutex        // held while they are sorted, and taken before applying
	leaves   leafMemory        // owned by the goroutine that applies changes

	// applying is held while the state that readers see changes, in addition to
	// the locks of the shards that change. A reader that holds it sees one
	// state of the table and needs no shard's lock.
	applying sync.RWMutex
	shards   [shardCount]shard

	// usual is the size of a recently written record. It says how much of a
	// record is worth loading into the cache at once.
	usual atomic.Int64

	views   views
	history historyLog            // of the versions that views need
	index   atomic.Pointer[index] // the keys in order; nil before the first scan; stored while applying is held
	work    *work                 // owned by the goroutine that applies changes, shared with those that stage
}

// Pair is a key and its value, as in a snapshot.
type Pair = format.Pair

// Op changes one key: it sets it, deletes it, or changes its deadline alone.
// The table does not keep Key or Value.
type Op struct {
	Key      []byte
	Value    []byte
	Deadline int64 // when the key is gone, in ns since 1970; 0 for never
	Delete   bool
	Touch    bool // only the deadline changes, and only if the key is there
}

// Commit is a change that readers see as one. A reader that has seen a part of
// it sees all of it from then on.
type Commit struct {
	Ops     []Op
	Version int64
}

// New returns an empty table with room for about this many keys.
func New(keys int) *Table { return newTable(keys, ^uint64(0)) }

func newTable(keys int, mask uint64) *Table {
	t := &Table{seed: maphash.MakeSeed(), mask: mask, id: newID(), arena: newArena(), work: new(work)}
	t.history.arena, t.leaves.arena = t.arena, t.arena
	each := (keys + keys/16) / shardCount        // more than its share, because shards do not get exactly as many keys
	small := make([]uint64, shardCount*minSlots) // one allocation for all shards that need no more
	for i := range t.shards {
		s := &t.shards[i]
		s.lean = i % leanSteps
		slots := small[i*minSlots:][:minSlots:minSlots]
		if n := s.slotsFor(each); n > minSlots {
			slots = allocSlots(t.arena, n)
		}
		s.setSlots(slots)
		t.soonests[i] = noDeadline
	}
	t.soonest.Store(noDeadline)
	t.views.newest.Store(-1)
	// The garbage collector does not know the arena's memory, so a table that
	// becomes unreachable without Release must release it.
	t.cleanup = runtime.AddCleanup(t, (*arena).release, t.arena)
	return t
}

// Release gives the table's memory back: at once, or when the last open view
// closes. The caller must not change the table afterwards. A reader finds it
// empty once the memory is released.
func (t *Table) Release() {
	t.views.mu.Lock()
	t.views.released = true
	last := t.views.idle()
	t.views.mu.Unlock()
	if last {
		t.release()
	}
}

// release is Release after the last view was closed.
func (t *Table) release() {
	t.applying.Lock()
	defer t.applying.Unlock()
	empty := make([]uint64, minSlots)
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.count, s.expiring = 0, 0
		s.setSlots(empty)
		s.slabs = slabs{}
		s.history = historyIndex{}
		s.deadlines = deadlines{}
		t.soonests[i] = noDeadline
		s.mu.Unlock()
	}
	t.history.clear()
	t.index.Store(nil)
	t.length.Store(0)
	t.expiring.Store(0)
	t.soonest.Store(noDeadline)
	t.stale.Store(false)
	t.leaves = leafMemory{}
	t.arena.release()
	t.cleanup.Stop() // a pending cleanup would keep the table from the garbage collector for some more cycles
}

func (t *Table) hash(key string) uint64 { return maphash.String(t.seed, key) & t.mask }

// shardOf returns the shard of a hash. It uses the lower bits, because slots
// use the upper ones.
func (t *Table) shardOf(hash uint64) *shard { return &t.shards[hash%shardCount] }

// Get appends key's value to dst and returns the result, which is not nil, and
// true. If key is absent it returns dst and false.
func (t *Table) Get(dst []byte, key string) ([]byte, bool) {
	hash := t.hash(key)
	s := t.shardOf(hash)
	s.mu.RLock()
	slot, r := s.find(hash, key)
	if slot < 0 || r.isVolatile() && t.hides(&moment{}, r) {
		s.mu.RUnlock()
		return dst, false
	}
	if r.valueLen() > maxCopyBytes {
		s.mu.RUnlock()
		return t.getLarge(dst, key)
	}
	dst = appendValue(dst, r.value())
	s.mu.RUnlock()
	return dst, true
}

// getLarge is Get of a value that takes long to copy. It copies from a view,
// which keeps the value in its place without a lock.
func (t *Table) getLarge(dst []byte, key string) ([]byte, bool) {
	v := t.View()
	if v == nil {
		return dst, false
	}
	defer v.Close()
	return v.Get(dst, key)
}

// appendValue is append, but never returns nil, so that an empty value differs
// from an absent one.
func appendValue(dst, value []byte) []byte {
	if dst == nil && len(value) == 0 {
		return []byte{}
	}
	return append(dst, value...)
}

// Has reports whether key is present.
func (t *Table) Has(key string) bool {
	hash := t.hash(key)
	s := t.shardOf(hash)
	s.mu.RLock()
	slot, r := s.find(hash, key)
	found := slot >= 0 && (!r.isVolatile() || !t.hides(&moment{}, r))
	s.mu.RUnlock()
	return found
}

const (
	// windowKeys is how many keys are looked up at once. That is more than a
	// processor can have cache misses under way, and few enough that what the
	// first pass has loaded into the cache is still there in the last pass.
	windowKeys = 64

	// Values of up to maxSharedBytes are copied side by side into pieces of
	// memory of at most sharedBytes.
	sharedBytes    = 32 << 10
	maxSharedBytes = 1 << 10

	// No caller decides how long a lock is held. Under one acquisition of a
	// lock that the writer may wait for, at most maxLockedKeys keys are looked
	// up, and about maxLockedBytes are copied: tens of microseconds. A value
	// beyond maxCopyBytes is copied without any lock.
	maxLockedKeys  = 256
	maxLockedBytes = 256 << 10
	maxCopyBytes   = 64 << 10
)

// MultiGet sets the elements of values to the values of keys, as they were at
// one moment. values must be as long as keys, and its elements nil, which those
// of absent keys stay. MultiGet makes its cache misses overlap: it looks at the
// slots of many keys, then at the records that the slots lead to, and then
// reads the values.
//
// A few keys are looked up under one lock. More, or those of long values, are
// looked up in a view, a window of them at a time.
func (t *Table) MultiGet(values [][]byte, keys []string) {
	if len(keys) <= maxLockedKeys && t.multiGet(values, keys) {
		return
	}
	clear(values)
	v := t.View()
	if v == nil {
		return
	}
	defer v.Close()
	v.MultiGet(values, keys)
}

// multiGet is MultiGet under one lock. It gives up and returns false if the
// values are too long for that.
func (t *Table) multiGet(values [][]byte, keys []string) bool {
	var hashes, slots [windowKeys]uint64
	var found [windowKeys]record
	var shared []byte
	var m moment
	t.applying.RLock()
	defer t.applying.RUnlock()
	for bytes := 0; len(keys) > 0; {
		n := min(len(keys), windowKeys)
		for i, key := range keys[:n] {
			hashes[i] = t.hash(key)
		}
		t.locate(&slots, hashes[:n])
		need, sum := 0, byte(0)
		for i, key := range keys[:n] {
			found[i] = t.shardOf(hashes[i]).findAt(slots[i], hashes[i], key)
			switch r := found[i]; {
			case r == nil:
			case r.isVolatile() && t.hides(&m, r):
				found[i] = nil
			default:
				bytes += r.valueLen()
				if r.valueLen() <= maxSharedBytes {
					need += r.valueLen()
				}
			}
		}
		if bytes > maxLockedBytes {
			return false
		}
		for _, r := range found[:n] {
			if r != nil {
				sum += r.touch()
			}
		}
		runtime.KeepAlive(sum)
		for i, r := range found[:n] {
			switch {
			case r == nil:
			case r.valueLen() > maxSharedBytes:
				values[i] = append([]byte(nil), r.value()...)
			default:
				values[i], shared = copyShared(r.value(), shared, need)
				need -= len(values[i])
			}
		}
		keys, values = keys[n:], values[n:]
	}
	return true
}

// copyShared copies value into shared. If value does not fit, it copies it into
// new memory that has room for the need bytes of values that are still to come,
// including this one. It returns the copy and the memory that remains.
func copyShared(value, shared []byte, need int) (clone, rest []byte) {
	if shared == nil || len(value) > len(shared) {
		shared = make([]byte, max(len(value), min(need, sharedBytes)))
	}
	n := copy(shared, value)
	return shared[:n:n], shared[n:]
}

// Keys returns all keys in no order, as they were at one moment between two
// commits; nil if the table was released.
func (t *Table) Keys() []string {
	v := t.View()
	if v == nil {
		return nil
	}
	defer v.Close()
	keys := make([]string, 0, v.Len())
	for w := range v.windows(true, false) {
		for _, p := range w.pairs {
			keys = append(keys, string(p.Key))
		}
	}
	return keys
}

// Memory returns how many bytes the table has from the system, and how many of
// them hold slots, records or old states. Records that are dead count as long
// as their slab has a living one.
func (t *Table) Memory() (mapped, used int64) {
	return t.arena.mapped.Load(), t.arena.used.Load()
}

// Version returns the version of the last commit applied, 0 if there was none.
func (t *Table) Version() int64 { return t.version.Load() }

// All iterates over all pairs, those that are due too, without locks, in the
// order of keys if the table has its index. The caller must make sure that no
// changes are applied meanwhile, must not modify the pairs, and must not keep
// them beyond the loop's body.
func (t *Table) All() iter.Seq[Pair] {
	if x := t.builtIndex(); x != nil {
		return x.pairs(t)
	}
	return func(yield func(Pair) bool) {
		for i := range t.shards {
			for r := range t.shards[i].records {
				if !yield(r.pair()) {
					return
				}
			}
		}
	}
}

// records iterates over a shard's records. It works on one window of them at a
// time, so that their cache misses overlap.
func (s *shard) records(yield func(record) bool) {
	var window [windowKeys]record
	for at := 0; at < len(s.slots); at += len(window) {
		n, sum := 0, byte(0)
		for _, slot := range s.slots[at:min(at+len(window), len(s.slots))] {
			if slot != 0 {
				window[n] = s.slabs.at(slot & placeMask)
				sum += window[n][0]
				n++
			}
		}
		runtime.KeepAlive(sum)
		for _, r := range window[:n] {
			if !yield(r) {
				return
			}
		}
	}
}

// touchedShards is a set of shards.
type touchedShards [shardCount / 64]uint64

func (ts *touchedShards) add(hash uint64) {
	i := hash % shardCount
	ts[i/64] |= 1 << (i % 64)
}

// all iterates over the set in rising order, which is the order in which locks
// are taken.
func (ts *touchedShards) all(yield func(int) bool) {
	for i, word := range ts {
		for ; word != 0; word &= word - 1 {
			if !yield(i*64 + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}
