package table

import (
	"math"
	"slices"
	"time"
)

// deadlines is the index of a shard's deadlines: one word for each key that has
// one, in order. A word consists of the deadline's millisecond since 1970 and
// of the upper bits of the key's tag. These lead to the key's slot, and so to
// its record, which has the deadline to the nanosecond. Two keys may have equal
// words, which are interchangeable. A deadline before 1970 counts as one in the
// first millisecond, and one after 2109 as one in the last. That is only less
// exact: wherever the millisecond does not decide, the record does.
//
// The words are in leaves of one page each, which are 70 % full at least. So a
// key costs 11.4 bytes here at most, and no word is stale: a changed deadline
// removes the old one. Readers hold applying, and so does the goroutine that
// applies changes while it makes them.
type deadlines struct {
	leaves []deadlineLeaf // none is empty
	count  int            // words
	stale  bool           // words are missing or wrong: the shard was loaded; owned by Load and sortLoaded
}

// deadlineLeaf is a part of the words of a shard.
type deadlineLeaf struct {
	first uint64   // words[0], in one place with those of the other leaves
	words []uint64 // rising; of the arena if it has room for leafWords, else of Go's heap

	// No deadline is below low or above high: of a key with any of these words.
	// So a word that another one has replaced is within the bounds too.
	low, high int64
}

const (
	prefixBits = 22 // of the tag; a shard has more slots only beyond some 400 million keys
	prefixMask = 1<<prefixBits - 1
	lastMilli  = 1<<(64-prefixBits) - 2 // so that the word after any word exists

	leafWords = pageBytes / 8

	// When a leaf is full, or seems to have too few words, those of up to
	// spreadLeaves neighbours are spread evenly over as many leaves, or over
	// one more or less. So all are 70 % full at least, and usually more.
	spreadLeaves = 4
	spreadRoom   = leafWords / 32 // of each leaf that is left for the next words

	// The leaves of a shard that has few grow with their words, on Go's heap.
	maxHeapWords = leafWords * 7 / 8
)

// milliOf returns the millisecond of a word for a deadline.
func milliOf(deadline int64) uint64 {
	return uint64(min(max(deadline, 0)/int64(time.Millisecond), lastMilli))
}

// wordMilli returns the millisecond of a word.
func wordMilli(word uint64) uint64 { return word >> prefixBits }

// firstWord returns the lowest word that a deadline in this millisecond may
// have.
func firstWord(milli uint64) uint64 { return milli << prefixBits }

// deadlineWord returns the word of a key with this hash.
func deadlineWord(deadline int64, hash uint64) uint64 {
	return firstWord(milliOf(deadline)) | hash>>(64-prefixBits)
}

// earliest returns a bound below all deadlines with words from this one on. It
// is less than a millisecond below the deadline of this word.
func earliest(word uint64) int64 {
	if wordMilli(word) == 0 {
		return math.MinInt64
	}
	return int64(wordMilli(word)) * int64(time.Millisecond)
}

// latest returns a bound above all deadlines with words up to this one.
func latest(word uint64) int64 {
	if wordMilli(word) == lastMilli {
		return math.MaxInt64
	}
	return int64(wordMilli(word)+1)*int64(time.Millisecond) - 1
}

// leafMemory is where leaves come from and go to. Memory is had from the arena
// before locks are taken, and given back afterwards. One goroutine owns it.
type leafMemory struct {
	arena   *arena
	spare   [][]byte // pages for the next leaves
	garbage [][]byte // pages to free when no lock is held
}

// words returns memory for n words of a leaf, and for more. few says that the
// shard has few leaves.
func (m *leafMemory) words(n int, few bool) []uint64 {
	if room := n + n/8 + 2; few && room < maxHeapWords {
		return make([]uint64, 0, room)
	}
	page, ok := []byte(nil), len(m.spare) > 0
	if ok {
		last := len(m.spare) - 1
		page, m.spare = m.spare[last], m.spare[:last]
	} else {
		page = m.arena.alloc(pageBytes)
	}
	return words(page)[:0]
}

// free takes back memory from words.
func (m *leafMemory) free(w []uint64) {
	if cap(w) == leafWords {
		m.garbage = append(m.garbage, wordBytes(w[:leafWords]))
	}
}

