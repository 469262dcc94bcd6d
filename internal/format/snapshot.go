package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"slices"
)

// The layout of a snapshot file:
//
//	0       4           12      16
//	| magic | timestamp | count | pairs … | deadlines … | trailer | footer |
//
//	pair     keyLen u32 | key | valueLen u32 | value
//	deadline the pair's ordinal u32 | ns since 1970 i64
//	trailer  crc u32 of the first 16 bytes | store id 16 | number u64 |
//	         last group u64 | blocks u32 |
//	         blocks times (offset u64, pairs u32, crc u32)
//	         in version 2: deadline blocks u32 |
//	         times (offset u64, first ordinal u32, entries u32, crc u32)
//	footer   version u32 | trailer's length u64 |
//	         crc u32 of trailer and footer before it
const (
	snapshotMagic       uint32 = 0x4B565350 // "KVSP"
	SnapshotHeaderBytes        = 4 + 8 + 4
	pairOverhead               = 4 + 4
	trailerBytes               = 4 + 16 + 8 + 8 + 4 // without its blocks
	blockBytes                 = 8 + 4 + 4
	deadlineEntryBytes         = 4 + 8
	deadlineBlockBytes         = 8 + 4 + 4 + 4 // in the trailer
	footerBytes                = 4 + 8 + 4

	// blockTarget is the size at which a block ends. Blocks are small enough to
	// load in parallel and to locate damage, and large enough to read at full
	// speed.
	blockTarget = 1 << 20

	// maxDeadlines is how many entries a deadline block has: the last one
	// brings it to blockTarget.
	maxDeadlines = (blockTarget + deadlineEntryBytes - 1) / deadlineEntryBytes

	// writeTarget is the size of one write. It is small, so that a paced writer
	// can pause between writes.
	writeTarget = 32 << 10

	// Bounds on the lengths in a file, so that a wrong length never makes a
	// reader allocate an absurd amount of memory.
	maxBlockBytes   = blockTarget + pairOverhead + MaxKeyBytes + MaxValueBytes
	maxTrailerBytes = 1 << 30
)

// Snapshot is the content of a snapshot file without its pairs.
type Snapshot struct {
	Timestamp int64  // the version of the last commit in it
	Count     uint32 // number of pairs
	ID        StoreID
	Number    uint64 // the number in its name
	LastGroup uint64 // the last group it covers
	Blocks    []Block
	Deadlines []DeadlineBlock // none if no pair has a deadline
}

// version returns the version of the format: the lowest one that has room for
// the content, so that as many readers as possible can read it.
func (info *Snapshot) version() uint32 {
	if len(info.Deadlines) > 0 {
		return versionWithDeadlines
	}
	return Version
}

// Block is a run of complete pairs with a checksum. A block ends where the next
// block, the first deadline block, or the trailer begins.
type Block struct {
	Offset   uint64
	Pairs    uint32
	Checksum uint32
}

// DeadlineBlock is a run of deadlines with a checksum, in the order of their
// pairs. A pair's ordinal is the number of pairs before it in the file.
type DeadlineBlock struct {
	Offset   uint64
	First    uint32 // the ordinal of its first entry
	Entries  uint32
	Checksum uint32
}

// AppendSnapshotHeader appends the header of a snapshot file.
func AppendSnapshotHeader(dst []byte, info *Snapshot) []byte {
	dst = binary.BigEndian.AppendUint32(dst, snapshotMagic)
	dst = binary.BigEndian.AppendUint64(dst, uint64(info.Timestamp))
	return binary.BigEndian.AppendUint32(dst, info.Count)
}

// Pair is a key and its value, and when the key is gone. A function that passes
// a Pair on says how long its bytes are valid.
type Pair struct {
	Key, Value []byte
	Deadline   int64 // in ns since 1970; 0 for never
}

// Size returns the size of the pair in a snapshot, in bytes.
func (p Pair) Size() int { return pairOverhead + len(p.Key) + len(p.Value) }

// AppendPair appends a pair to dst.
func AppendPair(dst []byte, p Pair) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.Key)))
	dst = append(dst, p.Key...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.Value)))
	return append(dst, p.Value...)
}

// decodePair decodes the pair at the start of b. The pair points into b. ok is
// false if there is no complete pair.
func decodePair(b []byte) (p Pair, ok bool) {
	if len(b) < pairOverhead {
		return Pair{}, false
	}
	keyLen := uint64(binary.BigEndian.Uint32(b))
	if keyLen > uint64(len(b)-pairOverhead) {
		return Pair{}, false
	}
	key, rest := b[4:][:keyLen], b[4+keyLen:]
	valueLen := uint64(binary.BigEndian.Uint32(rest))
	if valueLen > uint64(len(rest)-4) {
		return Pair{}, false
	}
	return Pair{Key: key, Value: rest[4:][:valueLen]}, true
}

