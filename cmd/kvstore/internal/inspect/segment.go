package inspect

import (
	"bytes"
	"iter"
	"slices"

	"kvstore/internal/format"
)

// piece is a part of a segment, behind its SEGMENT entry. Pieces follow each other without a gap.
type piece struct {
	kind   pieceKind
	offset int
	bytes  int
	group  format.Group // of wholeGroup
	end    format.End   // of wholeEnd
}

type pieceKind int

const (
	wholeGroup pieceKind = iota // with right checksums, whatever its number
	wholeEnd
	hole  // what is none of these, before something that is, or before zeros
	zeros // up to the end of the file
)

// pieces takes a segment apart from offset on, and goes on behind what is damaged. All that it finds behind END is one hole, or zeros.
func pieces(s *format.Segment, offset int) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		ended := false
		for at := offset; at < len(s.Data); {
			p := pieceAt(s, at, ended)
			if !yield(p) {
				return
			}
			at += p.bytes
			ended = ended || p.kind == wholeEnd
		}
	}
}

func pieceAt(s *format.Segment, at int, ended bool) piece {
	left := len(bytes.TrimRight(s.Data[at:], "\x00"))
	if left == 0 {
		return piece{kind: zeros, offset: at, bytes: len(s.Data) - at}
	}
	if ended {
		return piece{kind: hole, offset: at, bytes: left}
	}
	if g, ok := s.GroupAt(at); ok {
		return piece{kind: wholeGroup, offset: at, bytes: len(g.Bytes), group: g}
	}
	if end, ok := s.EndAt(at); ok {
		return piece{kind: wholeEnd, offset: at, bytes: format.EndEntryBytes, end: end}
	}
	if next, ok := s.NextIntact(at); ok {
		return piece{kind: hole, offset: at, bytes: next - at}
	}
	return piece{kind: hole, offset: at, bytes: left}
}

// lastVersion returns the version of the last commit in a group.
func lastVersion(g *format.Group) int64 {
	e, _ := format.DecodeEntry(g.Bytes[g.Length:])
	return e.Timestamp
}

// firstVersion returns the version of the first one.
func firstVersion(g *format.Group) int64 {
	e, _ := format.DecodeEntry(g.Bytes)
	return e.Timestamp
}

// readableKeys returns keys of SET and DELETE entries that can still be made out in bytes that nothing vouches for, rising, each once.
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
