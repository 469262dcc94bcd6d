package format

import (
	"encoding/binary"
	"hash/crc32"
)

// The values of control entries, and the sizes of control entries in bytes:
//
//	SEGMENT  version u32 | store id 16 | number u64 | crc u32
//	COMMIT   group u64 | length u64 | durable u64 | group's crc u32 | crc u32
//	END      last group u64 | durable u64 | crc u32
//
// The last crc of each entry covers the whole entry before it.
const (
	segmentValueBytes = 4 + 16 + 8 + 4
	commitValueBytes  = 8 + 8 + 8 + 4 + 4
	endValueBytes     = 8 + 8 + 4

	SegmentEntryBytes = EntryOverhead + segmentValueBytes
	CommitEntryBytes  = EntryOverhead + commitValueBytes
	EndEntryBytes     = EntryOverhead + endValueBytes

	// maxSegmentEntryBytes bounds the SEGMENT entry of any later version.
	maxSegmentEntryBytes = 4096
)

// Header is the content of a SEGMENT entry.
type Header struct {
	Version uint32
	ID      StoreID
	Number  uint64
}

// AppendHeader appends a SEGMENT entry to dst.
func AppendHeader(dst []byte, timestamp int64, h Header) []byte {
	start := len(dst)
	value := binary.BigEndian.AppendUint32(nil, h.Version)
	value = append(value, h.ID[:]...)
	value = binary.BigEndian.AppendUint64(value, h.Number)
	dst = AppendEntry(dst, OpSegment, timestamp, "", append(value, 0, 0, 0, 0))
	return Seal(dst, start, 0)
}

// DecodeHeader decodes the SEGMENT entry at the start of b. If its version is
// not [Version], only the version is set. ok is false if there is no SEGMENT
// entry with a valid checksum.
func DecodeHeader(b []byte) (h Header, ok bool) {
	e, ok := DecodeEntry(b[:min(len(b), maxSegmentEntryBytes)])
	if !ok || e.Op != OpSegment || len(e.Key) != 0 || len(e.Value) < 8 || !isSealed(b[:e.Size()], 0) {
		return Header{}, false
	}
	h.Version = binary.BigEndian.Uint32(e.Value)
	if h.Version != Version {
		return h, h.Version > Version
	}
	if len(e.Value) != segmentValueBytes {
		return Header{}, false
	}
	copy(h.ID[:], e.Value[4:])
	h.Number = binary.BigEndian.Uint64(e.Value[20:])
	return h, true
}

// GuessID returns the bytes at the place of the store's id in a damaged SEGMENT
// entry. Only the checksums of groups can prove that the id is right.
func GuessID(segment []byte) (id StoreID) {
	copy(id[:], segment[min(len(segment), EntryOverhead+4):])
	return id
}

// Commit is the content of a COMMIT entry.
type Commit struct {
	Number   uint64 // of the group
	Length   uint64 // bytes of the group's entries before the COMMIT
	Durable  uint64 // the highest group known to be durable when this one was written
	checksum uint32 // of the group's entries before the COMMIT
}

// AppendCommit closes the group dst[start:] with its COMMIT entry. seed is the
// seed of the group's offset.
func AppendCommit(dst []byte, start int, timestamp int64, group, durable uint64, seed uint32) []byte {
	return AppendCommitOf([][]byte{dst[start:]}, dst, timestamp, group, durable, seed)
}

// AppendCommitOf appends to dst the COMMIT entry of the group whose entries are
// those of pieces. seed is the seed of the group's offset.
func AppendCommitOf(pieces [][]byte, dst []byte, timestamp int64, group, durable uint64, seed uint32) []byte {
	length, sum := 0, seed
	for _, b := range pieces {
		length += len(b)
		sum = crc32.Update(sum, castagnoli, b)
	}
	value := make([]byte, 0, commitValueBytes)
	value = binary.BigEndian.AppendUint64(value, group)
	value = binary.BigEndian.AppendUint64(value, uint64(length))
	value = binary.BigEndian.AppendUint64(value, durable)
	value = binary.BigEndian.AppendUint32(value, sum)
	commitAt := len(dst)
	dst = AppendEntry(dst, OpCommit, timestamp, "", value[:commitValueBytes])
	return Seal(dst, commitAt, seed)
}

// decodeCommit decodes a COMMIT entry's value and verifies nothing.
func decodeCommit(value []byte) Commit {
	return Commit{
		Number:   binary.BigEndian.Uint64(value),
		Length:   binary.BigEndian.Uint64(value[8:]),
		Durable:  binary.BigEndian.Uint64(value[16:]),
		checksum: binary.BigEndian.Uint32(value[24:]),
	}
}

// End is the content of an END entry.
type End struct {
	Group   uint64 // the last group of the segment
	Durable uint64 // as in Commit
}

// AppendEnd appends an END entry. seed is the seed of the entry's offset.
func AppendEnd(dst []byte, timestamp int64, end End, seed uint32) []byte {
	start := len(dst)
	value := make([]byte, 0, endValueBytes)
	value = binary.BigEndian.AppendUint64(value, end.Group)
	value = binary.BigEndian.AppendUint64(value, end.Durable)
	dst = AppendEntry(dst, OpEnd, timestamp, "", value[:endValueBytes])
	return Seal(dst, start, seed)
}
