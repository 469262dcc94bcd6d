package kvstore

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// This file turns records into bytes and back, and does nothing else: no files, no state. docs/FORMAT.md is the
// specification; every number here is frozen by it. All integers are big-endian.

// The log's grammar: a segment is a sequence of entries, each
//
//	0       4  5           13      17   17+k        21+k  21+k+v
//	| magic |op| timestamp | keyLen | key | valueLen | value |
const (
	entryMagic    uint32 = 0x4B564C47 // "KVLG"
	entryOverhead        = 4 + 1 + 8 + 4 + 4
	timestampAt          = 5
	keyLenAt             = 13
)

// op is an entry's kind on disk. Zero is none, so that zeros are never an entry.
type op byte

const (
	opSet     op = 0x01
	opDelete  op = 0x02
	opSegment op = 0x10 // first entry of a segment
	opCommit  op = 0x11 // last entry of a group
	opEnd     op = 0x12 // last entry of a segment
)

// formatVersion is the version of segments and snapshots that this code writes and reads.
const formatVersion uint32 = 1

// castagnoli is the polynomial of CRC-32C (RFC 3720, B.4).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// storeID tells the files of one store from those of another.
type storeID [16]byte

// entry is one decoded entry. Key and value point into the bytes it was decoded from.
type entry struct {
	op        op
	timestamp int64
	key       []byte
	value     []byte
}

// size returns how many bytes the entry takes.
func (e *entry) size() int { return entryOverhead + len(e.key) + len(e.value) }

// isControl reports whether the entry has the shape of a control entry: no key, and a value of exactly this size.
func (e *entry) isControl(o op, valueBytes int) bool {
	return e.op == o && len(e.key) == 0 && len(e.value) == valueBytes
}

// appendEntry appends an entry to dst.
func appendEntry[K, V string | []byte](dst []byte, o op, timestamp int64, key K, value V) []byte {
	dst = binary.BigEndian.AppendUint32(dst, entryMagic)
	dst = append(dst, byte(o))
	dst = binary.BigEndian.AppendUint64(dst, uint64(timestamp))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(key)))
	dst = append(dst, key...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
	return append(dst, value...)
}

// decodeEntry decodes the entry at the start of b, whatever its op; ok is false when none is there whole.
func decodeEntry(b []byte) (e entry, ok bool) {
	if len(b) < entryOverhead || binary.BigEndian.Uint32(b) != entryMagic {
		return entry{}, false
	}
	keyLen := uint64(binary.BigEndian.Uint32(b[keyLenAt:]))
	if keyLen > uint64(len(b)-entryOverhead) {
		return entry{}, false
	}
	key, rest := b[keyLenAt+4:][:keyLen], b[keyLenAt+4+keyLen:]
	valueLen := uint64(binary.BigEndian.Uint32(rest))
	if valueLen > uint64(len(rest)-4) {
		return entry{}, false
	}
	return entry{
		op:        op(b[4]),
		timestamp: int64(binary.BigEndian.Uint64(b[timestampAt:])),
		key:       key,
		value:     rest[4:][:valueLen],
	}, true
}

// setTimestamps writes one timestamp into every entry of b, which holds whole entries and nothing else.
func setTimestamps(b []byte, timestamp int64) {
	for len(b) > 0 {
		binary.BigEndian.PutUint64(b[timestampAt:], uint64(timestamp))
		keyLen := int(binary.BigEndian.Uint32(b[keyLenAt:]))
		valueLen := int(binary.BigEndian.Uint32(b[keyLenAt+4+keyLen:]))
		b = b[entryOverhead+keyLen+valueLen:]
	}
}

