package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"kvstore/internal/format"
)

// Record is an entry of the log, or other bytes in it. Which fields are set
// depends on What.
type Record struct {
	What    What
	File    string // base name
	Offset  int64
	Bytes   int64
	Place   Place
	Group   uint64 // the group's number; of END, that of the last group
	Durable uint64 // D of COMMIT and END
	Key     []byte // valid until emit returns
	Value   int64  // bytes of the value
	Version int64  // of the commit
	Note    string // an explanation, if there is one
}

// What is the kind of a record.
type What string

// Entries, and other bytes in the log.
const (
	Segment   What = "SEGMENT"
	Set       What = "SET"
	Delete    What = "DELETE"
	Unknown   What = "UNKNOWN" // an op of a later version
	Commit    What = "COMMIT"
	End       What = "END"
	Damaged   What = "damage"
	Torn      What = "torn"     // an incomplete write at the end, left by a crash or under way
	Unjudged  What = "unjudged" // behind END
	Reserved  What = "reserved" // zeros, space for more
	GapRecord What = "gap"      // segments that the store removed before they were read
)

// Place is the place of an entry in its group.
type Place int

// The places.
const (
	Outside Place = iota
	First
	Inside
	Last
)

// pollInterval is the time between two looks at a log that is followed.
const pollInterval = 100 * time.Millisecond

// Log calls emit with the records of a store's log, in their order. With follow,
// it then waits for more records, across segments, until ctx ends. It calls idle
// before each wait. It holds one segment in memory.
func Log(ctx context.Context, path string, follow bool, emit func(r *Record) error, idle func() error) error {
	d, err := openDirectory(path)
	if err != nil {
		return err
	}
	defer d.close()
	l := &logReader{
		ctx: ctx, path: path, follow: follow, emit: emit, idle: idle, readAgain: (*dataFile).readAgain, id: d.identity(),
	}
	return l.log(d)
}

// log emits what is in d and then, if the log is followed, what the store writes.
func (l *logReader) log(d *directory) error {
	for i := range d.data {
		f := &d.data[i]
		if f.isSnapshot {
			continue
		}
		if err := l.segment(f, i == len(d.data)-1); err != nil {
			return err
		}
		l.next = f.number + 1
	}
	l.next = max(l.next, d.files.Newest(), 1)
	for l.follow {
		if err := l.nextSegment(); err != nil {
			return err
		}
	}
	return nil
}

// logReader reads the log.
type logReader struct {
	ctx       context.Context
	path      string
	follow    bool
	emit      func(r *Record) error
	idle      func() error
	readAgain func(f *dataFile, data []byte, offset int) error // dataFile.readAgain; tests replace it
	id        format.StoreID
	next      uint64 // the number of the next segment
	last      uint64 // the last group

	// Of the current segment.
	file *dataFile
	data format.Segment
}

