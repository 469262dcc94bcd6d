package inspect

import (
	"bytes"
	"iter"
	"slices"

	"kvstore/internal/format"
)

// piece is a part of a segment behind its SEGMENT entry. Pieces adjoin.
type piece struct {
	kind   pieceKind
	offset int
	bytes  int
	group  format.Group // of a validGroup
	end    format.End   // of a validEnd
}

type pieceKind int

const (
	validGroup pieceKind = iota // its checksums are right; its number may be any
	validEnd
	invalid // other bytes, up to the next piece that is valid or zeros
	zeros   // up to the end of the file
)

// pieces splits a segment into pieces from offset on, and continues behind damage.
// Everything behind END is one invalid piece, or zeros.
func pieces(s *format.Segment, offset int) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		ended := false
		for at := offset; at < len(s.Data); {
			p := pieceAt(s, at, ended)
			if !yield(p) {
				return
			}
			at += p.bytes
			ended = ended || p.kind == validEnd
		}
	}
}

// pieceAt returns the piece at an offset. ended says that it is behind END.
func pieceAt(s *format.Segment, at int, ended bool) piece {
	left := len(bytes.TrimRight(s.Data[at:], "\x00"))
	if left == 0 {
		return piece{kind: zeros, offset: at, bytes: len(s.Data) - at}
	}
	if ended {
		return piece{kind: invalid, offset: at, bytes: left}
	}
	if g, ok := s.GroupAt(at); ok {
		return piece{kind: validGroup, offset: at, bytes: len(g.Bytes), group: g}
	}
	if end, ok := s.EndAt(at); ok {
		return piece{kind: validEnd, offset: at, bytes: format.EndEntryBytes, end: end}
	}
	if next, ok := s.NextIntact(at); ok {
		return piece{kind: invalid, offset: at, bytes: next - at}
	}
	return piece{kind: invalid, offset: at, bytes: left}
}

// lastVersion returns the version of the last commit in a group.
func lastVersion(g *format.Group) int64 {
	e, _ := format.DecodeEntry(g.Bytes[g.Length:])
	return e.Timestamp
}

// firstVersion returns the version of the first commit in a group.
func firstVersion(g *format.Group) int64 {
	e, _ := format.DecodeEntry(g.Bytes)
	return e.Timestamp
}

// readableKeys returns the keys of SET and DELETE entries that are still readable
// in invalid bytes, sorted and without duplicates. No checksum proves them.
func readableKeys(b []byte) []string {
	var keys []string
	for len(b) > 0 {
		e, ok := format.DecodeEntry(b)
		if !ok || len(e.Key) > format.MaxKeyBytes {
			next := bytes.Index(b[1:], []byte("KVLG"))
			if next < 0 {
				break
			}
			b = b[1+next:]
			continue
		}
		if e.Op == format.OpSet || e.Op == format.OpDelete {
			keys = append(keys, string(e.Key))
		}
		b = b[e.Size():]
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