// The control entries' sizes in bytes, and their values':
//
//	SEGMENT  version u32 | store id 16 | number u64 | crc u32
//	COMMIT   group u64 | length u64 | durable u64 | group's crc u32 | crc u32
//	END      last group u64 | durable u64 | crc u32
//
// The last crc of each is over the whole entry before it.
const (
	segmentValueBytes = 4 + 16 + 8 + 4
	commitValueBytes  = 8 + 8 + 8 + 4 + 4
	endValueBytes     = 8 + 8 + 4

	segmentEntryBytes = entryOverhead + segmentValueBytes
	commitEntryBytes  = entryOverhead + commitValueBytes
	endEntryBytes     = entryOverhead + endValueBytes

	// maxSegmentEntryBytes bounds what a later version may make of the SEGMENT entry.
	maxSegmentEntryBytes = 4096
)

// segmentHeader is what a SEGMENT entry says.
type segmentHeader struct {
	version uint32
	id      storeID
	number  uint64
}

func appendSegmentHeader(dst []byte, timestamp int64, h segmentHeader) []byte {
	start := len(dst)
	value := binary.BigEndian.AppendUint32(nil, h.version)
	value = append(value, h.id[:]...)
	value = binary.BigEndian.AppendUint64(value, h.number)
	dst = appendEntry(dst, opSegment, timestamp, "", append(value, 0, 0, 0, 0))
	return sealEntry(dst, start, 0)
}

// decodeSegmentHeader decodes the SEGMENT entry at the start of b. With another version than ours only the version
// is set. ok is false when no SEGMENT entry with a right checksum is there.
func decodeSegmentHeader(b []byte) (h segmentHeader, ok bool) {
	e, ok := decodeEntry(b[:min(len(b), maxSegmentEntryBytes)])
	if !ok || e.op != opSegment || len(e.key) != 0 || len(e.value) < 8 || !entryIsSealed(b[:e.size()], 0) {
		return segmentHeader{}, false
	}
	h.version = binary.BigEndian.Uint32(e.value)
	if h.version != formatVersion {
		return h, h.version > formatVersion
	}
	if len(e.value) != segmentValueBytes {
		return segmentHeader{}, false
	}
	copy(h.id[:], e.value[4:])
	h.number = binary.BigEndian.Uint64(e.value[20:])
	return h, true
}

// sealEntry writes the checksum of dst[start:], all but its last 4 bytes, into these.
func sealEntry(dst []byte, start int, seed uint32) []byte {
	body := dst[start : len(dst)-4]
	binary.BigEndian.PutUint32(dst[len(dst)-4:], crc32.Update(seed, castagnoli, body))
	return dst
}

// entryIsSealed reports whether the last 4 bytes of b are the checksum of those before them.
func entryIsSealed(b []byte, seed uint32) bool {
	return crc32.Update(seed, castagnoli, b[:len(b)-4]) == binary.BigEndian.Uint32(b[len(b)-4:])
}

// seedAt returns what the checksums of a group that starts at offset are seeded with: the checksum of store id,
// segment number and offset. Bytes of another store, another segment or another place thus never pass.
func seedAt(id storeID, segment uint64, offset int64) uint32 {
	var b [32]byte
	copy(b[:], id[:])
	binary.BigEndian.PutUint64(b[16:], segment)
	binary.BigEndian.PutUint64(b[24:], uint64(offset))
	return crc32.Checksum(b[:], castagnoli)
}

// commitRecord is what a COMMIT entry says of its group.
type commitRecord struct {
	number   uint64 // the group's
	length   uint64 // bytes of the group's entries before the COMMIT
	durable  uint64 // the highest group that was known durable when this one was written
	checksum uint32 // of the group's entries before the COMMIT
}

// appendCommit closes the group dst[start:] with its COMMIT entry; seed is that of the group's offset.
func appendCommit(dst []byte, start int, timestamp int64, group, durable uint64, seed uint32) []byte {
	body := dst[start:]
	value := make([]byte, 0, commitValueBytes)
	value = binary.BigEndian.AppendUint64(value, group)
	value = binary.BigEndian.AppendUint64(value, uint64(len(body)))
	value = binary.BigEndian.AppendUint64(value, durable)
	value = binary.BigEndian.AppendUint32(value, crc32.Update(seed, castagnoli, body))
	commitAt := len(dst)
	dst = appendEntry(dst, opCommit, timestamp, "", value[:commitValueBytes])
	return sealEntry(dst, commitAt, seed)
}