// reserve makes sure that there are pages for this many leaves.
func (m *leafMemory) reserve(leaves int) {
	for len(m.spare) < leaves {
		m.spare = append(m.spare, m.arena.alloc(pageBytes))
	}
}

// maxSpareLeaves is how many pages stay reserved.
const maxSpareLeaves = 8

// tidy frees what is not needed, while no lock is held.
func (m *leafMemory) tidy() {
	for len(m.spare) > maxSpareLeaves {
		last := len(m.spare) - 1
		m.spare, m.garbage = m.spare[:last], append(m.garbage, m.spare[last])
	}
	for _, page := range m.garbage {
		m.arena.free(page)
	}
	m.garbage = m.garbage[:0]
}

// leafOf returns the leaf that a word is in or belongs in: the last one that
// does not begin with a higher word, or the first one.
func (x *deadlines) leafOf(word uint64) int {
	low, high := 0, len(x.leaves)
	for low < high {
		if middle := int(uint(low+high) / 2); x.leaves[middle].first <= word {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return max(low-1, 0)
}

// soonest returns a bound below all deadlines, less than a millisecond below
// the earliest one; math.MaxInt64 if there is none.
func (x *deadlines) soonest() int64 {
	if len(x.leaves) == 0 {
		return math.MaxInt64
	}
	l := &x.leaves[0]
	if len(x.leaves) > 1 && wordMilli(x.leaves[1].first) == wordMilli(l.first) {
		return earliest(l.first) // an earlier one may be in the next leaf
	}
	return min(max(l.low, earliest(l.first)), math.MaxInt64-1)
}

// insert adds the word of a deadline.
func (x *deadlines) insert(word uint64, deadline int64, m *leafMemory) {
	x.count++
	if len(x.leaves) == 0 {
		x.leaves = append(x.leaves, deadlineLeaf{first: word, words: m.words(1, true), low: deadline, high: deadline})
	}
	i := x.leafOf(word)
	at, _ := slices.BinarySearch(x.leaves[i].words, word)
	if len(x.leaves[i].words) == leafWords {
		x.makeRoom(i, at, word, m)
		i = x.leafOf(word)
		at, _ = slices.BinarySearch(x.leaves[i].words, word)
	}
	l := &x.leaves[i]
	if len(l.words) == cap(l.words) {
		l.move(m.words(len(l.words), x.few()), m)
	}
	l.words = slices.Insert(l.words, at, word)
	l.first = l.words[0]
	l.include(deadline)
	for i--; i >= 0 && x.leaves[i].last() == word; i-- {
		x.leaves[i].include(deadline)
	}
}

// few reports whether the leaves are so few that one which is not full matters.
func (x *deadlines) few() bool { return len(x.leaves) <= spreadLeaves }

// include widens the bounds on deadlines.
func (l *deadlineLeaf) include(deadline int64) {
	l.low, l.high = min(l.low, deadline), max(l.high, deadline)
}

func (l *deadlineLeaf) last() uint64 { return l.words[len(l.words)-1] }

// move moves the words to other memory.
func (l *deadlineLeaf) move(to []uint64, m *leafMemory) {
	old := l.words
	l.words = append(to, old...)
	m.free(old)
}

// makeRoom makes room for a word that belongs in leaf i, which is full, in
// front of word at. Where deadlines rise, it leaves full leaves behind.
func (x *deadlines) makeRoom(i, at int, word uint64, m *leafMemory) {
	if i == len(x.leaves)-1 && at >= leafWords*7/8 {
		l := &x.leaves[i]
		words := append(m.words(leafWords-at, x.few()), l.words[at:]...)
		next := deadlineLeaf{first: word, words: words, low: max(l.low, earliest(word)), high: l.high}
		l.words = l.words[:at]
		l.tighten()
		x.leaves = append(x.leaves, next)
		return
	}
	from, to, n := x.around(i)
	k := to - from
	if n > k*(leafWords-spreadRoom) {
		k++
	}
	x.spread(from, to, k, m)
}

// around returns the leaves next to leaf i, that one included, and how many
// words they have.
func (x *deadlines) around(i int) (from, to, n int) {
	from = max(0, min(i-1, len(x.leaves)-spreadLeaves))
	to = min(len(x.leaves), from+spreadLeaves)
	for _, l := range x.leaves[from:to] {
		n += len(l.words)
	}
	return from, to, n
}

// spread spreads the words of some leaves evenly over k leaves.
func (x *deadlines) spread(from, to, k int, m *leafMemory) {
	var buf [spreadLeaves * leafWords]uint64
	all, low, high := buf[:0], int64(math.MaxInt64), int64(math.MinInt64)
	for _, l := range x.leaves[from:to] {
		all, low, high = append(all, l.words...), min(low, l.low), max(high, l.high)
	}
	for ; to-from < k; to++ {
		x.leaves = slices.Insert(x.leaves, to, deadlineLeaf{})
	}
	for ; to-from > k; to-- {
		m.free(x.leaves[to-1].words)
		x.leaves = slices.Delete(x.leaves, to-1, to)
	}
	for i := range k {
		l := &x.leaves[from+i]
		l.low, l.high = low, high
		l.set(all[len(all)*i/k:len(all)*(i+1)/k], x.few(), m)
	}
}

// set replaces the words.
func (l *deadlineLeaf) set(words []uint64, few bool, m *leafMemory) {
	if l.words = l.words[:0]; cap(l.words) < len(words) {
		l.move(m.words(len(words), few), m)
	}
	l.words = append(l.words, words...)
	l.tighten()
}

// tighten narrows the bounds on deadlines to what the words say, after words
// were taken away.
func (l *deadlineLeaf) tighten() {
	l.first = l.words[0]
	l.low, l.high = max(l.low, earliest(l.first)), min(l.high, latest(l.last()))
}

// remove removes a word, which must be there.
func (x *deadlines) remove(word uint64, m *leafMemory) {
	x.count--
	i := x.leafOf(word)
	l := &x.leaves[i]
	at, _ := slices.BinarySearch(l.words, word)
	l.words = slices.Delete(l.words, at, at+1)
	if len(l.words) == 0 {
		m.free(l.words)
		if x.leaves = slices.Delete(x.leaves, i, i+1); x.count == 0 {
			x.leaves = nil
		}
		return
	}
	l.tighten()
	from, to, n := x.around(i)
	switch {
	case n <= (to-from-1)*(leafWords-2*spreadRoom):
		x.spread(from, to, to-from-1, m)
	case x.few() && len(l.words) < cap(l.words)*3/4-2:
		l.move(m.words(len(l.words), true), m)
	}
}

// build replaces all words. They must be sorted, and low and high be bounds on
// the deadlines.
func (x *deadlines) build(all []uint64, low, high int64, m *leafMemory) {
	for _, l := range x.leaves {
		m.free(l.words)
	}
	*x = deadlines{count: len(all)}
	for part := range slices.Chunk(all, leafWords) {
		l := deadlineLeaf{low: low, high: high}
		l.set(part, len(all) <= spreadLeaves*leafWords, m)
		x.leaves = append(x.leaves, l)
	}
}

// leavesBefore returns how many leaves have a word below this one.
func (x *deadlines) leavesBefore(word uint64) int {
	if word == 0 || len(x.leaves) == 0 || x.leaves[0].first >= word {
		return 0
	}
	return x.leafOf(word-1) + 1
}

// sum returns how many words the first n leaves have. It counts those of fewer
// leaves: of these, or of the others.
func (x *deadlines) sum(n int) (count int) {
	if n <= len(x.leaves)/2 {
		for _, l := range x.leaves[:n] {
			count += len(l.words)
		}
		return count
	}
	count = x.count
	for _, l := range x.leaves[n:] {
		count -= len(l.words)
	}
	return count
}

// seek returns where the words begin that are not below this one: in front of
// word at of a leaf, or of the leaf behind the last one.
func (x *deadlines) seek(word uint64) (leaf, at int) {
	if len(x.leaves) == 0 {
		return 0, 0
	}
	leaf = x.leafOf(word)
	// Words that are equal to it may begin in a leaf before.
	for leaf > 0 && x.leaves[leaf].first == word {
		leaf--
	}
	at, _ = slices.BinarySearch(x.leaves[leaf].words, word)
	if at == len(x.leaves[leaf].words) {
		return leaf + 1, 0
	}
	return leaf, at
}
