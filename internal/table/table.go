// Package table is the store's memory: a hash table of keys and values, sharded so that readers and the one writer
// seldom meet.
//
// Any number of goroutines may read; one at a time may call Apply or All. No method does I/O or calls out while it holds a lock.
package table

import (
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
)

// shardCount is a power of two, large enough that a batch of a few keys leaves most readers alone, and small enough
// that one of thousands of keys locks each shard once for several of its keys.
const shardCount = 256

// Table maps keys to values. Both are copied in and out.
type Table struct {
	seed    maphash.Seed // immutable after New
	length  atomic.Int64 // written under the locks of the shards that a change touches
	version atomic.Int64 // likewise: the last commit applied
	shards  [shardCount]shard
}

type shard struct {
	mu      sync.RWMutex
	entries map[string][]byte // guarded by mu; values are replaced, never changed
	_       [64]byte          // a cache line between the locks of neighbours
}

// Op sets or deletes one key. The table does not keep Key or Value.
type Op struct {
	Key    []byte
	Value  []byte
	Delete bool
}

// New returns an empty table with room for about keys keys.
func New(keys int) *Table {
	t := &Table{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].entries = make(map[string][]byte, keys/shardCount)
	}
	return t
}

func (t *Table) shardOf(key string) *shard {
	return &t.shards[maphash.String(t.seed, key)%shardCount]
}

func (t *Table) index(key []byte) int {
	return int(maphash.Bytes(t.seed, key) % shardCount)
}

// Get appends key's value to dst. If key is absent it returns dst and false.
func (t *Table) Get(dst []byte, key string) ([]byte, bool) {
	s := t.shardOf(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, ok := s.entries[key]
	if !ok {
		return dst, false
	}
	return append(dst, value...), true
}

// Has reports whether key is present.
func (t *Table) Has(key string) bool {
	s := t.shardOf(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.entries[key]
	return ok
}

// Len returns the number of keys.
func (t *Table) Len() int { return int(t.length.Load()) }

// Keys returns all keys, unsorted, as they were at one moment between two calls of Apply.
func (t *Table) Keys() []string {
	for i := range t.shards {
		t.shards[i].mu.RLock()
	}
	defer func() {
		for i := range t.shards {
			t.shards[i].mu.RUnlock()
		}
	}()
	keys := make([]string, 0, t.Len())
	for i := range t.shards {
		for key := range t.shards[i].entries {
			keys = append(keys, key)
		}
	}
	return keys
}

// Version returns the version of the last commit applied, 0 if there was none.
func (t *Table) Version() int64 { return t.version.Load() }

// Apply carries out ops in order as one change, the commit with this version: who has seen a part of it sees all
// of it from then on.
func (t *Table) Apply(ops []Op, version int64) {
	if len(ops) == 1 {
		s := &t.shards[t.index(ops[0].Key)]
		s.mu.Lock()
		defer s.mu.Unlock()
		t.length.Add(s.apply(ops[0]))
		t.version.Store(version)
		return
	}
	// All shards are locked before the first change and unlocked after the last, always in the same order, which
	// is Keys' too.
	touched := t.touched(ops)
	for i := range t.shards {
		if touched[i] {
			t.shards[i].mu.Lock()
		}
	}
	grown := int64(0)
	for _, op := range ops {
		grown += t.shards[t.index(op.Key)].apply(op)
	}
	t.length.Add(grown)
	t.version.Store(version)
	for i := range t.shards {
		if touched[i] {
			t.shards[i].mu.Unlock()
		}
	}
}

func (t *Table) touched(ops []Op) (touched [shardCount]bool) {
	for _, op := range ops {
		touched[t.index(op.Key)] = true
	}
	return touched
}

// Load puts the keys and values of a snapshot into a table that nobody reads yet; several goroutines may share the
// work. Version is the snapshot's.
func (t *Table) Load(ops []Op, version int64) {
	grown := int64(0)
	for _, op := range ops {
		s := &t.shards[t.index(op.Key)]
		s.mu.Lock()
		grown += s.apply(op)
		s.mu.Unlock()
	}
	t.length.Add(grown)
	t.version.Store(version)
}

// apply carries out one operation under s.mu and returns by how many keys the shard grew.
func (s *shard) apply(op Op) int64 {
	_, present := s.entries[string(op.Key)]
	switch {
	case op.Delete && present:
		delete(s.entries, string(op.Key))
		return -1
	case op.Delete:
		return 0
	}
	s.entries[string(op.Key)] = append(make([]byte, 0, len(op.Value)), op.Value...)
	if present {
		return 0
	}
	return 1
}

// All iterates over keys and values without locks: only for the goroutine that calls Apply. Keys and values
// must not be changed, and are valid after the loop too.
func (t *Table) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for i := range t.shards {
			for key, value := range t.shards[i].entries {
				if !yield(key, value) {
					return
				}
			}
		}
	}
}
