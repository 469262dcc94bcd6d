package format

import (
	"fmt"
	"hash/crc32"
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
//
// The Scanner knows the sum of all bytes that count: a second reader of the
// file that comes to the same sum has read the same bytes.
type Scanner struct {
	chain  *Chain
	window *Window
	offset int    // of the next group, if there is one
	sum    uint32 // CRC of the bytes before offset
	total  uint32 // CRC of the bytes before the offset that Tail has returned
}

// Scan begins to judge the next segment, all of which is in memory. See
// [Chain.ScanWindow].
func (c *Chain) Scan(number uint64, data []byte) (*Scanner, error) {
	return c.ScanWindow(&Window{Segment: Segment{Number: number, Data: data}, size: len(data)})
}

// ScanWindow begins to judge the next segment. It verifies the SEGMENT entry.
// That entry was durable before the file got its name, so an invalid one can
// only be damage. The error is a [*Damage], a [*Later], or that of a read.
func (c *Chain) ScanWindow(w *Window) (*Scanner, error) {
	number, name := w.Number, SegmentName(w.Number)
	data, err := w.from(0, maxSegmentEntryBytes)
	if err != nil {
		return nil, err
	}
	h, ok := DecodeHeader(data)
	switch {
	case !ok:
		return nil, &Damage{File: name, Reason: "no valid SEGMENT entry"}
	case h.Version > Version:
		return nil, laterVersion(name, 0, h.Version, Version)
	case h.Number != number:
		return nil, &Damage{File: name, Reason: fmt.Sprintf("is segment %d under another name", h.Number)}
	case c.KnowsID && h.ID != c.ID:
		return nil, &Damage{File: name, Reason: "belongs to another store"}
	}
	c.ID, c.KnowsID, w.ID = h.ID, true, h.ID
	sum := crc32.Checksum(data[:SegmentEntryBytes], castagnoli)
	return &Scanner{chain: c, window: w, offset: SegmentEntryBytes, sum: sum}, nil
}

// Offset returns the offset after the last valid group so far.
func (s *Scanner) Offset() int { return s.offset }

// Next returns the next group. ok is false if no valid group follows, and
// [Scanner.Tail] then says what that means. A group with valid checksums may
// still be an error: a [*Damage] or a [*Later]. The other error is that of a
// read. The group's bytes are valid until the next call.
func (s *Scanner) Next() (g Group, ok bool, err error) {
	g, sum, ok, err := s.window.groupAt(s.offset, s.sum)
	if !ok || err != nil {
		return Group{}, false, err
	}
	switch {
	case g.Number != s.chain.LastGroup+1:
		reason := fmt.Sprintf("group %d is here where group %d belongs", g.Number, s.chain.LastGroup+1)
		return Group{}, false, s.damage(reason)
	case g.IsLater():
		detail := fmt.Sprintf("at offset %d: %s", s.offset, g.Defect())
		return Group{}, false, &Later{File: SegmentName(s.window.Number), Offset: int64(s.offset), Detail: detail}
	case g.defect != "":
		return Group{}, false, s.damage(g.defect)
	}
	s.offset += g.Size()
	s.sum = sum
	s.chain.LastGroup = g.Number
	s.chain.Durable = max(s.chain.Durable, g.Durable)
	return g, true, nil
}

// Entries passes the entries of the group that Next has just returned to apply,
// in slices of whole entries. A slice is valid until the next one, or as long
// as the window's memory is left alone.
//
// A group that is larger than a piece is read again. If its bytes are others
// then, the error is a [*Changed], and what was passed counts for nothing.
func (s *Scanner) Entries(g *Group, apply func(entries []byte)) error {
	if g.Bytes == nil {
		return s.window.reread(g, apply)
	}
	apply(g.Body())
	return nil
}

// Sum returns the CRC-32C of all bytes that count: those before the offset that
// Tail has returned.
func (s *Scanner) Sum() uint32 { return s.total }

// damage returns the error for damage at the current offset.
func (s *Scanner) damage(reason string) error {
	return &Damage{File: SegmentName(s.window.Number), Offset: int64(s.offset), Reason: reason}
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
// group was durable: then they are damage. The error is a [*Damage], or that of
// a read.
func (s *Scanner) Tail(isLast bool) (Tail, error) {
	b, err := s.window.from(s.offset, EndEntryBytes)
	if err != nil {
		return Tail{}, err
	}
	end, ended := s.window.EndAt(s.offset)
	t := Tail{Ended: ended && end.Group == s.chain.LastGroup, Offset: s.offset}
	s.total = s.sum
	switch {
	case t.Ended:
		t.Offset += EndEntryBytes
		s.total = crc32.Update(s.sum, castagnoli, b[:EndEntryBytes])
	case !isLast:
		return Tail{}, s.damage(fmt.Sprintf(
			"neither group %d nor the segment's end is here, though a later segment exists", s.chain.LastGroup+1))
	}
	if !isLast {
		return t, nil
	}
	rest, err := s.window.rest(t.Offset)
	if err == nil && !t.Ended {
		err = s.findDurabilityProof(rest)
	}
	if err != nil {
		return Tail{}, err
	}
	t.Torn = int64(rest.used)
	return t, nil
}

// findDurabilityProof searches the bytes after the last group for an entry that
// proves the missing group durable. Such an entry distinguishes damage from a
// torn tail.
func (s *Scanner) findDurabilityProof(r rest) error {
	if r.durable > s.chain.LastGroup {
		return s.damage(fmt.Sprintf("group %d is damaged: the entry at offset %d knows that group %d was durable",
			s.chain.LastGroup+1, r.at, r.durable))
	}
	s.chain.Durable = max(s.chain.Durable, r.durable)
	return nil
}