// wait waits for pollInterval.
func (l *logReader) wait() error {
	if err := l.idle(); err != nil {
		return err
	}
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

// nextSegment reads the next segment if it exists, or waits.
func (l *logReader) nextSegment() error {
	number, err := l.firstFrom(l.next)
	if err != nil {
		return err
	}
	if number == 0 {
		return l.wait()
	}
	f := &dataFile{name: format.SegmentName(number), number: number}
	switch err := f.open(l.path); {
	case errors.Is(err, fs.ErrNotExist): // a snapshot has removed it
		return nil
	case err != nil:
		return err
	}
	if number > l.next {
		note := fmt.Sprintf("segments %d to %d were removed before they were read: a snapshot covers them",
			l.next, number-1)
		if err := l.emit(&Record{What: GapRecord, File: f.name, Note: note}); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	l.next = number + 1
	err = l.segment(f, true)
	return errors.Join(err, f.Close())
}

// firstFrom returns the number of the first segment from number on, or 0 if there
// is none.
func (l *logReader) firstFrom(number uint64) (uint64, error) {
	files, _, err := list(l.path)
	if err != nil {
		return 0, err
	}
	for _, n := range files.Segments {
		if n >= number {
			return n, nil
		}
	}
	return 0, nil
}

// segment emits the records of a segment. isLast says that no later segment is
// known.
func (l *logReader) segment(f *dataFile, isLast bool) error {
	data, err := f.read(l.data.Data)
	if err != nil {
		return err
	}
	l.file, l.data = f, format.Segment{ID: l.id, Number: f.number, Data: data}
	if err := l.header(); err != nil {
		return err
	}
	ended := false
	for at := format.SegmentEntryBytes; at < len(l.data.Data); {
		p := pieceAt(&l.data, at, ended)
		if isLast && !ended && (p.kind == invalid || p.kind == zeros) {
			if p, isLast, err = l.settle(p); err != nil {
				return err
			}
		}
		if p.bytes == 0 {
			return nil // an opener has cut off what a crash left
		}
		if err := l.piece(&p, ended, isLast); err != nil {
			return err
		}
		ended = ended || p.kind == validEnd
		at += p.bytes
	}
	return nil
}

// header emits SEGMENT.
func (l *logReader) header() error {
	r := Record{What: Segment, File: l.file.name}
	chain := format.Chain{ID: l.id, KnowsID: l.id != format.StoreID{}}
	_, err := chain.Scan(l.file.number, l.data.Data)
	h, ok := format.DecodeHeader(l.data.Data)
	switch {
	case ok && h.Version == format.Version:
		e, _ := format.DecodeEntry(l.data.Data)
		r.Version, r.Bytes = e.Timestamp, int64(e.Size())
		l.data.ID, l.data.Number = h.ID, h.Number
		r.Note = fmt.Sprintf("segment %d of store %x, format version %d", h.Number, h.ID, h.Version)
	case l.id == format.StoreID{}:
		l.data.ID = format.GuessID(l.data.Data)
	}
	if d, bad := damageOf(err); bad {
		r.What, r.Note = Damaged, d.Reason
	}
	return l.emit(&r)
}

// settle reads invalid bytes again, since a store may be writing them right now.
// What is still bad after a proof that it was written is damage. A read may see
// bytes that are written while it lasts, so the proof must be from before the
// read. If the log is followed, settle waits for the bytes to become valid, until
// a later segment shows that they will not.
func (l *logReader) settle(p piece) (_ piece, isLast bool, err error) {
	isLast = true
	for reads := 0; ; reads++ {
		later, err := l.firstFrom(l.file.number + 1)
		if err != nil {
			return p, isLast, err
		}
		proven := l.isLost(&p)
		if err := l.reopen(); err != nil {
			return p, isLast, err
		}
		if err := l.readAgain(l.file, l.data.Data, p.offset); err != nil {
			return p, isLast, err
		}
		if p.offset >= len(l.data.Data) {
			return piece{kind: zeros, offset: p.offset}, false, nil
		}
		p = pieceAt(&l.data, p.offset, false)
		isLast = later == 0
		settled := reads > 0 && !l.follow && (proven || !l.isLost(&p)) || !isLast
		if p.kind == validGroup || p.kind == validEnd || settled {
			return p, isLast, nil
		}
		if l.follow {
			if err := l.wait(); err != nil {
				return p, isLast, err
			}
		}
	}
}

// reopen opens the segment again if another file has its name: an opener repairs
// a segment by replacing the file. The bytes that were read so far are the same.
func (l *logReader) reopen() error {
	info, err := os.Stat(filepath.Join(l.path, l.file.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the open file has everything
	}
	if err != nil {
		return err
	}
	if open, err := l.file.Stat(); err != nil || os.SameFile(open, info) {
		return err
	}
	if err := l.file.Close(); err != nil {
		return err
	}
	if err := l.file.open(l.path); err != nil {
		return err
	}
	l.data.Data, err = l.file.read(l.data.Data)
	return err
}

// piece emits the records of a piece.
func (l *logReader) piece(p *piece, ended, isLast bool) error {
	r := Record{File: l.file.name, Offset: int64(p.offset), Bytes: int64(p.bytes)}
	switch p.kind {
	case validGroup:
		return l.group(&p.group)
	case validEnd:
		r.What, r.Group, r.Durable = End, p.end.Group, p.end.Durable
		e, _ := format.DecodeEntry(l.data.Data[p.offset:])
		r.Version = e.Timestamp
	case zeros:
		r.What, r.Note = Reserved, "zeros: space for more"
		if !ended && !isLast {
			r.What, r.Note = Damaged, "the segment has no end, though a later one exists"
		}
	case invalid:
		switch {
		case ended:
			r.What, r.Note = Unjudged, "behind the end of the segment"
		case !isLast || l.isLost(p):
			r.What, r.Note = Damaged, l.lossText(p)
		default:
			r.What, r.Note = Torn, "an incomplete write, of a crash or under way: an opener drops all from here on"
		}
	}
	return l.emit(&r)
}

// isLost reports whether the bytes behind an invalid piece prove that a group was
// there.
func (l *logReader) isLost(p *piece) bool {
	if p.kind != invalid {
		return false
	}
	durable, _ := l.data.DurableBehind(p.offset)
	behind := p.offset+p.bytes < len(l.data.Data) && pieceAt(&l.data, p.offset+p.bytes, false).kind != zeros
	return durable > l.last || behind && durable == 0
}

// lossText describes damage.
func (l *logReader) lossText(p *piece) string {
	text := "no whole group"
	if durable, _ := l.data.DurableBehind(p.offset); durable > l.last {
		text += fmt.Sprintf("; groups up to %d were durable", durable)
	}
	if keys := newKeys(readableKeys(l.data.Data[p.offset : p.offset+p.bytes])); keys != nil {
		text += fmt.Sprintf("; keys that can be made out: %d, %q to %q", keys.Count, keys.First, keys.Last)
	}
	return text
}

// group emits the entries of a group.
func (l *logReader) group(g *format.Group) error {
	note := ""
	if l.last > 0 && g.Number != l.last+1 {
		note = fmt.Sprintf("group %d belongs here", l.last+1)
	}
	place := First
	for at, e := range format.Entries(g.Bytes) {
		r := Record{
			What: whatOf(e.Op), File: l.file.name, Offset: int64(g.Offset + at), Bytes: int64(e.Size()), Place: place,
			Group: g.Number, Key: e.Key, Value: int64(len(e.Value)), Version: e.Timestamp,
		}
		if place = Inside; e.Op == format.OpCommit {
			r.Place, r.Durable, r.Note, r.Value = Last, g.Durable, note, 0
		}
		if r.What == Unknown {
			r.Note = g.Defect()
		}
		if err := l.emit(&r); err != nil {
			return err
		}
	}
	l.last = g.Number
	return nil
}

func whatOf(o format.Op) What {
	switch o {
	case format.OpSet:
		return Set
	case format.OpDelete:
		return Delete
	case format.OpCommit:
		return Commit
	case format.OpSegment, format.OpEnd: // never in a group
	}
	return Unknown
}
