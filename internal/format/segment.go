package format

import (
	"bytes"
	"cmp"
	"encoding/binary"
)

// Segment is the bytes of one segment and the parts of its checksums' seeds.
type Segment struct {
	ID     StoreID
	Number uint64
	Data   []byte

	base int // offset of Data in the segment: 0, but in a [Window]
}

// Seed returns the seed for the checksums of a group or an END entry at this
// offset.
func (s *Segment) Seed(offset int) uint32 { return Seed(s.ID, s.Number, int64(offset)) }

// peek returns n bytes from offset on, or fewer at the end of Data.
func (s *Segment) peek(offset, n int) []byte {
	at := offset - s.base
	return s.Data[at:min(len(s.Data), at+n)]
}

// Group is one group in a segment.
type Group struct {
	Commit
	Offset  int
	Bytes   []byte // the whole group with its COMMIT entry; nil if it is larger than a piece of its [Window]
	Entries int    // number of entries before the COMMIT

	later  string // the first thing that only a later version writes; "" for none
	defect string // the first thing that no version writes; "" for none

	// Of the commit that the last judged entry belongs to.
	version  int64
	needless bool // it has a CAUSE, but no DELETE so far
}

// Size returns the size of the whole group in bytes.
func (g *Group) Size() int { return int(g.Length) + CommitEntryBytes }

// Body returns the group's entries without its COMMIT entry. The group must
// have its Bytes.
func (g *Group) Body() []byte { return g.Bytes[:g.Length] }

// Defect says what is wrong with a group whose checksums are valid, "" for
// nothing.
func (g *Group) Defect() string { return cmp.Or(g.later, g.defect) }

// IsLater reports whether a later version has written the group: it has an op
// or a cause that this version does not know.
func (g *Group) IsLater() bool { return g.later != "" }

// GroupAt returns the group at offset. ok is false if there is no complete and
// undamaged group. GroupAt reads each byte at most twice, whatever it finds.
func (s *Segment) GroupAt(offset int) (g Group, ok bool) {
	w := Window{Segment: *s, size: len(s.Data)}
	g, _, ok, _ = w.groupAt(offset, 0) // no error: all of it is in memory
	return g, ok
}

// judge checks the content of the next entry, before it is counted. A group can
// be invalid although all of its checksums are valid.
//
// The entries of a commit have one timestamp, and the next commit has another
// one.
func (g *Group) judge(e shape) {
	begins := g.Entries == 0 || e.timestamp != g.version
	if begins {
		g.endCommit()
		g.version = e.timestamp
	}
	if g.later == "" {
		g.later = e.later()
	}
	if g.defect == "" {
		g.defect = e.defect(begins)
	}
	switch e.op {
	case OpCause:
		g.needless = true
	case OpDelete:
		g.needless = false
	case OpSet, OpExpire, OpSegment, OpCommit, OpEnd:
	}
}

// endCommit checks the commit whose last entry was judged, if there is one.
func (g *Group) endCommit() {
	if g.needless && g.defect == "" {
		g.defect = "CAUSE entry in a commit without a DELETE"
	}
	g.needless = false
}

// commitAt returns the content of the COMMIT entry e at this offset. ok is
// false unless the entry's own checksum is valid.
func (s *Segment) commitAt(offset int, e *Entry) (c Commit, ok bool) {
	if !e.isControl(OpCommit, commitValueBytes) {
		return Commit{}, false
	}
	c = decodeCommit(e.Value)
	if c.Length > uint64(offset) {
		return Commit{}, false
	}
	return c, isSealed(s.peek(offset, e.Size()), s.Seed(offset-int(c.Length)))
}

// EndAt returns the content of the END entry at offset. ok is false if there is
// none with a valid checksum.
func (s *Segment) EndAt(offset int) (end End, ok bool) {
	e, ok := DecodeEntry(s.peek(offset, EndEntryBytes))
	if !ok || !e.isControl(OpEnd, endValueBytes) || !isSealed(s.peek(offset, e.Size()), s.Seed(offset)) {
		return End{}, false
	}
	return End{
		Group:   binary.BigEndian.Uint64(e.Value),
		Durable: binary.BigEndian.Uint64(e.Value[8:]),
	}, true
}

// DurableBehind searches all bytes from offset on for COMMIT and END entries
// with valid checksums. It returns the highest group that one of them proves
// durable, and the offset of that entry. The search takes linear time, because
// each candidate has a fixed size.
func (s *Segment) DurableBehind(offset int) (durable uint64, at int) {
	magic := binary.BigEndian.AppendUint32(nil, entryMagic)
	for {
		i := bytes.Index(s.Data[offset-s.base:], magic)
		if i < 0 {
			return durable, at
		}
		offset += i
		if d := s.durableAt(offset); d > durable {
			durable, at = d, offset
		}
		offset++
	}
}

// NextIntact returns the offset of the first complete group or END entry at or
// after offset, whatever its number. ok is false if there is none. It is for
// tools that inspect a segment that Open refuses. Such a group counts for
// nothing in a store.
//
// NextIntact searches for COMMIT entries and not for the beginnings of groups.
// Each byte belongs to at most one group, so no bytes but forged ones are read
// more than twice.
func (s *Segment) NextIntact(offset int) (at int, ok bool) {
	magic := binary.BigEndian.AppendUint32(nil, entryMagic)
	for at := offset; ; at++ {
		i := bytes.Index(s.Data[at:], magic)
		if i < 0 {
			return 0, false
		}
		at += i
		if _, ok := s.EndAt(at); ok {
			return at, true
		}
		if start, ok := s.groupUpTo(at); ok && start >= offset {
			return start, true
		}
	}
}

// groupUpTo returns the offset of the group whose COMMIT entry is at commitAt.
// ok is false if there is no complete group.
func (s *Segment) groupUpTo(commitAt int) (start int, ok bool) {
	e, ok := DecodeEntry(s.Data[commitAt:min(len(s.Data), commitAt+CommitEntryBytes)])
	if !ok {
		return 0, false
	}
	c, ok := s.commitAt(commitAt, &e)
	if !ok {
		return 0, false
	}
	start = commitAt - int(c.Length)
	g, ok := s.GroupAt(start)
	return start, ok && len(g.Bytes) == commitAt-start+CommitEntryBytes
}

// durableAt returns the group that a COMMIT or END entry at offset proves
// durable, 0 if there is no such entry.
func (s *Segment) durableAt(offset int) uint64 {
	if end, ok := s.EndAt(offset); ok {
		return end.Durable
	}
	e, ok := DecodeEntry(s.peek(offset, CommitEntryBytes))
	if !ok {
		return 0
	}
	c, ok := s.commitAt(offset, &e)
	if !ok {
		return 0
	}
	return c.Durable
}