// decodeCommit reads a COMMIT entry's value, unverified.
func decodeCommit(value []byte) commitRecord {
	return commitRecord{
		number:   binary.BigEndian.Uint64(value),
		length:   binary.BigEndian.Uint64(value[8:]),
		durable:  binary.BigEndian.Uint64(value[16:]),
		checksum: binary.BigEndian.Uint32(value[24:]),
	}
}

// endRecord is what an END entry says.
type endRecord struct {
	group   uint64 // the last group of the segment
	durable uint64 // as in commitRecord
}

// appendEnd appends an END entry; seed is that of the offset where it goes.
func appendEnd(dst []byte, timestamp int64, end endRecord, seed uint32) []byte {
	start := len(dst)
	value := make([]byte, 0, endValueBytes)
	value = binary.BigEndian.AppendUint64(value, end.group)
	value = binary.BigEndian.AppendUint64(value, end.durable)
	dst = appendEntry(dst, opEnd, timestamp, "", value[:endValueBytes])
	return sealEntry(dst, start, seed)
}

// segmentBytes are the bytes of one segment, and what its checksums are seeded with.
type segmentBytes struct {
	id     storeID
	number uint64
	data   []byte
}

func (s *segmentBytes) seed(offset int) uint32 { return seedAt(s.id, s.number, int64(offset)) }

// group is one group as it lies in a segment.
type group struct {
	commitRecord
	bytes   []byte // the whole group, its COMMIT included
	entries int    // how many SET and DELETE entries
	strange bool   // an op is neither SET nor DELETE
	unknown op     // the first such op
}

// groupAt returns the group that starts at offset; ok is false if no whole and undamaged group does. It reads each byte at
// most twice, whatever it finds.
func (s *segmentBytes) groupAt(offset int) (g group, ok bool) {
	for at := offset; ; g.entries++ {
		e, ok := decodeEntry(s.data[at:])
		switch {
		case !ok || e.op == opSegment || e.op == opEnd:
			return group{}, false
		case e.op == opCommit:
			g.bytes = s.data[offset : at+e.size()]
			g.commitRecord, ok = s.commitAt(at, &e)
			return g, ok && g.entries > 0 && s.holds(offset, at, g.commitRecord)
		case e.op != opSet && e.op != opDelete && !g.strange:
			g.strange, g.unknown = true, e.op
		}
		at += e.size()
	}
}

// holds reports whether the entries from offset to commitAt are what the commit vouches for.
func (s *segmentBytes) holds(offset, commitAt int, c commitRecord) bool {
	body := s.data[offset:commitAt]
	return c.length == uint64(len(body)) && c.checksum == crc32.Update(s.seed(offset), castagnoli, body)
}

// commitAt returns what the COMMIT entry e at this offset says; ok is false unless its own checksum is right.
func (s *segmentBytes) commitAt(offset int, e *entry) (c commitRecord, ok bool) {
	if !e.isControl(opCommit, commitValueBytes) {
		return commitRecord{}, false
	}
	c = decodeCommit(e.value)
	if c.length > uint64(offset) {
		return commitRecord{}, false
	}
	return c, entryIsSealed(s.data[offset:offset+e.size()], s.seed(offset-int(c.length)))
}

// endAt returns what the END entry at offset says; ok is false if there is none with a right checksum.
func (s *segmentBytes) endAt(offset int) (end endRecord, ok bool) {
	e, ok := decodeEntry(s.data[offset:min(len(s.data), offset+endEntryBytes)])
	if !ok || !e.isControl(opEnd, endValueBytes) || !entryIsSealed(s.data[offset:offset+e.size()], s.seed(offset)) {
		return endRecord{}, false
	}
	return endRecord{
		group:   binary.BigEndian.Uint64(e.value),
		durable: binary.BigEndian.Uint64(e.value[8:]),
	}, true
}

