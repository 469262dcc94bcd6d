package table

import (
	"math"
	"runtime"
	"slices"
	"strings"
)

// This file is about expiry: which keys are due, and what readers see of them.
// A key is due when its deadline is not after the clock. It stays in the table
// until somebody deletes it, but no read shows it.

// UseClock sets the clock that says what is due: now returns nanoseconds since
// 1970 and never goes back. Nobody else may use the table yet. In a table
// without a clock, nothing is ever due.
func (t *Table) UseClock(now func() int64) {
	t.clock = now
	t.sortLoaded()
}

// Now returns the time of the table's clock, and math.MinInt64 without one.
func (t *Table) Now() int64 {
	if t.clock == nil {
		return math.MinInt64
	}
	return t.clock()
}

// isDue reports whether a deadline has come. Nothing is due at math.MinInt64.
func isDue(deadline, now int64) bool { return deadline != 0 && deadline <= now && now != math.MinInt64 }

// held is the keys that count as alive although they are due, up to other
// deadlines, see Hold. It is immutable. A nil pointer is for none.
type held map[string]int64

// has reports whether key is alive.
func (h *held) has(key string, now int64) bool {
	if h == nil {
		return false
	}
	deadline, ok := (*h)[key]
	return ok && !isDue(deadline, now)
}

// Hold names the keys that a group under way touches, with their new deadlines,
// 0 for none. It is decided that they live on, and their old deadlines may come
// before the group is published. Until the next call they are due at the new
// ones. The caller must not change keys any more; nil is for none. Only the
// goroutine that applies changes may call Hold: before it has the group made
// durable, and after it was published or has failed.
func (t *Table) Hold(keys map[string]int64) {
	if len(keys) == 0 {
		t.held.Store(nil)
	} else {
		t.held.Store((*held)(&keys))
	}
}

// moment is a reading of the table's clock. It is taken when the first key with
// a deadline is looked at, so that other keys do not cost it.
type moment struct {
	now  int64
	read bool
}

// hides reports whether a key with a deadline is due at the moment. The caller
// must hold a lock under which the key cannot change.
func (t *Table) hides(m *moment, r record) bool {
	if !m.read {
		m.now, m.read = t.Now(), true
	}
	return isDue(r.deadline(), m.now) && !t.held.Load().has(unsafeString(r.key()), m.now)
}

// Deadline returns when key is gone, 0 for never. ok says whether it is
// present.
func (t *Table) Deadline(key string) (deadline int64, ok bool) { return t.HasAt(t.Now(), key) }

