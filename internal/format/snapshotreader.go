package format

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// SnapshotReader reads and verifies one snapshot file. Several goroutines may
// read blocks at the same time.
type SnapshotReader struct {
	Info      *Snapshot // the file's content without its pairs; verified
	PairsEnd  int64     // the offset where the pairs end
	TrailerAt int64     // the trailer's offset

	file      io.ReaderAt
	name      string         // base name, for errors
	deadlines *deadlineCache // nil if there are none, or none that can be trusted
}

// ReadSnapshot verifies a snapshot file of size bytes, except for its pairs. It
// reads the footer, the trailer and the header, in this order, because each
// says where the next one is and how to read it. The error is a [*Damage], a
// [*Later], or that of a read.
func ReadSnapshot(file io.ReaderAt, size int64, name string) (*SnapshotReader, error) {
	r := &SnapshotReader{file: file, name: name}
	if size < SnapshotHeaderBytes+footerBytes {
		return nil, r.damage(0, "too short for a snapshot")
	}
	footerAt := size - footerBytes
	b, err := r.read(footerAt, footerBytes)
	if err != nil {
		return nil, err
	}
	footer := decodeFooter(b)
	if footer.trailerBytes > uint64(min(footerAt-SnapshotHeaderBytes, maxTrailerBytes)) {
		return nil, r.damage(footerAt, "no footer")
	}
	r.TrailerAt = footerAt - int64(footer.trailerBytes)
	tail, err := r.read(r.TrailerAt, size-r.TrailerAt)
	if err != nil {
		return nil, err
	}
	if !isSealed(tail, 0) {
		return nil, r.damage(r.TrailerAt, "trailer checksum mismatch")
	}
	switch {
	case footer.version < Version:
		return nil, r.damage(footerAt, "impossible version")
	case footer.version > versionWithDeadlines:
		return nil, laterVersion(name, footerAt, footer.version, versionWithDeadlines)
	}
	header, err := r.read(0, SnapshotHeaderBytes)
	if err != nil {
		return nil, err
	}
	info, reason := decodeTrailer(footer.version, header, tail[:footer.trailerBytes], uint64(r.TrailerAt))
	if reason != "" {
		return nil, r.damage(0, reason)
	}
	r.Info, r.PairsEnd = info, int64(info.pairsEnd(uint64(r.TrailerAt)))
	if len(info.Deadlines) > 0 {
		r.deadlines = newDeadlineCache(r)
	}
	return r, nil
}

// CheckNumber checks that the snapshot has the number in its name. The error is
// a [*Damage].
func (r *SnapshotReader) CheckNumber(number uint64) error {
	if r.Info.Number != number {
		return r.damage(r.TrailerAt, fmt.Sprintf("is snapshot %d under another name", r.Info.Number))
	}
	return nil
}

// ReadBlock verifies block i and passes its pairs to add, in order. The pairs
// point into the memory that ReadBlock returns, which is buf if the block fits
// into it. The error is a [*Damage] or that of a read. With a Damage, add may
// have been called with some pairs, and the caller must discard them.
//
// The deadlines of the pairs lie elsewhere in the file. ReadBlock reads and
// verifies them too. If blocks are read in order, each deadline block is read
// once, and few of them are in memory at a time.
func (r *SnapshotReader) ReadBlock(i int, buf []byte, add func(Pair)) ([]byte, error) {
	buf, deadlineErr, err := r.ReadPairs(i, buf, add)
	return buf, cmp.Or(err, deadlineErr)
}

// ReadPairs is ReadBlock for tools that salvage pairs. If deadlines are damaged
// or cannot be read, it is deadlineErr that says so: then the pairs are intact,
// and those that the damage may have are without a deadline.
func (r *SnapshotReader) ReadPairs(i int, buf []byte, add func(Pair)) (_ []byte, deadlineErr, err error) {
	b, err := r.readBlock(i, buf)
	if err != nil {
		return buf, nil, err
	}
	if r.deadlines != nil {
		var found blockDeadlines
		found, deadlineErr = r.deadlines.of(i)
		addPlain := add
		add = func(p Pair) {
			p.Deadline = found.next()
			addPlain(p)
		}
	}
	if reason := r.Info.Blocks[i].decode(b, add); reason != "" {
		return b, nil, r.damage(int64(r.Info.Blocks[i].Offset), reason)
	}
	return b, deadlineErr, nil
}

// decode verifies the block's bytes and passes its pairs to add. It returns
// what is wrong, "" for nothing.
func (b Block) decode(bytes []byte, add func(Pair)) (reason string) {
	if crc32.Checksum(bytes, castagnoli) != b.Checksum {
		return "block checksum mismatch"
	}
	pairs := uint32(0)
	for ; len(bytes) > 0; pairs++ {
		p, ok := decodePair(bytes)
		if !ok || pairs == b.Pairs || len(p.Key) > MaxKeyBytes || len(p.Value) > MaxValueBytes {
			return "block with impossible pairs"
		}
		add(p)
		bytes = bytes[p.Size():]
	}
	if pairs != b.Pairs {
		return "block with too few pairs"
	}
	return ""
}

// GuessBlock passes to add the pairs that can be decoded from the start of
// block i although the block's checksum is wrong. Nothing proves that these
// pairs are right. The error is that of a read, or a [*Damage] if there is no
// such block.
func (r *SnapshotReader) GuessBlock(i int, add func(Pair)) error {
	b, err := r.readBlock(i, nil)
	for err == nil {
		p, ok := decodePair(b)
		if !ok || len(p.Key) > MaxKeyBytes {
			break
		}
		add(p)
		b = b[p.Size():]
	}
	return err
}

