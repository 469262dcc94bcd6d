package format

import (
	"bytes"
	"fmt"
)

// Chain is what the files of a store have told so far, read in their order: each must go on where the one before has ended. The zero
// value is that of a store without a snapshot, of which nothing was read yet.
type Chain struct {
	ID        StoreID
	KnowsID   bool   // ID was read from a file
	LastGroup uint64 // the last group so far
	Durable   uint64 // the highest group that is proven durable
}

// Begin has the chain begin with a snapshot.
func (c *Chain) Begin(info *Snapshot) {
	*c = Chain{ID: info.ID, KnowsID: true, LastGroup: info.LastGroup, Durable: info.LastGroup}
}

// Scanner judges one segment, from its first byte to its last: its SEGMENT entry, the groups behind it, and what follows the last one.
type Scanner struct {
	chain   *Chain
	segment Segment
	offset  int // of the next group, if one follows
}

// Scan begins to judge the next segment: it verifies the SEGMENT entry, which was durable before the file had its name, so that nothing
// but damage can explain a bad one. The error is a [*Damage] or a [*Later].
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

// Offset returns how far groups have followed each other so far.
func (s *Scanner) Offset() int { return s.offset }

// Next returns the next group; ok is false if no valid one follows, and [Scanner.Tail] tells what that means. A group whose checksums
// are right may still be an error: a [*Damage] or a [*Later].
func (s *Scanner) Next() (g Group, ok bool, err error) {
	if g, ok = s.segment.GroupAt(s.offset); !ok {
		return Group{}, false, nil
	}
	switch {
	case g.Number != s.chain.LastGroup+1:
		return Group{}, false, s.damage(fmt.Sprintf("group %d is here where group %d belongs", g.Number, s.chain.LastGroup+1))
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

// damage returns the error for the spot that was reached.
func (s *Scanner) damage(reason string) error {
	return &Damage{File: SegmentName(s.segment.Number), Offset: int64(s.offset), Reason: reason}
}

// Tail is what follows the last group of a segment.
type Tail struct {
	Ended  bool  // by an END
	Offset int   // behind END if there is one, or else behind the last group
	Torn   int64 // in the last segment: bytes from Offset up to the last that is not zero
}

// Tail judges what follows when [Scanner.Next] finds no more groups. Only the last segment of all may lack its END: what is there instead is a
// torn tail, or damage if anything behind the bad spot knows the group that belongs there to have been durable. The error is a [*Damage].
func (s *Scanner) Tail(isLast bool) (Tail, error) {
	end, ended := s.segment.EndAt(s.offset)
	t := Tail{Ended: ended && end.Group == s.chain.LastGroup, Offset: s.offset}
	switch {
	case t.Ended:
		t.Offset += EndEntryBytes
	case !isLast:
		return Tail{}, s.damage(fmt.Sprintf("neither group %d nor the segment's end is here, though a later segment exists", s.chain.LastGroup+1))
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

// hearWitnesses looks behind a bad spot for what tells damage from a torn tail.
func (s *Scanner) findDurabilityProof() error {
	durable, at := s.segment.DurableBehind(s.offset)
	if durable > s.chain.LastGroup {
		return s.damage(fmt.Sprintf("group %d is damaged: the entry at offset %d knows that group %d was durable",
			s.chain.LastGroup+1, at, durable))
	}
	s.chain.Durable = max(s.chain.Durable, durable)
	return nil
}
