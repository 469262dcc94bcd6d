package table

import (
	"encoding/binary"
	"unsafe"
)

// A record is a key and its value, side by side in a slab:
//
//	0        2          6     6+k     6+k+v
//	| keyLen | valueLen | key | value | deadline | padding to 8 bytes |
//
// The highest bit of valueLen says whether there is a deadline. It takes 8
// bytes, so a record without one costs nothing, and one with the deadline 0 has
// none any more. Integers are little-endian, which is what most processors load
// fastest. These bytes never leave the process.
const (
	recordHeader  = 2 + 4
	recordAlign   = 8
	deadlineBytes = 8

	volatileRecord = 1 << 31 // the bit of valueLen

	lineBytes = 64 // of a processor's cache, usually
)

// record is the bytes from the beginning of a record on. Bytes after its end
// may belong to other records.
type record []byte

// recordBytes returns the size of a record, in bytes. It has no room for a
// deadline of 0.
func recordBytes(keyLen, valueLen int, deadline int64) int {
	n := recordHeader + keyLen + valueLen
	if deadline != 0 {
		n += deadlineBytes
	}
	return alignRecord(n)
}

// alignRecord rounds a record's bytes up to its size.
func alignRecord(n int) int { return (n + recordAlign - 1) &^ (recordAlign - 1) }

// writeRecord writes a record to the beginning of r.
func writeRecord(r record, p Pair) {
	binary.LittleEndian.PutUint16(r, uint16(len(p.Key)))
	copy(r[recordHeader:], p.Key)
	r.setValue(p.Value)
	if p.Deadline != 0 {
		r.addDeadline(p.Deadline)
	}
}

func (r record) keyLen() int      { return int(binary.LittleEndian.Uint16(r)) }
func (r record) word() uint32     { return binary.LittleEndian.Uint32(r[2:]) }
func (r record) valueLen() int    { return int(r.word() &^ volatileRecord) }
func (r record) isVolatile() bool { return r.word()&volatileRecord != 0 } // it has room for a deadline
func (r record) size() int        { return alignRecord(r.bytes()) }

// bytes returns the size of the record without padding.
func (r record) bytes() int {
	word := r.word()
	return recordHeader + r.keyLen() + int(word&^volatileRecord) + int(word>>31*deadlineBytes)
}

func (r record) key() []byte {
	end := recordHeader + r.keyLen()
	return r[recordHeader:end:end]
}

func (r record) value() []byte {
	start := recordHeader + r.keyLen()
	end := start + r.valueLen()
	return r[start:end:end]
}

// deadline returns when the key is gone, 0 for never.
func (r record) deadline() int64 {
	if !r.isVolatile() {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(r[recordHeader+r.keyLen()+r.valueLen():]))
}

// setValue overwrites the value, and leaves the record without a deadline. The
// record's size must not change.
func (r record) setValue(value []byte) {
	binary.LittleEndian.PutUint32(r[2:], uint32(len(value)))
	copy(r[recordHeader+r.keyLen():], value)
}

// addDeadline gives a record that has room for it a deadline.
func (r record) addDeadline(deadline int64) {
	binary.LittleEndian.PutUint32(r[2:], r.word()|volatileRecord)
	r.setDeadline(deadline)
}

// setDeadline changes the deadline. A record without room for one stays as it
// is: its deadline can only be set to 0.
func (r record) setDeadline(deadline int64) {
	if r.isVolatile() {
		binary.LittleEndian.PutUint64(r[recordHeader+r.keyLen()+r.valueLen():], uint64(deadline))
	}
}

// pair returns the record as a pair, which shares its bytes.
func (r record) pair() Pair { return Pair{Key: r.key(), Value: r.value(), Deadline: r.deadline()} }

// touch loads the cache lines after the first one of a short record. The result
// only keeps the compiler from dropping the loads.
func (r record) touch() (sum byte) { return touchLines(r[:r.bytes()]) }

// touchLines loads the cache lines after the first one of b: up to three, and
// the last one.
func touchLines(b []byte) (sum byte) {
	if len(b) == 0 {
		return 0
	}
	for at := lineBytes; at < min(len(b), 4*lineBytes); at += lineBytes {
		sum += b[at]
	}
	return sum + b[len(b)-1]
}

// unsafeString returns a string that shares b's bytes. The caller must not use
// it after they change.
func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// unsafeBytes returns the bytes of a string. Nobody may change them.
func unsafeBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
