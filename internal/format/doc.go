// Package format encodes, decodes and verifies the bytes of a store: file
// names, entries, groups, segments and snapshots. docs/FORMAT.md is the
// specification and freezes every number here. All integers are big-endian.
//
// The package deals with bytes only: it has no directories, tables or locks. It
// alone decides what is damage, what is a torn tail and what a later version
// has written, so that a store and a tool that inspects its files reach the
// same verdicts.
package format

import (
	"encoding/binary"
	"hash/crc32"
)

// Version is the version of segments, and of snapshots in which no pair has a
// deadline.
const Version uint32 = 1

// versionWithDeadlines is the version of snapshots in which a pair has a
// deadline, and the highest one that this package reads.
const versionWithDeadlines uint32 = 2

// Limits that a reader enforces. A writer must check them first.
const (
	MaxKeyBytes   = 65_535
	MaxValueBytes = 512 << 20
)

// StoreID distinguishes the files of one store from those of another.
type StoreID [16]byte

// castagnoli is the table of CRC-32C (RFC 3720, B.4).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seed returns the seed for the checksums of a group at this offset: the
// checksum of the store's id, the segment's number and the offset. So the bytes
// of another store, segment or offset never pass.
func Seed(id StoreID, segment uint64, offset int64) uint32 {
	var b [32]byte
	copy(b[:], id[:])
	binary.BigEndian.PutUint64(b[16:], segment)
	binary.BigEndian.PutUint64(b[24:], uint64(offset))
	return crc32.Checksum(b[:], castagnoli)
}

// Seal writes the checksum of dst[start:], without its last 4 bytes, into those
// 4 bytes.
func Seal(dst []byte, start int, seed uint32) []byte {
	body := dst[start : len(dst)-4]
	binary.BigEndian.PutUint32(dst[len(dst)-4:], crc32.Update(seed, castagnoli, body))
	return dst
}

// isSealed reports whether the last 4 bytes of b are the checksum of the bytes
// before them.
func isSealed(b []byte, seed uint32) bool {
	return crc32.Update(seed, castagnoli, b[:len(b)-4]) == binary.BigEndian.Uint32(b[len(b)-4:])
}
