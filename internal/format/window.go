package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// PieceBytes is how much of a segment a [Window] usually has in memory: enough
// for a disk to read at full speed, and little beside a store.
const PieceBytes = 1 << 20

// minPieceBytes is the smallest piece: every control entry fits in it.
const minPieceBytes = 64

// Window is a segment of which one piece is in memory. It reads on, or back,
// when other bytes are asked for. So a segment of any size is judged in the
// memory of a piece.
//
// A page of the file may be read twice with different bytes, see [Changed].
// Whoever depends on two readings of the same place compares their checksums.
type Window struct {
	Segment                    // of Data, only a piece, which begins at base
	file    io.ReaderAt        // immutable; nil if all of the segment is in memory
	size    int                // immutable: of the segment
	piece   int                // immutable: the usual length of a piece
	memory  func(n int) []byte // immutable
}

// NewWindow returns a window on the file of a segment, which has size bytes.
// memory returns n bytes of memory for the next piece. They may be the bytes of
// the last piece, which the window needs only until it has copied what both
// have in common.
func NewWindow(file io.ReaderAt, number uint64, size, piece int, memory func(n int) []byte) *Window {
	return &Window{
		Segment: Segment{Number: number}, file: file, size: size,
		piece: max(piece, minPieceBytes), memory: memory,
	}
}

// has reports whether n bytes from offset on, or all up to the segment's end,
// are in memory.
func (w *Window) has(offset, n int) bool {
	n = min(n, w.size-offset)
	return offset >= w.base && offset+n <= w.base+len(w.Data)
}

// from returns the bytes in memory from offset on. They are at least n, or all
// up to the segment's end.
func (w *Window) from(offset, n int) ([]byte, error) {
	if !w.has(offset, n) {
		if err := w.slide(offset, n); err != nil {
			return nil, err
		}
	}
	return w.Data[offset-w.base:], nil
}

// slide replaces the piece by one that begins at offset and has at least n
// bytes. It reads only what is not in memory yet.
func (w *Window) slide(offset, n int) error {
	n = min(max(n, w.piece), w.size-offset)
	next, kept := w.memory(n)[:n], 0
	if offset >= w.base && offset < w.base+len(w.Data) {
		kept = copy(next, w.Data[offset-w.base:])
	}
	w.Data, w.base = next, offset
	rest := io.NewSectionReader(w.file, int64(offset+kept), int64(n-kept))
	if _, err := io.ReadFull(rest, next[kept:]); err != nil {
		w.Data, w.base = nil, 0
		return fmt.Errorf("read %s: %w", SegmentName(w.Number), err)
	}
	return nil
}

// shape is what the fixed fields of an entry say.
type shape struct {
	op                   Op
	cause                byte // of a CAUSE that has one
	timestamp            int64
	keyBytes, valueBytes int
}

func (s shape) size() int { return EntryOverhead + s.keyBytes + s.valueBytes }

// hasCause reports whether the entry has the shape of a CAUSE.
func (s shape) hasCause() bool {
	return s.op == OpCause && s.keyBytes == 0 && s.valueBytes == causeBytes
}

// later says what in the entry only a later version writes, "" for nothing.
func (s shape) later() string {
	switch {
	case !s.op.isWrite():
		return fmt.Sprintf("unknown op 0x%02x", byte(s.op))
	case s.hasCause() && s.cause != CauseDeadline:
		return fmt.Sprintf("unknown cause %d", s.cause)
	}
	return ""
}

// defect says what in the entry no version writes, "" for nothing. begins says
// that the entry is the first one of its commit.
func (s shape) defect(begins bool) string {
	switch {
	case s.keyBytes > MaxKeyBytes || s.valueBytes > MaxValueBytes:
		return "entry larger than any that is written"
	case s.op == OpDelete && s.valueBytes > 0:
		return "DELETE entry with a value"
	case s.op == OpExpire && s.valueBytes != deadlineBytes:
		return "EXPIRE entry without a deadline"
	case s.op == OpCause && !s.hasCause():
		return "CAUSE entry without a cause"
	case s.op == OpCause && !begins:
		return "CAUSE entry inside a commit"
	}
	return ""
}

