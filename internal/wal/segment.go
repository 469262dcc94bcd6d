package wal

import (
	"errors"
	"fmt"

	"kvstore/internal/datadir"
	"kvstore/internal/diskio"
	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// Sizes of segments. The first one is small, so that a store that writes little
// opens, recovers and is repaired cheaply. Each following one is twice as
// large, so that a store that writes much rotates seldom. Recovery reads them
// in pieces, so their size costs no memory.
const (
	FirstSegmentBytes = 256 << 10
	MaxSegmentBytes   = 32 << 20

	// SegmentAlign divides the size of every segment: a page of every file
	// system.
	SegmentAlign = 4096
)

// segment is a segment file that is being written. Its owner is the [Log].
type segment struct {
	file   vfs.File
	name   string
	header format.Header
	size   int64 // reserved; only a group too large for every segment exceeds it
	offset int64 // of the next entry: the header and the groups so far
	dir    vfs.Dir
	named  bool // the directory said that the name led to the file when it got it
}

// segmentPlan says what a new segment should be.
type segmentPlan struct {
	header    format.Header
	timestamp int64 // of its SEGMENT entry, unix nanoseconds
	size      int64

	// groupBytes is the expected size of groups. The space is filled with zeros
	// for groups of this size; 0 leaves it unwritten.
	groupBytes int64
}

// reserveSegment makes a segment of the planned size or, if the disk has no
// room for that, of a half, a quarter, and so on, down to need bytes.
func reserveSegment(dir vfs.Dir, plan segmentPlan, need int64) (*segment, error) {
	for size := plan.size; ; size /= 2 {
		plan.size = max(size, need)
		s, err := makeSegment(dir, plan)
		if !vfs.IsExhausted(err) || plan.size == need {
			return s, err
		}
	}
}

func alignSegment(size int64) int64 {
	return (size + SegmentAlign - 1) / SegmentAlign * SegmentAlign
}

// makeSegment makes a segment under its temporary name. Its SEGMENT entry and
// all of its space are durable when makeSegment returns.
func makeSegment(dir vfs.Dir, plan segmentPlan) (*segment, error) {
	s := &segment{
		name:   format.SegmentName(plan.header.Number),
		header: plan.header,
		size:   alignSegment(plan.size),
	}
	file, err := dir.Create(s.name + format.TmpSuffix)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", s.name, err)
	}
	s.file = file
	if err := s.fill(plan); err != nil {
		err = datadir.Discard(dir, s.name+format.TmpSuffix, errors.Join(err, file.Close()))
		return nil, fmt.Errorf("reserve %s: %w", s.name, err)
	}
	return s, nil
}

// fill reserves the segment's space, writes its header, and syncs both.
func (s *segment) fill(plan segmentPlan) error {
	err := s.file.Allocate(s.size)
	if err == nil && plan.groupBytes > 0 {
		err = diskio.FillZeros(s.file, s.size, plan.groupBytes)
	}
	if err == nil {
		err = s.append(format.AppendHeader(nil, plan.timestamp, plan.header))
	}
	if err == nil {
		err = vfs.SyncAside(s.file)
	}
	return err
}

// rename gives the segment its name, durably.
func (s *segment) rename(dir vfs.Dir) error {
	if err := dir.Rename(s.name+format.TmpSuffix, s.name); err != nil {
		return fmt.Errorf("name %s: %w", s.name, err)
	}
	s.dir, s.named = dir, dir.Lost(s.name, s.file, s.offset) == ""
	return datadir.Sync(dir)
}

// empty reports whether the segment has no group yet.
func (s *segment) empty() bool { return s.offset == format.SegmentEntryBytes }

// fits reports whether a group of groupBytes leaves room for the END entry.
func (s *segment) fits(groupBytes int64) bool {
	return s.offset+groupBytes+format.EndEntryBytes <= s.size
}

// seed returns the checksum seed of an entry that starts n bytes behind the
// current offset.
func (s *segment) seed(n int64) uint32 {
	return format.Seed(s.header.ID, s.header.Number, s.offset+n)
}

// append writes b behind the last entry. It is durable after sync.
func (s *segment) append(b []byte) error {
	if _, err := s.file.WriteAt(b, s.offset); err != nil {
		return fmt.Errorf("write %s: %w", s.name, err)
	}
	s.offset += int64(len(b))
	return nil
}

// sync makes everything appended so far durable.
func (s *segment) sync(by *diskio.Syncer) error {
	if err := by.Sync(s.file); err != nil {
		return fmt.Errorf("sync %s: %w", s.name, err)
	}
	return s.checkName()
}

// checkName returns an error if somebody has removed, moved, replaced or
// truncated the file: then the next Open does not find its bytes, however often
// they are synced.
func (s *segment) checkName() error {
	if !s.named {
		return nil
	}
	if lost := s.dir.Lost(s.name, s.file, max(s.size, s.offset)); lost != "" {
		return fmt.Errorf("%s %s while it is in use", s.name, lost)
	}
	return nil
}

func (s *segment) close() error { return s.file.Close() }