// durableBehind looks at every byte from offset on for COMMIT and END entries with right checksums, and returns the
// highest group that one of them knew durable, with that entry's offset. It takes linear time: a candidate is of
// fixed size.
func (s *segmentBytes) durableBehind(offset int) (durable uint64, at int) {
	magic := binary.BigEndian.AppendUint32(nil, entryMagic)
	for {
		i := bytes.Index(s.data[offset:], magic)
		if i < 0 {
			return durable, at
		}
		offset += i
		if d := s.durableAt(offset); d > durable {
			durable, at = d, offset
		}
		offset++
	}
}

// durableAt returns the group that a COMMIT or END entry at offset knows durable, 0 if there is no such entry.
func (s *segmentBytes) durableAt(offset int) uint64 {
	if end, ok := s.endAt(offset); ok {
		return end.durable
	}
	e, ok := decodeEntry(s.data[offset:min(len(s.data), offset+commitEntryBytes)])
	if !ok {
		return 0
	}
	c, ok := s.commitAt(offset, &e)
	if !ok {
		return 0
	}
	return c.durable
}

// A snapshot file:
//
//	0       4           12      16
//	| magic | timestamp | count | pairs … | trailer | footer |
//
//	pair     keyLen u32 | key | valueLen u32 | value
//	trailer  crc u32 of the first 16 bytes | store id 16 | number u64 | last group u64 | blocks u32 | blocks times
//	         (offset u64, pairs u32, crc u32)
//	footer   version u32 | trailer's length u64 | crc u32 of trailer and footer before it
const (
	snapshotMagic        uint32 = 0x4B565350 // "KVSP"
	snapshotHeaderBytes         = 4 + 8 + 4
	pairOverhead                = 4 + 4
	snapshotTrailerBytes        = 4 + 16 + 8 + 8 + 4 // without its blocks
	snapshotBlockBytes          = 8 + 4 + 4
	snapshotFooterBytes         = 4 + 8 + 4

	// A block is closed by the pair that brings it to this size: small enough to load in parallel and to name the place of
	// damage, large enough to be read at full speed.
	snapshotBlockTarget = 1 << 20

	// What a reader has to expect at most, so that no length it finds makes it ask for absurd amounts of memory.
	maxSnapshotBlockBytes   = snapshotBlockTarget + pairOverhead + MaxKeyBytes + MaxValueBytes
	maxSnapshotTrailerBytes = 1 << 30
)

// snapshotInfo is what a snapshot file says besides its pairs.
type snapshotInfo struct {
	timestamp int64  // the version of the last commit in it
	count     uint32 // pairs
	id        storeID
	number    uint64 // the number in its name
	lastGroup uint64 // the last group it covers
	blocks    []snapshotBlock
}

// snapshotBlock is a run of whole pairs with a checksum. A block ends where the next one, or the trailer, begins.
type snapshotBlock struct {
	offset   uint64
	pairs    uint32
	checksum uint32
}

func appendSnapshotHeader(dst []byte, info *snapshotInfo) []byte {
	dst = binary.BigEndian.AppendUint32(dst, snapshotMagic)
	dst = binary.BigEndian.AppendUint64(dst, uint64(info.timestamp))
	return binary.BigEndian.AppendUint32(dst, info.count)
}

func appendPair(dst []byte, key string, value []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(key)))
	dst = append(dst, key...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
	return append(dst, value...)
}

// decodePair decodes the pair at the start of b, and how many bytes it takes; ok is false when none is there whole.
func decodePair(b []byte) (key, value []byte, size int, ok bool) {
	if len(b) < pairOverhead {
		return nil, nil, 0, false
	}
	keyLen := uint64(binary.BigEndian.Uint32(b))
	if keyLen > uint64(len(b)-pairOverhead) {
		return nil, nil, 0, false
	}
	key, rest := b[4:][:keyLen], b[4+keyLen:]
	valueLen := uint64(binary.BigEndian.Uint32(rest))
	if valueLen > uint64(len(rest)-4) {
		return nil, nil, 0, false
	}
	return key, rest[4:][:valueLen], pairOverhead + int(keyLen) + int(valueLen), true
}