// walk goes through the entries of what may be a group, and sums their bytes.
type walk struct {
	*Window
	start  int    // of the group
	summed int    // the sums have the bytes up to here
	group  uint32 // CRC of place and of the group's bytes
	all    uint32 // CRC of all bytes of the segment
}

// groupAt is [Segment.GroupAt] for a segment that may be larger than memory.
// sum is the CRC of the segment's bytes before the group; after is that of all
// bytes up to the group's end. The error is that of a read.
func (w *Window) groupAt(offset int, sum uint32) (g Group, after uint32, ok bool, err error) {
	g.Offset = offset
	k := walk{Window: w, start: offset, summed: offset, group: w.Seed(offset), all: sum}
	for at := offset; ; g.Entries++ {
		e, ok, err := k.shapeAt(at)
		switch {
		case err != nil || !ok || e.op == OpSegment || e.op == OpEnd:
			return Group{}, 0, false, err
		case e.op == OpCommit:
			if ok, err = k.endsGroup(&g, at); !ok || err != nil {
				return Group{}, 0, false, err
			}
			g.endCommit()
			return g, k.all, true, nil
		}
		g.judge(e)
		at += e.size()
	}
}

// shapeAt returns the shape of the entry at an offset. ok is false if no
// complete entry is there.
func (k *walk) shapeAt(at int) (e shape, ok bool, err error) {
	b, err := k.peekOn(at, keyLenAt+4)
	left := uint64(k.size - at)
	if err != nil || left < EntryOverhead || binary.BigEndian.Uint32(b) != entryMagic {
		return shape{}, false, err
	}
	e.op, e.timestamp = Op(b[opAt]), int64(binary.BigEndian.Uint64(b[timestampAt:]))
	keyLen := uint64(binary.BigEndian.Uint32(b[keyLenAt:]))
	if keyLen > left-EntryOverhead {
		return shape{}, false, nil
	}
	if b, err = k.lengthBehind(at, int(keyLen)); err != nil {
		return shape{}, false, err
	}
	valueLen := uint64(binary.BigEndian.Uint32(b))
	if valueLen > left-EntryOverhead-keyLen {
		return shape{}, false, nil
	}
	e.keyBytes, e.valueBytes = int(keyLen), int(valueLen)
	if !e.hasCause() {
		return e, true, nil
	}
	b, err = k.peekOn(at, e.size())
	if err != nil {
		return shape{}, false, err
	}
	e.cause = b[EntryOverhead]
	return e, true, nil
}

// lengthBehind returns the bytes from the value length of an entry on. The walk
// stays at the entry, which may be the COMMIT that the sums must not have. Only
// a key that no writer writes, and no COMMIT has, is not worth the memory.
func (k *walk) lengthBehind(at, keyBytes int) ([]byte, error) {
	before := keyLenAt + 4 + keyBytes
	if keyBytes > MaxKeyBytes {
		return k.peekOn(at+before, 4)
	}
	b, err := k.peekOn(at, before+4)
	if err != nil {
		return nil, err
	}
	return b[before:], nil
}

// endsGroup reports whether the entry at an offset is the COMMIT of the group
// that was walked through, and completes g.
func (k *walk) endsGroup(g *Group, at int) (ok bool, err error) {
	b, err := k.peekOn(at, CommitEntryBytes)
	if err != nil {
		return false, err
	}
	e, ok := DecodeEntry(b[:min(len(b), CommitEntryBytes)])
	if !ok {
		return false, nil
	}
	if g.Commit, ok = k.commitAt(at, &e); !ok || g.Entries == 0 || g.Length != uint64(at-g.Offset) {
		return false, nil
	}
	if err := k.sumTo(at); err != nil || k.group != g.checksum {
		return false, err
	}
	if g.Offset >= k.base {
		g.Bytes = k.peek(g.Offset, g.Size())
	}
	return true, k.sumTo(at + CommitEntryBytes)
}

