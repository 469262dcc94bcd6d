package kvstore

import (
	"errors"
	"fmt"

	"kvstore/internal/vfs"
)

// Sizes of segments. Small at first, so that opening, reading and repairing a store that writes little stays
// cheap; doubling, so that one that writes much seldom rotates.
const (
	firstSegmentBytes = 1 << 20
	maxSegmentBytes   = 64 << 20
	segmentAlign      = 4096 // sizes are multiples of it: a page of every file system
)

// segment is a WAL file while it is written. Whoever holds it owns it: the writer, and Open before there is one.
type segment struct {
	file   vfs.File
	name   string
	header segmentHeader
	size   int64 // reserved; only a group too large for every segment may not go beyond it
	offset int64 // where the next entry goes: header and groups so far
}

// reserveSegment makes a segment under its temporary name, durable with its SEGMENT entry and all its space. If
// the space for size bytes is not to be had, it makes do with need.
func reserveSegment(dir vfs.Dir, header segmentHeader, timestamp, size, need int64) (*segment, error) {
	s, err := makeSegment(dir, header, timestamp, alignSegment(max(size, need)))
	if vfs.IsExhausted(err) && need < size {
		s, err = makeSegment(dir, header, timestamp, alignSegment(need))
	}
	return s, err
}

func alignSegment(size int64) int64 {
	return (size + segmentAlign - 1) / segmentAlign * segmentAlign
}

func makeSegment(dir vfs.Dir, header segmentHeader, timestamp, size int64) (*segment, error) {
	s := &segment{name: segmentName(header.number), header: header, size: size}
	file, err := dir.Create(s.name + tmpSuffix)
	if err != nil {
		return nil, fmt.Errorf("kvstore: create %s: %w", s.name, err)
	}
	s.file = file
	err = file.Allocate(size)
	if err == nil {
		err = s.append(appendSegmentHeader(nil, timestamp, header))
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		return nil, fmt.Errorf("kvstore: reserve %s: %w", s.name, discard(dir, s.name+tmpSuffix, errors.Join(err, file.Close())))
	}
	return s, nil
}

// publish gives a reserved segment its name, durably.
func (s *segment) publish(dir vfs.Dir) error {
	if err := dir.Rename(s.name+tmpSuffix, s.name); err != nil {
		return fmt.Errorf("kvstore: name %s: %w", s.name, err)
	}
	return syncDir(dir)
}

// empty reports whether the segment has no group yet.
func (s *segment) empty() bool { return s.offset == segmentEntryBytes }

// fits reports whether a group of this size leaves room for the END entry.
func (s *segment) fits(groupBytes int64) bool { return s.offset+groupBytes+endEntryBytes <= s.size }

// seed returns what the checksums of an entry at the current offset are seeded with.
func (s *segment) seed() uint32 { return seedAt(s.header.id, s.header.number, s.offset) }

// append writes b behind what is there; it is not durable before sync returned.
func (s *segment) append(b []byte) error {
	if _, err := s.file.WriteAt(b, s.offset); err != nil {
		return fmt.Errorf("kvstore: write %s: %w", s.name, err)
	}
	s.offset += int64(len(b))
	return nil
}

func (s *segment) sync() error {
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("kvstore: sync %s: %w", s.name, err)
	}
	return nil
}

func (s *segment) close() error { return s.file.Close() }