// readBlock reads the bytes of a block. It checks that the block lies in the
// file, which is not known if the trailer was guessed.
func (r *SnapshotReader) readBlock(i int, buf []byte) ([]byte, error) {
	at, end := int64(r.Info.Blocks[i].Offset), r.BlockEnd(i)
	if at < SnapshotHeaderBytes || end < at || end > r.PairsEnd || end-at > maxBlockBytes {
		return nil, r.damage(r.TrailerAt, "impossible block")
	}
	return r.readInto(buf, at, end-at)
}

// BlockEnd returns the offset after block i.
func (r *SnapshotReader) BlockEnd(i int) int64 { return int64(r.Info.blockEnd(i, uint64(r.PairsEnd))) }

// CheckKeys checks that the number of different keys is that of the pairs. The
// error is a [*Damage].
func (r *SnapshotReader) CheckKeys(keys int) error {
	if uint64(keys) != uint64(r.Info.Count) {
		return r.damage(SnapshotHeaderBytes, "a key is there twice")
	}
	return nil
}

func (r *SnapshotReader) damage(offset int64, reason string) error {
	return &Damage{File: r.name, Offset: offset, Reason: reason}
}

// read reads exactly n bytes. The caller must know that they lie in the file.
func (r *SnapshotReader) read(offset, n int64) ([]byte, error) { return r.readInto(nil, offset, n) }

// readInto is read into buf, or into new memory if the bytes do not fit.
func (r *SnapshotReader) readInto(buf []byte, offset, n int64) ([]byte, error) {
	b := slices.Grow(buf[:0], int(n))[:n]
	if _, err := io.ReadFull(io.NewSectionReader(r.file, offset, n), b); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.name, err)
	}
	return b, nil
}

// footer is the content of the last bytes of a snapshot file.
type footer struct {
	version      uint32
	trailerBytes uint64
}

// decodeFooter decodes the footer and verifies nothing: its checksum covers the
// trailer too.
func decodeFooter(b []byte) footer {
	return footer{version: binary.BigEndian.Uint32(b), trailerBytes: binary.BigEndian.Uint64(b[4:])}
}

// decodeTrailer decodes the header and the trailer, whose checksum the caller
// has verified. trailerAt is the trailer's offset in the file. It returns what
// is wrong with them as reason, "" for nothing.
func decodeTrailer(version uint32, header, trailer []byte, trailerAt uint64) (info *Snapshot, reason string) {
	if binary.BigEndian.Uint32(header) != snapshotMagic {
		return nil, "no snapshot magic"
	}
	if len(trailer) < trailerBytes {
		return nil, "trailer of impossible length"
	}
	if binary.BigEndian.Uint32(trailer) != crc32.Checksum(header, castagnoli) {
		return nil, "header checksum mismatch"
	}
	info, whole := decodeInfo(version, header, trailer)
	switch {
	case !whole:
		return nil, "wrong number of blocks"
	case version == versionWithDeadlines && len(info.Deadlines) == 0:
		return nil, "no deadlines in a version for them"
	}
	return info, cmp.Or(info.checkBlocks(trailerAt), info.checkDeadlines(trailerAt))
}

// decodeInfo decodes the header and the trailer and verifies nothing. whole
// says that the trailer has as many blocks as are announced, and nothing else.
func decodeInfo(version uint32, header, trailer []byte) (info *Snapshot, whole bool) {
	info = &Snapshot{
		Timestamp: int64(binary.BigEndian.Uint64(header[4:])),
		Count:     binary.BigEndian.Uint32(header[12:]),
		ID:        StoreID(trailer[4:20]),
		Number:    binary.BigEndian.Uint64(trailer[20:]),
		LastGroup: binary.BigEndian.Uint64(trailer[28:]),
	}
	announced, b := binary.BigEndian.Uint32(trailer[36:]), trailer[trailerBytes:]
	for n := announced; n > 0 && len(b) >= blockBytes; n-- {
		info.Blocks = append(info.Blocks, Block{
			Offset:   binary.BigEndian.Uint64(b),
			Pairs:    binary.BigEndian.Uint32(b[8:]),
			Checksum: binary.BigEndian.Uint32(b[12:]),
		})
		b = b[blockBytes:]
	}
	whole = uint64(len(info.Blocks)) == uint64(announced)
	if version == versionWithDeadlines {
		return info, info.decodeDeadlines(b) && whole
	}
	return info, whole && len(b) == 0
}

// checkBlocks checks that the blocks cover all bytes between the header and the
// end of the pairs, and contain as many pairs as the header says. It returns
// what is wrong, "" for nothing.
func (info *Snapshot) checkBlocks(trailerAt uint64) string {
	next, pairs, pairsEnd := uint64(SnapshotHeaderBytes), uint64(0), info.pairsEnd(trailerAt)
	for i, b := range info.Blocks {
		end := info.blockEnd(i, pairsEnd)
		if b.Offset != next || end <= b.Offset || end-b.Offset > maxBlockBytes ||
			uint64(b.Pairs) > (end-b.Offset)/pairOverhead {
			return "impossible block"
		}
		next = end
		pairs += uint64(b.Pairs)
	}
	if next != pairsEnd || pairs != uint64(info.Count) {
		return "blocks do not add up"
	}
	return ""
}

// blockEnd returns the offset after block i.
func (info *Snapshot) blockEnd(i int, pairsEnd uint64) uint64 {
	if i+1 < len(info.Blocks) {
		return info.Blocks[i+1].Offset
	}
	return pairsEnd
}

// pairsEnd returns the offset after the pairs.
func (info *Snapshot) pairsEnd(trailerAt uint64) uint64 {
	if len(info.Deadlines) > 0 {
		return info.Deadlines[0].Offset
	}
	return trailerAt
}