// peekOn is from for an offset that the walk has come to. If the piece must
// change, the next one has all of the group so far, so that the group need not
// be read again; or, if that is too much, it begins at the offset.
func (k *walk) peekOn(at, n int) ([]byte, error) {
	switch {
	case k.has(at, n):
	case k.start >= k.base && at-k.start+n <= k.piece:
		if _, err := k.from(k.start, at-k.start+n); err != nil {
			return nil, err
		}
	default:
		if err := k.sumTo(at); err != nil {
			return nil, err
		}
	}
	return k.from(at, n)
}

// sumTo adds the bytes up to an offset to the sums.
func (k *walk) sumTo(offset int) error {
	for k.summed < offset {
		b, err := k.from(k.summed, 1)
		if err != nil {
			return err
		}
		b = b[:min(len(b), offset-k.summed)]
		k.group = crc32.Update(k.group, castagnoli, b)
		k.all = crc32.Update(k.all, castagnoli, b)
		k.summed += len(b)
	}
	return nil
}

// reread passes the entries of a group to apply as [Scanner.Entries] does, from
// a second reading.
func (w *Window) reread(g *Group, apply func(entries []byte)) error {
	sum, end := w.Seed(g.Offset), g.Offset+int(g.Length)
	for at := g.Offset; at < end; {
		entries, err := w.entriesAt(at, end)
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, entries)
		apply(entries)
		at += len(entries)
	}
	if sum != g.checksum {
		return w.changed(g.Offset)
	}
	return nil
}

// entriesAt returns some entries of writes: those that are complete in the
// piece that begins at an offset, but at least one. Nothing has verified them.
func (w *Window) entriesAt(at, end int) ([]byte, error) {
	b, err := w.from(at, min(w.piece, end-at))
	if err != nil {
		return nil, err
	}
	if n := writesIn(b[:min(len(b), end-at)]); n > 0 {
		return b[:n], nil
	}
	k := walk{Window: w, start: at, summed: at}
	e, ok, err := k.shapeAt(at)
	if err != nil {
		return nil, err
	}
	if !ok || e.size() > end-at {
		return nil, w.changed(at)
	}
	if b, err = w.from(at, e.size()); err != nil {
		return nil, err
	}
	if b = b[:e.size()]; writesIn(b) != len(b) {
		return nil, w.changed(at)
	}
	return b, nil
}

// writesIn returns the length of the complete entries of writes that b begins
// with.
func writesIn(b []byte) (n int) {
	for {
		e, ok := DecodeEntry(b[n:])
		if !ok || !e.Op.isWrite() {
			return n
		}
		n += e.Size()
	}
}

// changed returns the error for a second reading that differs from the first.
func (w *Window) changed(offset int) error {
	return &Changed{File: SegmentName(w.Number), Offset: int64(offset)}
}

// rest is what lies behind the groups and the END of a segment.
type rest struct {
	durable uint64 // the highest group that an entry there proves durable
	at      int    // the offset of that entry
	used    int    // bytes up to the last one that is not zero
}

// rest reads everything from offset on, once.
func (w *Window) rest(offset int) (r rest, err error) {
	for at := offset; at < w.size; {
		b, err := w.from(at, CommitEntryBytes)
		if err != nil {
			return rest{}, err
		}
		piece := Segment{ID: w.ID, Number: w.Number, Data: b, base: at}
		if durable, where := piece.DurableBehind(at); durable > r.durable {
			r.durable, r.at = durable, where
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			r.used = at + n - offset
		}
		if at += len(b); at < w.size {
			at -= CommitEntryBytes - 1 // the next piece may have the rest of an entry
		}
	}
	return r, nil
}

// CopyTo passes the bytes before offset n to write, piece by piece, and
// compares their CRC-32C with sum. The error is that of a read or of write, or
// a [*Changed].
func (w *Window) CopyTo(n int, sum uint32, write func(b []byte, offset int) error) error {
	if n > w.size {
		return w.changed(w.size)
	}
	found := uint32(0)
	for at := 0; at < n; {
		b, err := w.from(at, min(w.piece, n-at))
		if err != nil {
			return err
		}
		b = b[:min(len(b), n-at)]
		found = crc32.Update(found, castagnoli, b)
		if err := write(b, at); err != nil {
			return err
		}
		at += len(b)
	}
	if found != sum {
		return w.changed(0)
	}
	return nil
}
