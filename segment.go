package kvstore

import (
	"errors"
	"fmt"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// Sizes of segments. Small at first, so that opening, reading and repairing a store that writes little stays
// cheap; doubling, so that one that writes much seldom rotates. Recovery has two of them in memory.
const (
	firstSegmentBytes = 256 << 10
	maxSegmentBytes   = 32 << 20
	segmentAlign      = 4096 // sizes are multiples of it: a page of every file system
)

// segment is a WAL file while it is written. Whoever holds it owns it: the writer, and Open before there is one.
type segment struct {
	file   vfs.File
	name   string
	header format.Header
	size   int64 // reserved; only a group too large for every segment may not go beyond it
	offset int64 // where the next entry goes: header and groups so far
}

// segmentPlan says what a new segment is to be.
type segmentPlan struct {
	header    format.Header
	timestamp int64
	size      int64
	group     int64 // the size of groups to expect, if the space is to be filled with zeros; 0 if it is not
}

// reserveSegment makes a segment. If the space for it is not to be had, it makes do with need bytes.
func reserveSegment(dir vfs.Dir, plan segmentPlan, need int64) (*segment, error) {
	wanted := max(plan.size, need)
	plan.size = wanted
	s, err := makeSegment(dir, plan)
	if vfs.IsExhausted(err) && need < wanted {
		plan.size = need
		s, err = makeSegment(dir, plan)
	}
	return s, err
}

func alignSegment(size int64) int64 {
	return (size + segmentAlign - 1) / segmentAlign * segmentAlign
}

// makeSegment makes a segment under its temporary name, durable with its SEGMENT entry and all its space.
func makeSegment(dir vfs.Dir, plan segmentPlan) (*segment, error) {
	s := &segment{name: format.SegmentName(plan.header.Number), header: plan.header, size: alignSegment(plan.size)}
	file, err := dir.Create(s.name + format.TmpSuffix)
	if err != nil {
		return nil, fmt.Errorf("kvstore: create %s: %w", s.name, err)
	}
	s.file = file
	err = file.Allocate(s.size)
	if err == nil && plan.group > 0 {
		err = vfs.FillZeros(file, s.size, plan.group)
	}
	if err == nil {
		err = s.append(format.AppendHeader(nil, plan.timestamp, plan.header))
	}
	if err == nil {
		err = vfs.SyncAside(file)
	}
	if err != nil {
		return nil, fmt.Errorf("kvstore: reserve %s: %w", s.name, discard(dir, s.name+format.TmpSuffix, errors.Join(err, file.Close())))
	}
	return s, nil
}

// publish gives a reserved segment its name, durably.
func (s *segment) publish(dir vfs.Dir) error {
	if err := dir.Rename(s.name+format.TmpSuffix, s.name); err != nil {
		return fmt.Errorf("kvstore: name %s: %w", s.name, err)
	}
	return syncDir(dir)
}

// empty reports whether the segment has no group yet.
func (s *segment) empty() bool { return s.offset == format.SegmentEntryBytes }

// fits reports whether a group of this size leaves room for the END entry.
func (s *segment) fits(groupBytes int64) bool {
	return s.offset+groupBytes+format.EndEntryBytes <= s.size
}

// seed returns what the checksums of an entry at the current offset are seeded with.
func (s *segment) seed() uint32 { return s.seedAt(0) }

// seedAt is seed for an entry that comes so many bytes later.
func (s *segment) seedAt(ahead int64) uint32 {
	return format.Seed(s.header.ID, s.header.Number, s.offset+ahead)
}

// append writes b behind what is there; it is not durable before sync returned.
func (s *segment) append(b []byte) error {
	if _, err := s.file.WriteAt(b, s.offset); err != nil {
		return fmt.Errorf("kvstore: write %s: %w", s.name, err)
	}
	s.offset += int64(len(b))
	return nil
}

// sync makes what was appended durable.
func (s *segment) sync(by *vfs.Syncer) error {
	if err := by.Sync(s.file); err != nil {
		return fmt.Errorf("kvstore: sync %s: %w", s.name, err)
	}
	return nil
}

func (s *segment) close() error { return s.file.Close() }