// appendSnapshotTail appends trailer and footer.
func appendSnapshotTail(dst []byte, info *snapshotInfo) []byte {
	start := len(dst)
	header := appendSnapshotHeader(nil, info)
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(header, castagnoli))
	dst = append(dst, info.id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, info.number)
	dst = binary.BigEndian.AppendUint64(dst, info.lastGroup)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(info.blocks)))
	for _, b := range info.blocks {
		dst = binary.BigEndian.AppendUint64(dst, b.offset)
		dst = binary.BigEndian.AppendUint32(dst, b.pairs)
		dst = binary.BigEndian.AppendUint32(dst, b.checksum)
	}
	trailerBytes := len(dst) - start
	dst = binary.BigEndian.AppendUint32(dst, formatVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(trailerBytes))
	return sealEntry(append(dst, 0, 0, 0, 0), start, 0)
}

// snapshotFooter is what the last bytes of a snapshot file say.
type snapshotFooter struct {
	version      uint32
	trailerBytes uint64
}

// decodeSnapshotFooter reads the footer, unverified: its checksum is over the trailer too.
func decodeSnapshotFooter(b []byte) snapshotFooter {
	return snapshotFooter{version: binary.BigEndian.Uint32(b), trailerBytes: binary.BigEndian.Uint64(b[4:])}
}

// decodeSnapshotTrailer decodes header and trailer, whose checksum was found right. What is wrong with them is the
// reason it returns, "" for nothing; trailerAt is the trailer's offset in the file.
func decodeSnapshotTrailer(header, trailer []byte, trailerAt uint64) (info *snapshotInfo, reason string) {
	if binary.BigEndian.Uint32(header) != snapshotMagic {
		return nil, "no snapshot magic"
	}
	if len(trailer) < snapshotTrailerBytes || (len(trailer)-snapshotTrailerBytes)%snapshotBlockBytes != 0 {
		return nil, "trailer of impossible length"
	}
	if binary.BigEndian.Uint32(trailer) != crc32.Checksum(header, castagnoli) {
		return nil, "header checksum mismatch"
	}
	info = &snapshotInfo{
		timestamp: int64(binary.BigEndian.Uint64(header[4:])),
		count:     binary.BigEndian.Uint32(header[12:]),
		id:        storeID(trailer[4:20]),
		number:    binary.BigEndian.Uint64(trailer[20:]),
		lastGroup: binary.BigEndian.Uint64(trailer[28:]),
	}
	for b := trailer[snapshotTrailerBytes:]; len(b) > 0; b = b[snapshotBlockBytes:] {
		info.blocks = append(info.blocks, snapshotBlock{
			offset:   binary.BigEndian.Uint64(b),
			pairs:    binary.BigEndian.Uint32(b[8:]),
			checksum: binary.BigEndian.Uint32(b[12:]),
		})
	}
	if uint64(binary.BigEndian.Uint32(trailer[36:])) != uint64(len(info.blocks)) {
		return nil, "wrong number of blocks"
	}
	return info, info.checkBlocks(trailerAt)
}

// checkBlocks verifies that the blocks cover all bytes between header and trailer, and count as many pairs as the
// header; it returns what is wrong, "" for nothing.
func (info *snapshotInfo) checkBlocks(trailerAt uint64) string {
	next, pairs := uint64(snapshotHeaderBytes), uint64(0)
	for i, b := range info.blocks {
		end := info.blockEnd(i, trailerAt)
		if b.offset != next || end <= b.offset || end-b.offset > maxSnapshotBlockBytes ||
			uint64(b.pairs) > (end-b.offset)/pairOverhead {
			return "impossible block"
		}
		next = end
		pairs += uint64(b.pairs)
	}
	if next != trailerAt || pairs != uint64(info.count) {
		return "blocks do not add up"
	}
	return ""
}

// blockEnd returns the offset behind block i.
func (info *snapshotInfo) blockEnd(i int, trailerAt uint64) uint64 {
	if i+1 < len(info.blocks) {
		return info.blocks[i+1].offset
	}
	return trailerAt
}
