// Package format is the bytes of a store: file names, entries, groups, segments and snapshots, written, read and judged. docs/FORMAT.md
// is the specification; every number here is frozen by it. All integers are big-endian.
//
// It knows bytes and nothing else: no directories, no tables, no locks. What is damage, what is a torn tail and what a later version has
// written is decided here, and here alone, so that a store and a tool that looks at its files come to the same verdicts.
package format

import (
	"encoding/binary"
	"hash/crc32"
)

// Version is the version of segments and snapshots that this package writes and reads.
const Version uint32 = 1

// Limits of what a reader accepts; writers check them before.
const (
	MaxKeyBytes   = 65_535
	MaxValueBytes = 512 << 20
)

// StoreID tells the files of one store from those of another.
type StoreID [16]byte

// castagnoli is the polynomial of CRC-32C (RFC 3720, B.4).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seed returns what the checksums of a group that starts at offset are seeded with: the checksum of store id,
// segment number and offset. Bytes of another store, another segment or another place thus never pass.
func Seed(id StoreID, segment uint64, offset int64) uint32 {
	var b [32]byte
	copy(b[:], id[:])
	binary.BigEndian.PutUint64(b[16:], segment)
	binary.BigEndian.PutUint64(b[24:], uint64(offset))
	return crc32.Checksum(b[:], castagnoli)
}

// Seal writes the checksum of dst[start:], all but its last 4 bytes, into these.
func Seal(dst []byte, start int, seed uint32) []byte {
	body := dst[start : len(dst)-4]
	binary.BigEndian.PutUint32(dst[len(dst)-4:], crc32.Update(seed, castagnoli, body))
	return dst
}

// isSealed reports whether the last 4 bytes of b are the checksum of those before them.
func isSealed(b []byte, seed uint32) bool {
	return crc32.Update(seed, castagnoli, b[:len(b)-4]) == binary.BigEndian.Uint32(b[len(b)-4:])
}
