package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
)

// The layout of a snapshot file:
//
//	0       4           12      16
//	| magic | timestamp | count | pairs … | trailer | footer |
//
//	pair     keyLen u32 | key | valueLen u32 | value
//	trailer  crc u32 of the first 16 bytes | store id 16 | number u64 |
//	         last group u64 | blocks u32 |
//	         blocks times (offset u64, pairs u32, crc u32)
//	footer   version u32 | trailer's length u64 |
//	         crc u32 of trailer and footer before it
const (
	snapshotMagic       uint32 = 0x4B565350 // "KVSP"
	SnapshotHeaderBytes        = 4 + 8 + 4
	pairOverhead               = 4 + 4
	trailerBytes               = 4 + 16 + 8 + 8 + 4 // without its blocks
	blockBytes                 = 8 + 4 + 4
	footerBytes                = 4 + 8 + 4

	// blockTarget is the size at which a block ends. Blocks are small enough to
	// load in parallel and to locate damage, and large enough to read at full
	// speed.
	blockTarget = 1 << 20

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
}

// Block is a run of complete pairs with a checksum. A block ends where the next
// block or the trailer begins.
type Block struct {
	Offset   uint64
	Pairs    uint32
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
	length := len(dst) - start
	dst = binary.BigEndian.AppendUint32(dst, Version)
	dst = binary.BigEndian.AppendUint64(dst, uint64(length))
	return Seal(append(dst, 0, 0, 0, 0), start, 0)
}

// EncodeSnapshot writes a snapshot file to w, in writes of about writeTarget
// bytes, and fills in info.Blocks. pairs must yield info.Count pairs.
// EncodeSnapshot returns how many bytes were written to w.
func EncodeSnapshot(w io.Writer, info *Snapshot, pairs iter.Seq[Pair]) (n int64, err error) {
	info.Blocks = nil // of an attempt before
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
}

func (e *snapshotEncoder) encode(pairs iter.Seq[Pair]) error {
	e.buf = AppendSnapshotHeader(e.buf, e.info)
	if err := e.write(); err != nil {
		return err
	}
	count := uint64(0)
	for p := range pairs {
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
	e.buf = AppendSnapshotTail(e.buf, e.info)
	return e.write()
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
