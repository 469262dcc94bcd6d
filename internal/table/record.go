package table

import (
	"encoding/binary"
	"unsafe"
)

// A record is a key and its value, side by side in a slab:
//
//	0        2          6     6+k     6+k+v
//	| keyLen | valueLen | key | value | padding to 8 bytes |
//
// Lengths are little-endian, which is what most processors load fastest. These
// bytes never leave the process.
const (
	recordHeader = 2 + 4
	recordAlign  = 8

	lineBytes = 64 // of a processor's cache, usually
)

// record is the bytes from the beginning of a record on. Bytes after its end
// may belong to other records.
type record []byte

// recordBytes returns the size of a record, in bytes.
func recordBytes(keyLen, valueLen int) int {
	return (recordHeader + keyLen + valueLen + recordAlign - 1) &^ (recordAlign - 1)
}

// writeRecord writes a record to the beginning of r.
func writeRecord(r record, key, value []byte) {
	binary.LittleEndian.PutUint16(r, uint16(len(key)))
	binary.LittleEndian.PutUint32(r[2:], uint32(len(value)))
	copy(r[recordHeader:], key)
	copy(r[recordHeader+len(key):], value)
}

func (r record) keyLen() int   { return int(binary.LittleEndian.Uint16(r)) }
func (r record) valueLen() int { return int(binary.LittleEndian.Uint32(r[2:])) }
func (r record) size() int     { return recordBytes(r.keyLen(), r.valueLen()) }

func (r record) key() []byte {
	end := recordHeader + r.keyLen()
	return r[recordHeader:end:end]
}

func (r record) value() []byte {
	start := recordHeader + r.keyLen()
	end := start + r.valueLen()
	return r[start:end:end]
}

// setValue overwrites the value. The record's size must not change.
func (r record) setValue(value []byte) {
	binary.LittleEndian.PutUint32(r[2:], uint32(len(value)))
	copy(r[recordHeader+r.keyLen():], value)
}

// touch loads the cache lines after the first one of a short record. The result
// only keeps the compiler from dropping the loads.
func (r record) touch() (sum byte) { return touchLines(r[:recordHeader+r.keyLen()+r.valueLen()]) }

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
