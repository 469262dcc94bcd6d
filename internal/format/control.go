package format

import (
	"encoding/binary"
	"hash/crc32"
)

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

	SegmentEntryBytes = EntryOverhead + segmentValueBytes
	CommitEntryBytes  = EntryOverhead + commitValueBytes
	EndEntryBytes     = EntryOverhead + endValueBytes

	// maxSegmentEntryBytes bounds what a later version may make of the SEGMENT entry.
	maxSegmentEntryBytes = 4096
)

// Header is what a SEGMENT entry says.
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

// DecodeHeader decodes the SEGMENT entry at the start of b. With another version than ours only the version
// is set. ok is false when no SEGMENT entry with a right checksum is there.
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

// GuessID returns what stands where a SEGMENT entry has the store's id, though the entry is damaged: only checksums of groups can tell
// whether it is right.
func GuessID(segment []byte) (id StoreID) {
	copy(id[:], segment[min(len(segment), EntryOverhead+4):])
	return id
}

// Commit is what a COMMIT entry says of its group.
type Commit struct {
	Number   uint64 // the group's
	Length   uint64 // bytes of the group's entries before the COMMIT
	Durable  uint64 // the highest group that was known durable when this one was written
	checksum uint32 // of the group's entries before the COMMIT
}

// AppendCommit closes the group dst[start:] with its COMMIT entry; seed is that of the group's offset.
func AppendCommit(dst []byte, start int, timestamp int64, group, durable uint64, seed uint32) []byte {
	body := dst[start:]
	value := make([]byte, 0, commitValueBytes)
	value = binary.BigEndian.AppendUint64(value, group)
	value = binary.BigEndian.AppendUint64(value, uint64(len(body)))
	value = binary.BigEndian.AppendUint64(value, durable)
	value = binary.BigEndian.AppendUint32(value, crc32.Update(seed, castagnoli, body))
	commitAt := len(dst)
	dst = AppendEntry(dst, OpCommit, timestamp, "", value[:commitValueBytes])
	return Seal(dst, commitAt, seed)
}

// decodeCommit reads a COMMIT entry's value, unverified.
func decodeCommit(value []byte) Commit {
	return Commit{
		Number:   binary.BigEndian.Uint64(value),
		Length:   binary.BigEndian.Uint64(value[8:]),
		Durable:  binary.BigEndian.Uint64(value[16:]),
		checksum: binary.BigEndian.Uint32(value[24:]),
	}
}

// End is what an END entry says.
type End struct {
	Group   uint64 // the last group of the segment
	Durable uint64 // as in Commit
}

// AppendEnd appends an END entry; seed is that of the offset where it goes.
func AppendEnd(dst []byte, timestamp int64, end End, seed uint32) []byte {
	start := len(dst)
	value := make([]byte, 0, endValueBytes)
	value = binary.BigEndian.AppendUint64(value, end.Group)
	value = binary.BigEndian.AppendUint64(value, end.Durable)
	dst = AppendEntry(dst, OpEnd, timestamp, "", value[:endValueBytes])
	return Seal(dst, start, seed)
}
