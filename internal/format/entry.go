package format

import (
	"encoding/binary"
	"iter"
)

// A segment is a sequence of entries of this layout:
//
//	0       4  5           13      17   17+k        21+k  21+k+v
//	| magic |op| timestamp | keyLen | key | valueLen | value |
const (
	entryMagic    uint32 = 0x4B564C47 // "KVLG"
	EntryOverhead        = 4 + 1 + 8 + 4 + 4
	opAt                 = 4
	timestampAt          = 5
	keyLenAt             = 13
)

// Op is the kind of an entry on disk. Zero is not an op, so that zeros are
// never an entry.
type Op byte

// The ops of version 1.
const (
	OpSet     Op = 0x01
	OpDelete  Op = 0x02
	OpExpire  Op = 0x03 // changes the deadline of a key that is there
	OpCause   Op = 0x04 // first entry of a commit: why its DELETEs were made
	OpSegment Op = 0x10 // first entry of a segment
	OpCommit  Op = 0x11 // last entry of a group
	OpEnd     Op = 0x12 // last entry of a segment
)

// isWrite reports whether a commit may consist of entries with this op. Only
// control entries have other ops, and those that a later version writes.
func (o Op) isWrite() bool { return o >= OpSet && o <= OpCause }

// The values of EXPIRE and CAUSE.
const (
	deadlineBytes = 8
	causeBytes    = 1

	// CauseDeadline is the cause of a commit that deletes keys since their
	// deadlines have passed.
	CauseDeadline byte = 1
)

// Entry is a decoded entry. Key and Value point into the bytes that it was
// decoded from.
type Entry struct {
	Op        Op
	Timestamp int64
	Key       []byte
	Value     []byte
}

// Size returns the size of the entry in bytes.
func (e *Entry) Size() int { return EntryOverhead + len(e.Key) + len(e.Value) }

// isControl reports whether the entry has the shape of a control entry: no key,
// and a value of exactly valueBytes bytes.
func (e *Entry) isControl(o Op, valueBytes int) bool {
	return e.Op == o && len(e.Key) == 0 && len(e.Value) == valueBytes
}

// AppendEntry appends an entry to dst.
func AppendEntry[K, V string | []byte](dst []byte, o Op, timestamp int64, key K, value V) []byte {
	dst = binary.BigEndian.AppendUint32(dst, entryMagic)
	dst = append(dst, byte(o))
	dst = binary.BigEndian.AppendUint64(dst, uint64(timestamp))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(key)))
	dst = append(dst, key...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
	return append(dst, value...)
}

// DecodeEntry decodes the entry at the start of b, whatever its op. ok is false
// if there is no complete entry.
func DecodeEntry(b []byte) (e Entry, ok bool) {
	if len(b) < EntryOverhead || binary.BigEndian.Uint32(b) != entryMagic {
		return Entry{}, false
	}
	keyLen := uint64(binary.BigEndian.Uint32(b[keyLenAt:]))
	if keyLen > uint64(len(b)-EntryOverhead) {
		return Entry{}, false
	}
	key, rest := b[keyLenAt+4:][:keyLen], b[keyLenAt+4+keyLen:]
	valueLen := uint64(binary.BigEndian.Uint32(rest))
	if valueLen > uint64(len(rest)-4) {
		return Entry{}, false
	}
	return Entry{
		Op:        Op(b[opAt]),
		Timestamp: int64(binary.BigEndian.Uint64(b[timestampAt:])),
		Key:       key,
		Value:     rest[4:][:valueLen],
	}, true
}

// ExpireValue returns the value of an EXPIRE entry: a deadline in ns since
// 1970, or 0 for none.
func ExpireValue(deadline int64) (value [deadlineBytes]byte) {
	binary.BigEndian.PutUint64(value[:], uint64(deadline))
	return value
}

// Deadline returns the deadline in an EXPIRE entry, 0 for none. ok is false if
// the entry has not the shape of one; then its group is damage.
func (e *Entry) Deadline() (deadline int64, ok bool) {
	if e.Op != OpExpire || len(e.Value) != deadlineBytes {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(e.Value)), true
}

// Entries iterates over the entries of b and their offsets in b. b must consist
// of complete entries.
func Entries(b []byte) iter.Seq2[int, Entry] {
	return func(yield func(int, Entry) bool) {
		for at := 0; at < len(b); {
			e, _ := DecodeEntry(b[at:])
			if !yield(at, e) {
				return
			}
			at += e.Size()
		}
	}
}

// SetTimestamps writes one timestamp into every entry of b. b must consist of
// complete entries.
func SetTimestamps(b []byte, timestamp int64) {
	for len(b) > 0 {
		binary.BigEndian.PutUint64(b[timestampAt:], uint64(timestamp))
		keyLen := int(binary.BigEndian.Uint32(b[keyLenAt:]))
		valueLen := int(binary.BigEndian.Uint32(b[keyLenAt+4+keyLen:]))
		b = b[EntryOverhead+keyLen+valueLen:]
	}
}
