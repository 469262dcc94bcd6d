package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// SnapshotReader reads and verifies one snapshot file. Blocks may be read by several goroutines at once.
type SnapshotReader struct {
	Info      *Snapshot // what the file says besides its pairs; verified
	TrailerAt int64     // the trailer's offset: where the pairs end

	file io.ReaderAt
	name string // base name, for errors
}

// ReadSnapshot verifies a snapshot file of this size but for its pairs: footer, trailer and header, in this order, since each tells
// where the next one is and how to read it. The error is a [*Damage], a [*Later], or that of a read.
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
	case footer.version > Version:
		return nil, laterVersion(name, footerAt, footer.version)
	}
	header, err := r.read(0, SnapshotHeaderBytes)
	if err != nil {
		return nil, err
	}
	var reason string
	if r.Info, reason = decodeTrailer(header, tail[:footer.trailerBytes], uint64(r.TrailerAt)); reason != "" {
		return nil, r.damage(0, reason)
	}
	return r, nil
}

// CheckNumber wants the snapshot to be the one that its name says. The error is a [*Damage].
func (r *SnapshotReader) CheckNumber(number uint64) error {
	if r.Info.Number != number {
		return r.damage(r.TrailerAt, fmt.Sprintf("is snapshot %d under another name", r.Info.Number))
	}
	return nil
}

// ReadBlock verifies block i and hands its pairs to add, in their order. They point into the memory it returns, which is room if the block
// fits there. The error is a [*Damage] or that of a read; with a Damage, some pairs may have been added, and none of them counts.
func (r *SnapshotReader) ReadBlock(i int, room []byte, add func(Pair)) ([]byte, error) {
	b, err := r.readBlock(i, room)
	if err != nil {
		return room, err
	}
	if reason := r.Info.Blocks[i].decode(b, add); reason != "" {
		return b, r.damage(int64(r.Info.Blocks[i].Offset), reason)
	}
	return b, nil
}

// decode verifies the block's bytes and hands its pairs to add. It returns what is wrong, "" for nothing.
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

// GuessBlock hands to add the pairs that can be made out in block i from its start, though its checksum is wrong: nothing vouches for
// them. The error is that of a read, or a [*Damage] if there is no such block.
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

// readBlock reads the bytes of a block, of which it is not known to be in the file when the trailer was guessed.
func (r *SnapshotReader) readBlock(i int, room []byte) ([]byte, error) {
	at, end := int64(r.Info.Blocks[i].Offset), r.BlockEnd(i)
	if at < SnapshotHeaderBytes || end < at || end > r.TrailerAt || end-at > maxBlockBytes {
		return nil, r.damage(r.TrailerAt, "impossible block")
	}
	return r.readInto(room, at, end-at)
}

// BlockEnd returns the offset behind block i.
func (r *SnapshotReader) BlockEnd(i int) int64 { return int64(r.Info.blockEnd(i, uint64(r.TrailerAt))) }

// CheckKeys wants as many different keys as there are pairs. The error is a [*Damage].
func (r *SnapshotReader) CheckKeys(keys int) error {
	if uint64(keys) != uint64(r.Info.Count) {
		return r.damage(SnapshotHeaderBytes, "a key is there twice")
	}
	return nil
}

func (r *SnapshotReader) damage(offset int64, reason string) error {
	return &Damage{File: r.name, Offset: offset, Reason: reason}
}

// read reads exactly n bytes, which the caller knows to be in the file.
func (r *SnapshotReader) read(offset, n int64) ([]byte, error) { return r.readInto(nil, offset, n) }

// readInto is read into room, or into new memory if they do not fit there.
func (r *SnapshotReader) readInto(room []byte, offset, n int64) ([]byte, error) {
	b := slices.Grow(room[:0], int(n))[:n]
	if _, err := io.ReadFull(io.NewSectionReader(r.file, offset, n), b); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.name, err)
	}
	return b, nil
}

// footer is what the last bytes of a snapshot file say.
type footer struct {
	version      uint32
	trailerBytes uint64
}

// decodeFooter reads the footer, unverified: its checksum is over the trailer too.
func decodeFooter(b []byte) footer {
	return footer{version: binary.BigEndian.Uint32(b), trailerBytes: binary.BigEndian.Uint64(b[4:])}
}

// decodeTrailer decodes header and trailer, whose checksum was found right. What is wrong with them is the
// reason it returns, "" for nothing; trailerAt is the trailer's offset in the file.
func decodeTrailer(header, trailer []byte, trailerAt uint64) (info *Snapshot, reason string) {
	if binary.BigEndian.Uint32(header) != snapshotMagic {
		return nil, "no snapshot magic"
	}
	if len(trailer) < trailerBytes || (len(trailer)-trailerBytes)%blockBytes != 0 {
		return nil, "trailer of impossible length"
	}
	if binary.BigEndian.Uint32(trailer) != crc32.Checksum(header, castagnoli) {
		return nil, "header checksum mismatch"
	}
	info = decodeInfo(header, trailer)
	if uint64(binary.BigEndian.Uint32(trailer[36:])) != uint64(len(info.Blocks)) {
		return nil, "wrong number of blocks"
	}
	return info, info.checkBlocks(trailerAt)
}

// decodeInfo reads header and trailer, unverified.
func decodeInfo(header, trailer []byte) *Snapshot {
	info := &Snapshot{
		Timestamp: int64(binary.BigEndian.Uint64(header[4:])),
		Count:     binary.BigEndian.Uint32(header[12:]),
		ID:        StoreID(trailer[4:20]),
		Number:    binary.BigEndian.Uint64(trailer[20:]),
		LastGroup: binary.BigEndian.Uint64(trailer[28:]),
	}
	for b := trailer[trailerBytes:]; len(b) > 0; b = b[blockBytes:] {
		info.Blocks = append(info.Blocks, Block{
			Offset:   binary.BigEndian.Uint64(b),
			Pairs:    binary.BigEndian.Uint32(b[8:]),
			Checksum: binary.BigEndian.Uint32(b[12:]),
		})
	}
	return info
}

// checkBlocks verifies that the blocks cover all bytes between header and trailer, and count as many pairs as the
// header; it returns what is wrong, "" for nothing.
func (info *Snapshot) checkBlocks(trailerAt uint64) string {
	next, pairs := uint64(SnapshotHeaderBytes), uint64(0)
	for i, b := range info.Blocks {
		end := info.blockEnd(i, trailerAt)
		if b.Offset != next || end <= b.Offset || end-b.Offset > maxBlockBytes ||
			uint64(b.Pairs) > (end-b.Offset)/pairOverhead {
			return "impossible block"
		}
		next = end
		pairs += uint64(b.Pairs)
	}
	if next != trailerAt || pairs != uint64(info.Count) {
		return "blocks do not add up"
	}
	return ""
}

// blockEnd returns the offset behind block i.
func (info *Snapshot) blockEnd(i int, trailerAt uint64) uint64 {
	if i+1 < len(info.Blocks) {
		return info.Blocks[i+1].Offset
	}
	return trailerAt
}
