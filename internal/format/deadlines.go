package format

import (
	"encoding/binary"
	"hash/crc32"
	"sort"
	"sync"
)

// decodeDeadlines decodes what the trailer says of the deadline blocks, and
// verifies nothing. whole says that b has as many as are announced, and nothing
// else.
func (info *Snapshot) decodeDeadlines(b []byte) (whole bool) {
	if len(b) < 4 {
		return false
	}
	announced, b := binary.BigEndian.Uint32(b), b[4:]
	for n := announced; n > 0 && len(b) >= deadlineBlockBytes; n-- {
		info.Deadlines = append(info.Deadlines, DeadlineBlock{
			Offset:   binary.BigEndian.Uint64(b),
			First:    binary.BigEndian.Uint32(b[8:]),
			Entries:  binary.BigEndian.Uint32(b[12:]),
			Checksum: binary.BigEndian.Uint32(b[16:]),
		})
		b = b[deadlineBlockBytes:]
	}
	return len(b) == 0 && uint64(len(info.Deadlines)) == uint64(announced)
}

// checkDeadlines checks that the deadline blocks cover all bytes between the
// pairs and the trailer, and have no more ordinals than there are pairs. It
// returns what is wrong, "" for nothing.
func (info *Snapshot) checkDeadlines(trailerAt uint64) string {
	next, ordinals := info.pairsEnd(trailerAt), uint64(0)
	for _, b := range info.Deadlines {
		if b.Offset != next || b.Entries == 0 || b.Entries > maxDeadlines || uint64(b.First) < ordinals {
			return "impossible deadline block"
		}
		next += deadlineEntryBytes * uint64(b.Entries)
		ordinals = uint64(b.First) + uint64(b.Entries)
	}
	if next != trailerAt || ordinals > uint64(info.Count) {
		return "deadline blocks do not add up"
	}
	return ""
}

// deadlineCache has the deadline blocks that lie before or at the pairs that
// are being read. Each is read when the first block with pairs of it asks for
// it, and given up when the last one has. So little is in memory if blocks are
// read in order, by any number of goroutines.
type deadlineCache struct {
	reader   *SnapshotReader  // immutable
	ordinals []uint32         // immutable: of the first pair of each block, and the number of pairs
	blocks   []cachedDeadline // each has its own lock
}

// cachedDeadline is a deadline block.
type cachedDeadline struct {
	users int // immutable: how many blocks have pairs of it

	mu      sync.Mutex
	asked   int    // guarded by mu: how many of them have asked for it
	entries []byte // guarded by mu: verified; nil if they are not in memory
}

// newDeadlineCache returns the cache of a reader whose trailer was verified.
func newDeadlineCache(r *SnapshotReader) *deadlineCache {
	c := &deadlineCache{reader: r, blocks: make([]cachedDeadline, len(r.Info.Deadlines))}
	ordinal := uint32(0)
	for _, b := range r.Info.Blocks {
		c.ordinals = append(c.ordinals, ordinal)
		ordinal += b.Pairs
	}
	c.ordinals = append(c.ordinals, ordinal)
	for i := range r.Info.Blocks {
		for first, end := c.blocksOf(i); first < end; first++ {
			c.blocks[first].users++
		}
	}
	return c
}

// blocksOf returns the range of deadline blocks that may have the deadlines of
// block i: where a deadline block ends is known only when it is read.
func (c *deadlineCache) blocksOf(i int) (first, end int) {
	blocks := c.reader.Info.Deadlines
	from := func(ordinal uint32) int {
		return sort.Search(len(blocks), func(j int) bool { return blocks[j].First >= ordinal })
	}
	if first = from(c.ordinals[i]); first > 0 && (first == len(blocks) || blocks[first].First > c.ordinals[i]) {
		first--
	}
	return first, from(c.ordinals[i+1])
}

// of returns the deadlines of block i. The error is that of the first deadline
// block that cannot be read, or a [*Damage]. Without that block, the others are
// returned all the same.
func (c *deadlineCache) of(i int) (d blockDeadlines, err error) {
	d.ordinal = c.ordinals[i]
	for first, end := c.blocksOf(i); first < end; first++ {
		entries, entriesErr := c.entries(first)
		if entriesErr != nil && err == nil {
			err = entriesErr
		}
		entries = between(entries, c.ordinals[i], c.ordinals[i+1])
		if len(entries) > 0 {
			d.entries = append(d.entries, entries)
		}
	}
	return d, err
}

// entries returns the entries of a deadline block.
func (c *deadlineCache) entries(block int) (entries []byte, err error) {
	b := &c.blocks[block]
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries == nil {
		if b.entries, err = c.reader.readDeadlines(block); err != nil {
			return nil, err
		}
	}
	entries = b.entries
	if b.asked++; b.asked == b.users {
		b.asked, b.entries = 0, nil
	}
	return entries, nil
}

// between returns the entries with ordinals from first to end, without end.
func between(entries []byte, first, end uint32) []byte {
	from := func(ordinal uint32) int {
		return deadlineEntryBytes * sort.Search(len(entries)/deadlineEntryBytes, func(i int) bool {
			return binary.BigEndian.Uint32(entries[i*deadlineEntryBytes:]) >= ordinal
		})
	}
	return entries[from(first):from(end)]
}

// blockDeadlines are the deadlines of the pairs of a block, which take them one
// after the other.
type blockDeadlines struct {
	ordinal uint32   // of the next pair
	entries [][]byte // of the pairs from there on; none is empty
}

// next returns the deadline of the next pair, 0 if it has none.
func (d *blockDeadlines) next() int64 {
	ordinal := d.ordinal
	d.ordinal++
	if len(d.entries) == 0 || binary.BigEndian.Uint32(d.entries[0]) != ordinal {
		return 0
	}
	deadline := int64(binary.BigEndian.Uint64(d.entries[0][4:]))
	if d.entries[0] = d.entries[0][deadlineEntryBytes:]; len(d.entries[0]) == 0 {
		d.entries = d.entries[1:]
	}
	return deadline
}

// DeadlinesEnd returns the offset after a deadline block.
func (r *SnapshotReader) DeadlinesEnd(block int) int64 {
	b := &r.Info.Deadlines[block]
	return int64(b.Offset) + deadlineEntryBytes*int64(b.Entries)
}

// CheckDeadlines verifies a deadline block. The error is a [*Damage], or that
// of a read.
func (r *SnapshotReader) CheckDeadlines(block int) error {
	_, err := r.readDeadlines(block)
	return err
}

// readDeadlines reads and verifies a deadline block.
func (r *SnapshotReader) readDeadlines(block int) (entries []byte, err error) {
	info := &r.Info.Deadlines[block]
	at, n := int64(info.Offset), deadlineEntryBytes*int64(info.Entries)
	if entries, err = r.read(at, n); err != nil {
		return nil, err
	}
	if crc32.Checksum(entries, castagnoli) != info.Checksum {
		return nil, r.damage(at, "deadline block checksum mismatch")
	}
	next, end := info.First, r.Info.Count
	if block+1 < len(r.Info.Deadlines) {
		end = r.Info.Deadlines[block+1].First
	}
	for i := int64(0); i < n; i += deadlineEntryBytes {
		ordinal := binary.BigEndian.Uint32(entries[i:])
		if ordinal < next || ordinal >= end || i == 0 && ordinal != next {
			return nil, r.damage(at+i, "deadline of an impossible pair")
		}
		if binary.BigEndian.Uint64(entries[i+4:]) == 0 {
			return nil, r.damage(at+i, "a pair without a deadline among deadlines")
		}
		next = ordinal + 1
	}
	return entries, nil
}
