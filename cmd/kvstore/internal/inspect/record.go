package inspect

import (
	"fmt"

	"kvstore/internal/format"
	"kvstore/internal/logread"
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
	Expires int64  // of EXPIRE: the deadline in ns since 1970, 0 for none
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
	Expire    What = "EXPIRE"  // of a key's deadline
	Cause     What = "CAUSE"   // why the DELETEs of a commit were made
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

// logRecorder converts the events of a reader to records.
type logRecorder struct {
	emit func(r *Record) error
}

// event emits the records of an event.
func (l logRecorder) event(e *logread.Event) error {
	if e.Kind == logread.Group {
		return l.group(e)
	}
	return l.emit(newRecord(e))
}

// group emits the entries of a group.
func (l logRecorder) group(e *logread.Event) error {
	file, place := format.SegmentName(e.Segment), First
	for at, entry := range format.Entries(e.Bytes) {
		r := entryRecord(e, at, &entry)
		r.File, r.Place = file, place
		if r.What == Commit {
			r.Place = Last
		}
		if err := l.emit(r); err != nil {
			return err
		}
		place = Inside
	}
	return nil
}

// entryRecord returns the record of an entry at an offset in a group, without
// file and place.
func entryRecord(e *logread.Event, at int, entry *format.Entry) *Record {
	r := &Record{
		What: whatOf(entry.Op), Offset: int64(e.Offset + at), Bytes: int64(entry.Size()),
		Group: e.Group.Number, Key: entry.Key, Value: int64(len(entry.Value)), Version: entry.Timestamp,
	}
	switch r.What {
	case Commit:
		r.Durable, r.Value = e.Group.Durable, 0
		if e.Last > 0 && e.Group.Number != e.Last+1 {
			r.Note = fmt.Sprintf("group %d belongs here", e.Last+1)
		}
	case Expire:
		var ok bool
		if r.Expires, ok = entry.Deadline(); !ok {
			r.Note = "no deadline"
		}
	case Cause:
		r.Note = causeText(entry.Value)
	case Unknown:
		r.Note = e.Group.Defect()
	case Segment, Set, Delete, End, Damaged, Torn, Unjudged, Reserved, GapRecord: // nothing to add
	}
	return r
}

// causeText explains a cause.
func causeText(cause []byte) string {
	if len(cause) == 1 && cause[0] == format.CauseDeadline {
		return "the deadlines passed"
	}
	return fmt.Sprintf("unknown cause %x", cause)
}

// newRecord returns the record of an event that is not a group.
func newRecord(e *logread.Event) *Record {
	r := &Record{
		What: kinds[e.Kind], File: format.SegmentName(e.Segment), Offset: int64(e.Offset), Bytes: int64(len(e.Bytes)),
		Version: e.Version, Note: note(e),
	}
	if e.Kind == logread.End {
		r.Group, r.Durable = e.End.Group, e.End.Durable
	}
	return r
}

// kinds has the kinds of records for events that are not groups.
var kinds = [...]What{
	logread.Header:    Segment,
	logread.BadHeader: Damaged,
	logread.End:       End,
	logread.Reserved:  Reserved,
	logread.Unended:   Damaged,
	logread.Unjudged:  Unjudged,
	logread.Torn:      Torn,
	logread.Damaged:   Damaged,
	logread.Gap:       GapRecord,
}

// note explains an event.
func note(e *logread.Event) string {
	switch e.Kind {
	case logread.Header:
		return fmt.Sprintf("segment %d of store %x, format version %d", e.Header.Number, e.Header.ID, e.Header.Version)
	case logread.BadHeader:
		return damageOf(e.Err).Reason
	case logread.Reserved:
		return "zeros: space for more"
	case logread.Unended:
		return "the segment has no end, though a later one exists"
	case logread.Unjudged:
		return "behind the end of the segment"
	case logread.Torn:
		return "an incomplete write, of a crash or under way: an opener drops all from here on"
	case logread.Damaged:
		return lossText(e)
	case logread.Gap:
		return fmt.Sprintf("segments %d to %d were removed before they were read: a snapshot covers them",
			e.Missing, e.Segment-1)
	case logread.Group, logread.End:
	}
	return ""
}

// lossText describes damage.
func lossText(e *logread.Event) string {
	text := "no whole group"
	if e.Durable > 0 {
		text += fmt.Sprintf("; groups up to %d were durable", e.Durable)
	}
	if keys := newKeys(readableKeys(e.Bytes)); keys != nil {
		text += fmt.Sprintf("; keys that can be made out: %d, %q to %q", keys.Count, keys.First, keys.Last)
	}
	return text
}

// whatOf returns the kind of record for an entry in a group.
func whatOf(o format.Op) What {
	switch o {
	case format.OpSet:
		return Set
	case format.OpDelete:
		return Delete
	case format.OpExpire:
		return Expire
	case format.OpCause:
		return Cause
	case format.OpCommit:
		return Commit
	case format.OpSegment, format.OpEnd: // never in a group
	}
	return Unknown
}
