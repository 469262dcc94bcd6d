package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Segment is the bytes of one segment, and what its checksums are seeded with.
type Segment struct {
	ID     StoreID
	Number uint64
	Data   []byte
}

// Seed returns what the checksums of a group, or an END, that starts at offset are seeded with.
func (s *Segment) Seed(offset int) uint32 { return Seed(s.ID, s.Number, int64(offset)) }

// Group is one group as it lies in a segment.
type Group struct {
	Commit
	Offset  int
	Bytes   []byte // the whole group, its COMMIT included
	Entries int    // how many SET and DELETE entries

	hasUnknownOp bool   // an op is neither SET nor DELETE
	unknownOp    Op     // the first such op
	defect       string // what is wrong with the first entry that no version writes; "" for nothing
}

// Body returns the group's entries without its COMMIT.
func (g *Group) Body() []byte { return g.Bytes[:g.Length] }

// Flaw returns what is wrong with a group whose checksums are right, "" for nothing.
func (g *Group) Defect() string {
	if g.hasUnknownOp {
		return fmt.Sprintf("unknown op 0x%02x", byte(g.unknownOp))
	}
	return g.defect
}

// Strange reports whether the group has an op that is not known: a later version has written it.
func (g *Group) HasUnknownOp() bool { return g.hasUnknownOp }

// GroupAt returns the group that starts at offset; ok is false if no whole and undamaged group does. It reads each byte at
// most twice, whatever it finds.
func (s *Segment) GroupAt(offset int) (g Group, ok bool) {
	g.Offset = offset
	for at := offset; ; g.Entries++ {
		e, ok := DecodeEntry(s.Data[at:])
		switch {
		case !ok || e.Op == OpSegment || e.Op == OpEnd:
			return Group{}, false
		case e.Op == OpCommit:
			g.Bytes = s.Data[offset : at+e.Size()]
			g.Commit, ok = s.commitAt(at, &e)
			return g, ok && g.Entries > 0 && s.holds(offset, at, g.Commit)
		default:
			g.judge(&e)
		}
		at += e.Size()
	}
}

// judge looks at what an entry says: a group of which all checksums are right may still be none of ours.
func (g *Group) judge(e *Entry) {
	switch {
	case e.Op != OpSet && e.Op != OpDelete && !g.hasUnknownOp:
		g.hasUnknownOp, g.unknownOp = true, e.Op
	case g.defect != "":
	case len(e.Key) > MaxKeyBytes || len(e.Value) > MaxValueBytes:
		g.defect = "entry larger than any that is written"
	case e.Op == OpDelete && len(e.Value) > 0:
		g.defect = "DELETE entry with a value"
	}
}

// holds reports whether the entries from offset to commitAt are what the commit vouches for.
func (s *Segment) holds(offset, commitAt int, c Commit) bool {
	body := s.Data[offset:commitAt]
	return c.Length == uint64(len(body)) && c.checksum == crc32.Update(s.Seed(offset), castagnoli, body)
}

// commitAt returns what the COMMIT entry e at this offset says; ok is false unless its own checksum is right.
func (s *Segment) commitAt(offset int, e *Entry) (c Commit, ok bool) {
	if !e.isControl(OpCommit, commitValueBytes) {
		return Commit{}, false
	}
	c = decodeCommit(e.Value)
	if c.Length > uint64(offset) {
		return Commit{}, false
	}
	return c, isSealed(s.Data[offset:offset+e.Size()], s.Seed(offset-int(c.Length)))
}

// EndAt returns what the END entry at offset says; ok is false if there is none with a right checksum.
func (s *Segment) EndAt(offset int) (end End, ok bool) {
	e, ok := DecodeEntry(s.Data[offset:min(len(s.Data), offset+EndEntryBytes)])
	if !ok || !e.isControl(OpEnd, endValueBytes) || !isSealed(s.Data[offset:offset+e.Size()], s.Seed(offset)) {
		return End{}, false
	}
	return End{
		Group:   binary.BigEndian.Uint64(e.Value),
		Durable: binary.BigEndian.Uint64(e.Value[8:]),
	}, true
}

// DurableBehind looks at every byte from offset on for COMMIT and END entries with right checksums, and returns the
// highest group that one of them knew durable, with that entry's offset. It takes linear time: a candidate is of
// fixed size.
func (s *Segment) DurableBehind(offset int) (durable uint64, at int) {
	magic := binary.BigEndian.AppendUint32(nil, entryMagic)
	for {
		i := bytes.Index(s.Data[offset:], magic)
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

// NextIntact returns the offset of the first whole group, or END, at or behind offset, whatever its number; ok is false if there is none. It
// is for what Open refuses: such a group counts for nothing there.
//
// It looks for COMMITs and not for where a group may begin: each byte belongs to one group at most, so no bytes but forged ones are
// read more than twice.
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

// groupUpTo returns where the group begins whose COMMIT is at this offset; ok is false if there is no whole one.
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

// durableAt returns the group that a COMMIT or END entry at offset knows durable, 0 if there is no such entry.
func (s *Segment) durableAt(offset int) uint64 {
	if end, ok := s.EndAt(offset); ok {
		return end.Durable
	}
	e, ok := DecodeEntry(s.Data[offset:min(len(s.Data), offset+CommitEntryBytes)])
	if !ok {
		return 0
	}
	c, ok := s.commitAt(offset, &e)
	if !ok {
		return 0
	}
	return c.Durable
}