// HasAt is [Table.Deadline] at a moment of the caller's. At math.MinInt64
// nothing is due.
func (t *Table) HasAt(now int64, key string) (deadline int64, ok bool) {
	hash := t.hash(key)
	s := t.shardOf(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	slot, r := s.find(hash, key)
	if slot < 0 || r.isVolatile() && t.hides(&moment{now, true}, r) {
		return 0, false
	}
	return r.deadline(), true
}

// has reports whether the table has key, which may be due.
func (t *Table) has(key string) bool {
	_, ok := t.HasAt(math.MinInt64, key)
	return ok
}

// GetAt is [Table.Get] with the key's deadline, at a moment of the caller's.
func (t *Table) GetAt(now int64, dst []byte, key string) (value []byte, deadline int64, ok bool) {
	hash := t.hash(key)
	s := t.shardOf(hash)
	s.mu.RLock()
	slot, r := s.find(hash, key)
	if slot < 0 || r.isVolatile() && t.hides(&moment{now, true}, r) {
		s.mu.RUnlock()
		return dst, 0, false
	}
	if r.valueLen() > maxCopyBytes {
		s.mu.RUnlock()
		return t.getLargeAt(now, dst, key)
	}
	dst, deadline = appendValue(dst, r.value()), r.deadline()
	s.mu.RUnlock()
	return dst, deadline, true
}

// getLargeAt is GetAt of a value that takes long to copy, see getLarge.
func (t *Table) getLargeAt(now int64, dst []byte, key string) (value []byte, deadline int64, ok bool) {
	v := t.View()
	if v == nil {
		return dst, 0, false
	}
	defer v.Close()
	v.SetNow(now)
	return v.Find(dst, key)
}

// Size returns the number of keys in the table, those that are due included.
func (t *Table) Size() int { return int(t.length.Load()) }

// Expiring returns how many keys have a deadline, those that are due included.
func (t *Table) Expiring() int { return int(t.expiring.Load()) }

// noDeadline is soonest if no key has a deadline.
const noDeadline = math.MaxInt64

// Len returns the number of keys that are not due. While none is due, Len takes
// no lock.
func (t *Table) Len() int {
	if t.clock == nil {
		return t.Size()
	}
	t.sortLoaded()
	// A commit lowers soonest before it changes length, and raises it after it
	// has changed version. So if version is the same, nothing was due when
	// length was read.
	version, n, soonest := t.Version(), t.Size(), t.soonest.Load()
	if (soonest == noDeadline || soonest > t.Now()) && t.Version() == version {
		return n
	}
	t.applying.RLock()
	defer t.applying.RUnlock()
	return t.Size() - t.countDue(t.Now(), t.held.Load())
}

// Due returns how many keys are due at a moment, and the earliest deadline, to
// the millisecond; 0 if none is due.
func (t *Table) Due(now int64) (n int, oldest int64) {
	t.sortLoaded()
	t.applying.RLock()
	defer t.applying.RUnlock()
	if n = t.countDue(now, t.held.Load()); n > 0 {
		oldest = t.soonest.Load()
	}
	return n, oldest
}

// NextDeadline returns the earliest deadline, of a key that is due or not: not
// a later moment, and less than a millisecond before it. ok says whether there
// is one.
func (t *Table) NextDeadline() (deadline int64, ok bool) {
	t.sortLoaded()
	deadline = t.soonest.Load()
	return deadline, deadline != noDeadline
}

// countDue returns how many keys are due. The caller must hold applying. The
// cost does not depend on how many there are, but on how many have their
// deadline in the very millisecond of now.
func (t *Table) countDue(now int64, h *held) (n int) {
	if now == math.MinInt64 || t.soonest.Load() > now {
		return 0
	}
	for i := range t.shards {
		if t.soonests[i] <= now {
			n += t.countDueIn(&t.shards[i], now)
		}
	}
	if h == nil || n == 0 {
		return n
	}
	for key, deadline := range *h {
		hash := t.hash(key)
		slot, r := t.shardOf(hash).find(hash, key)
		if slot >= 0 && isDue(r.deadline(), now) && !isDue(deadline, now) {
			n--
		}
	}
	return n
}

// countDueIn returns how many of a shard's keys are due.
func (t *Table) countDueIn(s *shard, now int64) int {
	x, milli := &s.deadlines, milliOf(now)
	// The leaves in front of this one have words of earlier milliseconds only.
	whole := max(x.leavesBefore(firstWord(milli))-1, 0)
	n := x.sum(whole)
	for i := whole; i < x.leavesBefore(firstWord(milli+1)); i++ {
		switch l := &x.leaves[i]; {
		case l.high <= now:
			n += len(l.words)
		case l.low <= now:
			n += t.countDueOf(s, i, now)
		}
	}
	return n
}

// countDueOf returns how many words of a leaf are those of keys that are due.
// The records say so for the words of the millisecond of now.
func (t *Table) countDueOf(s *shard, leaf int, now int64) (n int) {
	words, milli := s.deadlines.leaves[leaf].words, milliOf(now)
	from, _ := slices.BinarySearch(words, firstWord(milli))
	to, _ := slices.BinarySearch(words, firstWord(milli+1))
	n = from
	var window [windowKeys]dueWord
	for from < to {
		k := 0
		for ; k < windowKeys && from < to; k++ {
			w := dueWord{shard: s, word: words[from]}
			for ; from < to && words[from] == w.word; from++ {
				w.copies++
			}
			window[k] = w
		}
		t.visitDue(window[:k], func(w *dueWord, r record) {
			if w.keys++; isDue(r.deadline(), now) {
				w.due++
			}
		})
		for i := range window[:k] {
			n += s.deadlines.countedIn(leaf, &window[i])
		}
	}
	return n
}

// countedIn returns how many of a leaf's copies of a word are those of keys
// that are due. If other leaves have copies too, it does not matter which are.
func (x *deadlines) countedIn(leaf int, w *dueWord) int {
	switch {
	case w.due == w.keys:
		return w.copies
	case leaf > 0 && x.leaves[leaf-1].last() == w.word:
		return 0 // those before it have counted all
	default:
		return w.due
	}
}

// dueWord is a word of a shard's deadlines, and what was found out about it.
type dueWord struct {
	shard  *shard
	word   uint64
	copies int // of the word, in one leaf
	keys   int // that have the word
	due    int // of these
}

// visitDue calls visit with the records of all keys that have one of these
// words, at most windowKeys, whose cache misses overlap. The caller must hold
// applying.
func (t *Table) visitDue(words []dueWord, visit func(w *dueWord, r record)) {
	t.touchDue(words)
	for i := range words {
		w := &words[i]
		milli, from := wordMilli(w.word), w.word&prefixMask<<(tagBits-prefixBits)
		w.shard.walk(from, from+1<<(tagBits-prefixBits), func(r record) {
			if d := r.deadline(); d != 0 && milliOf(d) == milli {
				visit(w, r)
			}
		})
	}
}

// touchDue loads into the cache what a lookup of these words needs: the slots
// where the searches begin, then the beginnings of the records, then their
// deadlines.
func (t *Table) touchDue(words []dueWord) {
	var records [windowKeys]record
	sum := uint64(0)
	for _, w := range words {
		sum += w.shard.slots[w.shard.home(w.word<<(64-prefixBits))]
	}
	for i, w := range words {
		if records[i] = w.shard.likelyDue(w.word); records[i] != nil {
			sum += uint64(records[i][0])
		}
	}
	for _, r := range records[:len(words)] {
		if r != nil {
			sum += uint64(r[r.bytes()-1])
		}
	}
	runtime.KeepAlive(sum)
}

// likelyDue returns the first record that a word may lead to, nil if there is
// none.
func (s *shard) likelyDue(word uint64) record {
	for i := s.home(word << (64 - prefixBits)); s.slots[i] != 0; i = s.next(i) {
		if slot := s.slots[i]; slot>>(64-prefixBits) == word&prefixMask {
			return s.slabs.at(slot & placeMask)
		}
	}
	return nil
}

// DueKeys returns keys that are due at a moment, in the order of their
// deadlines to the millisecond: up to most of them, with about so many bytes,
// but at least one. It leaves out those for which skip, which may be nil,
// returns true.
func (t *Table) DueKeys(now int64, most, bytes int, skip func(key string) bool) (keys []string) {
	t.sortLoaded()
	var c dueCursor
	for more := now != math.MinInt64 && t.soonest.Load() <= now; more && len(keys) < most; {
		var found []string
		found, more = t.nextDue(&c, now, min(most-len(keys), maxLockedKeys))
		for _, key := range found {
			switch {
			case skip != nil && skip(key):
				continue
			case len(keys) == most || len(keys) > 0 && bytes < len(key):
				return keys
			}
			keys, bytes = append(keys, key), bytes-len(key)
		}
	}
	return keys
}

// dueCursor is how far DueKeys has come: the lowest word of each shard that it
// has not seen yet.
type dueCursor [shardCount]uint64

// dueHead is the next word of a shard.
type dueHead struct {
	word     uint64 // endOfDue if there is none
	leaf, at int
}

const endOfDue = math.MaxUint64

// nextDue returns the keys that are due of the next n words, of fewer if more
// is false.
func (t *Table) nextDue(c *dueCursor, now int64, n int) (keys []string, more bool) {
	t.applying.RLock()
	defer t.applying.RUnlock()
	words := make([]dueWord, 0, n)
	var heads [shardCount]dueHead
	for i := range heads {
		heads[i].word = endOfDue
		if t.soonests[i] <= now {
			x := &t.shards[i].deadlines
			heads[i].leaf, heads[i].at = x.seek(c[i])
			heads[i].settle(x, now)
		}
	}
	for len(words) < n {
		i := soonestHead(&heads)
		milli := wordMilli(heads[i].word)
		if heads[i].word == endOfDue {
			break
		}
		for len(words) < n && heads[i].word != endOfDue && wordMilli(heads[i].word) == milli {
			words = append(words, dueWord{shard: &t.shards[i], word: heads[i].word})
			c[i] = heads[i].word + 1
			heads[i].next(&t.shards[i].deadlines, now)
		}
	}
	h := t.held.Load()
	keys = make([]string, 0, len(words))
	for part := range slices.Chunk(words, windowKeys) {
		t.visitDue(part, func(_ *dueWord, r record) {
			if key := unsafeString(r.key()); isDue(r.deadline(), now) && !h.has(key, now) {
				keys = append(keys, strings.Clone(key))
			}
		})
	}
	return keys, len(words) == n
}

// soonestHead returns the shard whose next word has the earliest millisecond.
func soonestHead(heads *[shardCount]dueHead) (shard int) {
	for i := range heads {
		if heads[i].word < heads[shard].word {
			shard = i
		}
	}
	return shard
}

// next moves on to the next word that is another one.
func (h *dueHead) next(x *deadlines, now int64) {
	last := h.word
	for h.word == last {
		h.at++
		if h.at == len(x.leaves[h.leaf].words) {
			h.leaf, h.at = h.leaf+1, 0
		}
		h.settle(x, now)
	}
}

// settle sets word, unless nothing is due any more. It passes over leaves that
// have nothing that is due.
func (h *dueHead) settle(x *deadlines, now int64) {
	for h.word = endOfDue; h.leaf < len(x.leaves); h.leaf, h.at = h.leaf+1, 0 {
		word := x.leaves[h.leaf].words[h.at]
		if wordMilli(word) > milliOf(now) {
			return
		}
		if x.leaves[h.leaf].low <= now {
			h.word = word
			return
		}
	}
}

// moveDeadline brings the index of deadlines up to date after a key of shard i
// was changed. The caller must hold applying.
func (t *Table) moveDeadline(i int, hash uint64, c changed) {
	x := &t.shards[i].deadlines
	if c.before != 0 {
		x.remove(deadlineWord(c.before, hash), &t.leaves)
	}
	if c.after != 0 {
		x.insert(deadlineWord(c.after, hash), c.after, &t.leaves)
		t.soonest.Store(min(t.soonest.Load(), c.after))
	}
	t.shards[i].expiring += c.expiring()
	t.expiring.Add(int64(c.expiring()))
	t.soonests[i] = x.soonest()
}

// raiseSoonest ends what moveDeadline began.
func (t *Table) raiseSoonest() {
	if soonest := slices.Min(t.soonests[:]); soonest != t.soonest.Load() {
		t.soonest.Store(soonest)
	}
}

// reserveDeadlines reserves memory for the deadlines of the group's operations
// from first to last, while no lock is held, and loads what they need into the
// cache.
func (t *Table) reserveDeadlines(first, last int) {
	w, need := t.work, 0
	if !w.volatile {
		return
	}
	nearlyFull := leafWords - 4 - 2*(last-first)/shardCount // words of a leaf that may soon be full
	for i := first; i < last; i++ {
		if d := w.ops[i].Deadline; d != 0 {
			x := &t.shardOf(w.hashes[i]).deadlines
			word := deadlineWord(d, w.hashes[i])
			if len(x.leaves) == 0 {
				continue
			}
			l := &x.leaves[x.leafOf(word)]
			if _, _ = slices.BinarySearch(l.words, word); len(l.words) >= nearlyFull {
				need++
			}
		}
	}
	t.leaves.reserve(min(need, shardCount+(last-first)/spreadRoom))
}
