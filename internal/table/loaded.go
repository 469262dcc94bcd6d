package table

import (
	"math"
	"runtime"
	"slices"
)

// This file makes the index of deadlines of a table that was loaded. Load keeps
// none: to sort all words once is faster than to insert them one by one, and
// what a log has replaced needs no place.

// sortLoaded makes the index of deadlines of the shards that were loaded, if
// there are any. The first use of the index does so.
func (t *Table) sortLoaded() {
	if !t.stale.Load() {
		return
	}
	t.sorting.Lock()
	defer t.sorting.Unlock()
	t.applying.RLock() // the table may be released meanwhile
	defer t.applying.RUnlock()
	if !t.stale.Load() {
		return
	}
	words := make([]loadedWords, runtime.GOMAXPROCS(0))
	share(len(words), shardCount, func(worker, i int) {
		s, l := &t.shards[i], &words[worker]
		if !s.deadlines.stale {
			return
		}
		l.memory.arena = t.arena
		l.collect(s)
		slices.Sort(l.words)
		s.deadlines.build(l.words, l.low, l.high, &l.memory)
		t.soonests[i] = s.deadlines.soonest()
	})
	for i := range words {
		words[i].memory.tidy()
	}
	t.raiseSoonest()
	t.stale.Store(false)
}

// loadedWords is the words of a shard that is being sorted.
type loadedWords struct {
	memory    leafMemory
	words     []uint64
	low, high int64 // bounds on their deadlines
}

// collect sets words to those of a shard's records. It works on one window of
// slots at a time, so that their cache misses overlap.
func (l *loadedWords) collect(s *shard) {
	l.words, l.low, l.high = l.words[:0], math.MaxInt64, math.MinInt64
	var records [windowKeys]record
	for part := range slices.Chunk(s.slots, windowKeys) {
		sum := byte(0)
		for i, slot := range part {
			if records[i] = nil; slot != 0 {
				records[i] = s.slabs.at(slot & placeMask)
				sum += records[i][0]
			}
		}
		for i, r := range records[:len(part)] {
			if r != nil && r.isVolatile() {
				sum += r[r.bytes()-1]
			} else {
				records[i] = nil
			}
		}
		runtime.KeepAlive(sum)
		for i, r := range records[:len(part)] {
			if r == nil {
				continue
			}
			if d := r.deadline(); d != 0 {
				l.words = append(l.words, deadlineWord(d, part[i]))
				l.low, l.high = min(l.low, d), max(l.high, d)
			}
		}
	}
}
