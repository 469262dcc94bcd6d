package logread

import (
	"bytes"
	"iter"

	"kvstore/internal/format"
)

// Piece is a part of a segment behind its SEGMENT entry. Pieces adjoin.
type Piece struct {
	Kind   PieceKind
	Offset int
	Bytes  int          // length
	Group  format.Group // of ValidGroup; shares the segment's memory
	End    format.End   // of ValidEnd
}

// PieceKind tells pieces apart.
type PieceKind int

// The kinds of pieces.
const (
	ValidGroup PieceKind = iota // right checksums, whatever its number
	ValidEnd                    // an END with a right checksum
	Invalid                     // none of these, in front of one of them or of zeros
	Zeros                       // up to the end of the segment
)

// isValid reports whether the checksums of the piece are right.
func (p *Piece) isValid() bool { return p.Kind == ValidGroup || p.Kind == ValidEnd }

// Pieces splits a segment into pieces from offset on, and continues behind
// damage. Everything behind END is one invalid piece and zeros, or one of the
// two. The segment must not change meanwhile.
func Pieces(s *format.Segment, offset int) iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		ended := false
		for at := offset; at < len(s.Data); {
			p := pieceAt(s, at, ended)
			if !yield(p) {
				return
			}
			at += p.Bytes
			ended = ended || p.Kind == ValidEnd
		}
	}
}

// pieceAt returns the piece that begins at an offset; ended says that END lies
// before it. It looks for a valid group first, because the search for the end
// of the zeros reads all of the reserved space.
func pieceAt(s *format.Segment, at int, ended bool) Piece {
	if !ended {
		if p, ok := validAt(s, at); ok {
			return p
		}
	}
	left := len(bytes.TrimRight(s.Data[at:], "\x00"))
	if left == 0 {
		return Piece{Kind: Zeros, Offset: at, Bytes: len(s.Data) - at}
	}
	if !ended {
		if next, ok := s.NextIntact(at); ok {
			left = next - at
		}
	}
	return Piece{Kind: Invalid, Offset: at, Bytes: left}
}

// validAt returns the group or the END that begins at an offset; ok is false if
// there is none with right checksums.
func validAt(s *format.Segment, at int) (p Piece, ok bool) {
	if g, ok := s.GroupAt(at); ok {
		return Piece{Kind: ValidGroup, Offset: at, Bytes: len(g.Bytes), Group: g}, true
	}
	if end, ok := s.EndAt(at); ok {
		return Piece{Kind: ValidEnd, Offset: at, Bytes: format.EndEntryBytes, End: end}, true
	}
	return Piece{}, false
}

// FirstVersion returns the version of the first commit in a group.
func FirstVersion(g *format.Group) int64 { return versionAt(g.Bytes) }

// LastVersion returns the version of the last commit in a group.
func LastVersion(g *format.Group) int64 { return versionAt(g.Bytes[g.Length:]) }

// versionAt returns the timestamp of the entry that b begins with.
func versionAt(b []byte) int64 {
	e, _ := format.DecodeEntry(b)
	return e.Timestamp
}