// AppendSnapshotTail appends the trailer and the footer.
func AppendSnapshotTail(dst []byte, info *Snapshot) []byte {
	start := len(dst)
	header := AppendSnapshotHeader(nil, info)
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(header, castagnoli))
	dst = append(dst, info.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, info.Number)
	dst = binary.BigEndian.AppendUint64(dst, info.LastGroup)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(info.Blocks)))
	for _, b := range info.Blocks {
		dst = binary.BigEndian.AppendUint64(dst, b.Offset)
		dst = binary.BigEndian.AppendUint32(dst, b.Pairs)
		dst = binary.BigEndian.AppendUint32(dst, b.Checksum)
	}
	if len(info.Deadlines) > 0 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(info.Deadlines)))
	}
	for _, b := range info.Deadlines {
		dst = binary.BigEndian.AppendUint64(dst, b.Offset)
		dst = binary.BigEndian.AppendUint32(dst, b.First)
		dst = binary.BigEndian.AppendUint32(dst, b.Entries)
		dst = binary.BigEndian.AppendUint32(dst, b.Checksum)
	}
	length := len(dst) - start
	dst = binary.BigEndian.AppendUint32(dst, info.version())
	dst = binary.BigEndian.AppendUint64(dst, uint64(length))
	return Seal(append(dst, 0, 0, 0, 0), start, 0)
}

// EncodeSnapshot writes a snapshot file to w, in writes of about writeTarget
// bytes, and fills in info.Blocks and info.Deadlines. pairs must yield
// info.Count pairs. EncodeSnapshot returns how many bytes were written to w.
//
// Deadlines come behind all pairs. Until then EncodeSnapshot has them in
// memory:
// 12 bytes for each pair that has one.
func EncodeSnapshot(w io.Writer, info *Snapshot, pairs iter.Seq[Pair]) (n int64, err error) {
	info.Blocks, info.Deadlines = nil, nil // of an attempt before
	e := snapshotEncoder{w: w, info: info, block: Block{Offset: SnapshotHeaderBytes}}
	err = e.encode(pairs)
	return e.written, err
}

// snapshotEncoder collects pairs into writes and writes into blocks.
type snapshotEncoder struct {
	w       io.Writer
	info    *Snapshot
	written int64  // bytes written to w
	buf     []byte // the part of the block that is not written yet
	block   Block  // with the checksum of the part that is written
	length  int    // of the part of the block that is written

	deadlines [][]byte // the bytes of the deadline blocks
}

func (e *snapshotEncoder) encode(pairs iter.Seq[Pair]) error {
	e.buf = AppendSnapshotHeader(e.buf, e.info)
	if err := e.write(); err != nil {
		return err
	}
	count := uint64(0)
	for p := range pairs {
		if p.Deadline != 0 {
			e.expire(uint32(count), p.Deadline)
		}
		if err := e.add(p); err != nil {
			return err
		}
		count++
	}
	if count != uint64(e.info.Count) {
		return fmt.Errorf("%d pairs where %d were announced", count, e.info.Count)
	}
	if err := e.endBlock(); err != nil {
		return err
	}
	if err := e.writeDeadlines(); err != nil {
		return err
	}
	e.buf = AppendSnapshotTail(e.buf, e.info)
	return e.write()
}

// expire takes in the deadline of the pair with this ordinal. The first one of
// a block says what is to be known of the block.
func (e *snapshotEncoder) expire(ordinal uint32, deadline int64) {
	last := len(e.deadlines) - 1
	if last < 0 || len(e.deadlines[last]) >= blockTarget {
		e.deadlines, last = append(e.deadlines, make([]byte, 0, e.deadlineRoom())), last+1
		e.info.Deadlines = append(e.info.Deadlines, DeadlineBlock{First: ordinal})
	}
	b := binary.BigEndian.AppendUint32(e.deadlines[last], ordinal)
	e.deadlines[last] = binary.BigEndian.AppendUint64(b, uint64(deadline))
	e.info.Deadlines[last].Entries++
}

// deadlineRoom returns the memory to begin a deadline block with. The second
// one and those behind it are likely to become full.
func (e *snapshotEncoder) deadlineRoom() int {
	if len(e.deadlines) == 0 {
		return 0
	}
	return maxDeadlines * deadlineEntryBytes
}

// writeDeadlines writes the deadline blocks, and gives up their memory.
func (e *snapshotEncoder) writeDeadlines() error {
	for i, b := range e.deadlines {
		block := &e.info.Deadlines[i]
		block.Offset, block.Checksum = uint64(e.written), crc32.Checksum(b, castagnoli)
		for piece := range slices.Chunk(b, writeTarget) {
			e.buf = append(e.buf, piece...)
			if err := e.write(); err != nil {
				return err
			}
		}
		e.deadlines[i] = nil
	}
	return nil
}

// write writes the collected bytes.
func (e *snapshotEncoder) write() error {
	n, err := e.w.Write(e.buf)
	e.written += int64(n)
	e.buf = e.buf[:0]
	return err
}

func (e *snapshotEncoder) add(p Pair) error {
	e.buf = AppendPair(e.buf, p)
	e.block.Pairs++
	switch {
	case e.length+len(e.buf) >= blockTarget:
		return e.endBlock()
	case len(e.buf) >= writeTarget:
		return e.flush()
	default:
		return nil
	}
}

// flush writes the collected part of the block.
func (e *snapshotEncoder) flush() error {
	if len(e.buf) == 0 {
		return nil
	}
	e.block.Checksum = crc32.Update(e.block.Checksum, castagnoli, e.buf)
	e.length += len(e.buf)
	return e.write()
}

// endBlock ends the block, unless it is empty, and begins the next one.
func (e *snapshotEncoder) endBlock() error {
	if e.block.Pairs == 0 {
		return nil
	}
	err := e.flush()
	e.info.Blocks = append(e.info.Blocks, e.block)
	e.block, e.length = Block{Offset: e.block.Offset + uint64(e.length)}, 0
	return err
}
