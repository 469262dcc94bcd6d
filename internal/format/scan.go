package format

import (
	"bytes"
	"fmt"
)

// Chain is the state of reading a store's files in order. Each file must
// continue where the one before it ended. The zero value is the state before
// the first file of a store without a snapshot.
type Chain struct {
	ID        StoreID
	KnowsID   bool   // ID was read from a file
	LastGroup uint64 // the last group so far
	Durable   uint64 // the highest group proven to be durable
}

// Begin starts the chain with a snapshot.
func (c *Chain) Begin(info *Snapshot) {
	*c = Chain{ID: info.ID, KnowsID: true, LastGroup: info.LastGroup, Durable: info.LastGroup}
}

// Scanner judges one segment from its first byte to its last: the SEGMENT
// entry, the groups, and the bytes after the last group.
type Scanner struct {
	chain   *Chain
	segment Segment
	offset  int // of the next group, if there is one
}

// Scan begins to judge the next segment. It verifies the SEGMENT entry. That
// entry was durable before the file got its name, so an invalid one can only be
// damage. The error is a [*Damage] or a [*Later].
func (c *Chain) Scan(number uint64, data []byte) (*Scanner, error) {
	name := SegmentName(number)
	h, ok := DecodeHeader(data)
	switch {
	case !ok:
		return nil, &Damage{File: name, Reason: "no valid SEGMENT entry"}
	case h.Version > Version:
		return nil, laterVersion(name, 0, h.Version)
	case h.Number != number:
		return nil, &Damage{File: name, Reason: fmt.Sprintf("is segment %d under another name", h.Number)}
	case c.KnowsID && h.ID != c.ID:
		return nil, &Damage{File: name, Reason: "belongs to another store"}
	}
	c.ID, c.KnowsID = h.ID, true
	return &Scanner{chain: c, segment: Segment{ID: h.ID, Number: number, Data: data}, offset: SegmentEntryBytes}, nil
}

// Offset returns the offset after the last valid group so far.
func (s *Scanner) Offset() int { return s.offset }

// Next returns the next group. ok is false if no valid group follows, and
// [Scanner.Tail] then says what that means. A group with valid checksums may
// still be an error: a [*Damage] or a [*Later].
func (s *Scanner) Next() (g Group, ok bool, err error) {
	if g, ok = s.segment.GroupAt(s.offset); !ok {
		return Group{}, false, nil
	}
	switch {
	case g.Number != s.chain.LastGroup+1:
		reason := fmt.Sprintf("group %d is here where group %d belongs", g.Number, s.chain.LastGroup+1)
		return Group{}, false, s.damage(reason)
	case g.hasUnknownOp:
		detail := fmt.Sprintf("at offset %d: %s", s.offset, g.Defect())
		return Group{}, false, &Later{File: SegmentName(s.segment.Number), Offset: int64(s.offset), Detail: detail}
	case g.defect != "":
		return Group{}, false, s.damage(g.defect)
	}
	s.offset += len(g.Bytes)
	s.chain.LastGroup = g.Number
	s.chain.Durable = max(s.chain.Durable, g.Durable)
	return g, true, nil
}

// damage returns the error for damage at the current offset.
func (s *Scanner) damage(reason string) error {
	return &Damage{File: SegmentName(s.segment.Number), Offset: int64(s.offset), Reason: reason}
}

// Tail is what follows the last group of a segment.
type Tail struct {
	Ended  bool  // by an END entry
	Offset int   // after the END entry, or after the last group if there is none
	Torn   int64 // for the last segment: bytes from Offset up to the last byte that is not zero
}

// Tail judges what follows after [Scanner.Next] finds no more groups. Only the
// last segment of a store may lack its END entry. There, the bytes after the
// last group are a torn tail, unless a later entry proves that the missing
// group was durable: then they are damage. The error is a [*Damage].
func (s *Scanner) Tail(isLast bool) (Tail, error) {
	end, ended := s.segment.EndAt(s.offset)
	t := Tail{Ended: ended && end.Group == s.chain.LastGroup, Offset: s.offset}
	switch {
	case t.Ended:
		t.Offset += EndEntryBytes
	case !isLast:
		return Tail{}, s.damage(fmt.Sprintf(
			"neither group %d nor the segment's end is here, though a later segment exists", s.chain.LastGroup+1))
	default:
		if err := s.findDurabilityProof(); err != nil {
			return Tail{}, err
		}
	}
	if isLast {
		t.Torn = int64(len(bytes.TrimRight(s.segment.Data[t.Offset:], "\x00")))
	}
	return t, nil
}

// findDurabilityProof searches the bytes after the last group for an entry that
// proves the missing group durable. Such an entry distinguishes damage from a
// torn tail.
func (s *Scanner) findDurabilityProof() error {
	durable, at := s.segment.DurableBehind(s.offset)
	if durable > s.chain.LastGroup {
		return s.damage(fmt.Sprintf("group %d is damaged: the entry at offset %d knows that group %d was durable",
			s.chain.LastGroup+1, at, durable))
	}
	s.chain.Durable = max(s.chain.Durable, durable)
	return nil
}
