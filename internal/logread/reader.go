package logread

import (
	"errors"
	"io/fs"

	"kvstore/internal/format"
)

// Config says what a [Reader] reads, and where its events go.
type Config struct {
	Source Source

	// ID is the id of the store, or zero if it is not known: then each
	// segment's own id counts.
	ID format.StoreID

	// Emit gets the events in their order. The reader ends with its error.
	Emit func(e *Event) error

	// Wait makes the reader follow a live log. It is called when everything has
	// been read, and returns when the log may have grown. The reader ends with
	// its error. If Wait is nil, the reader takes the end of the log as it is.
	Wait func() error
}

// Reader goes through the segments of a log. It holds one segment in memory,
// and uses that memory for the next one too. It is not safe for concurrent use.
//
// Damage is an event, and no error: the reader goes on behind it.
type Reader struct {
	config Config // immutable
	next   uint64 // number of the segment that comes next, 0 if none was read
	last   uint64 // the last valid group, 0 if none was read

	// Of the segment that is being read.
	file    SourceFile     // owned by the reader
	number  uint64         // in the file's name; segment.Number is the one in its SEGMENT entry
	segment format.Segment // its memory is owned by the reader
	ended   bool           // END was read
	isLast  bool           // no later segment is known
}

// New returns a reader that has read nothing yet.
func New(config Config) *Reader { return &Reader{config: config} }

// Segment reads one segment and closes its file. isLast says that no later
// segment, nor a snapshot that covers this one, is known: then a store may be
// writing to it. Errors are those of the source, of Emit and of Wait.
func (r *Reader) Segment(number uint64, file SourceFile, isLast bool) (err error) {
	r.file, r.number, r.isLast, r.ended = file, number, isLast, false
	defer func() { err = errors.Join(err, r.file.Close()) }() // not always file: see reopen
	r.next = number + 1
	data, err := ReadAll(file, number, r.segment.Data)
	if err != nil {
		return err
	}
	r.segment = format.Segment{ID: r.config.ID, Number: number, Data: data}
	if err := r.header(); err != nil {
		return err
	}
	return r.pieces()
}

// Follow reads the segment behind the last one that was read, or segment from
// if that comes later, and all following ones, and waits for more. It returns
// only with an error: that of the source, of Emit or of Wait, which must not be
// nil.
func (r *Reader) Follow(from uint64) error {
	r.next = max(r.next, from, 1)
	for {
		if err := r.follow(); err != nil {
			return err
		}
	}
}

// follow reads the next segment if it is there, and waits if it is not.
func (r *Reader) follow() error {
	number, err := r.following(r.next)
	if err != nil {
		return err
	}
	if number == 0 {
		return r.config.Wait()
	}
	file, err := r.config.Source.Open(number)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a snapshot has removed it meanwhile
		return nil
	case err != nil:
		return err
	}
	if number > r.next {
		if err := r.config.Emit(&Event{Kind: Gap, Segment: number, Missing: r.next}); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return r.Segment(number, file, true)
}

// following returns the number of the first segment from this one on, 0 if
// there is none.
func (r *Reader) following(number uint64) (uint64, error) {
	numbers, err := r.config.Source.Segments()
	if err != nil {
		return 0, err
	}
	for _, n := range numbers {
		if n >= number {
			return n, nil
		}
	}
	return 0, nil
}

// header emits the SEGMENT entry, and finds out what the checksums behind it
// are seeded with.
func (r *Reader) header() error {
	e := Event{Kind: Header, Segment: r.number}
	chain := format.Chain{ID: r.config.ID, KnowsID: r.config.ID != format.StoreID{}}
	if _, e.Err = chain.Scan(r.number, r.segment.Data); e.Err != nil {
		e.Kind = BadHeader
	}
	h, ok := format.DecodeHeader(r.segment.Data)
	e.Header = h
	switch {
	case ok && h.Version == format.Version:
		e.Bytes, e.Version = r.segment.Data[:format.SegmentEntryBytes], versionAt(r.segment.Data)
		r.segment.ID, r.segment.Number = h.ID, h.Number
	case !chain.KnowsID:
		r.segment.ID = format.GuessID(r.segment.Data)
	}
	return r.config.Emit(&e)
}

// pieces emits what lies behind the SEGMENT entry.
func (r *Reader) pieces() error {
	for at := format.SegmentEntryBytes; at < len(r.segment.Data); {
		p := pieceAt(&r.segment, at, r.ended)
		if r.isLast && !r.ended && !p.isValid() {
			if err := r.settle(&p); err != nil {
				return err
			}
		}
		if p.Bytes == 0 {
			return nil // an opener has cut off what a crash had left
		}
		if err := r.piece(&p); err != nil {
			return err
		}
		at += p.Bytes
	}
	return nil
}

// piece emits a piece.
func (r *Reader) piece(p *Piece) error {
	e := Event{
		Kind: r.kindOf(p), Segment: r.number, Offset: p.Offset, Bytes: r.segment.Data[p.Offset : p.Offset+p.Bytes],
		Group: p.Group, End: p.End,
	}
	switch p.Kind {
	case ValidGroup:
		e.Last = r.last
		r.last = p.Group.Number
	case ValidEnd:
		e.Version = versionAt(e.Bytes)
		r.ended = true
	case Invalid:
		if e.Kind == Damaged {
			e.Durable = r.durableBehind(p)
		}
	case Zeros:
	}
	return r.config.Emit(&e)
}

// kindOf returns what a piece means in its place.
func (r *Reader) kindOf(p *Piece) Kind {
	switch {
	case p.Kind == ValidGroup:
		return Group
	case p.Kind == ValidEnd:
		return End
	case p.Kind == Zeros && (r.ended || r.isLast):
		return Reserved
	case p.Kind == Zeros:
		return Unended
	case r.ended:
		return Unjudged
	case !r.isLast || r.isLost(p):
		return Damaged
	}
	return Torn
}
