package logread

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"kvstore/internal/format"
)

// errEnd ends a reader that follows.
var errEnd = errors.New("the test is over")

// kindNames are the kinds of events as text.
var kindNames = [...]string{
	Header: "header", BadHeader: "bad header", Group: "group", End: "end", Reserved: "reserved", Unended: "unended",
	Unjudged: "unjudged", Torn: "torn", Damaged: "damaged", Gap: "gap",
}

// text returns an event in short.
func (e *Event) text() string {
	text := kindNames[e.Kind]
	switch e.Kind {
	case Header:
		return fmt.Sprint(text, " ", e.Header.Number)
	case Group:
		return fmt.Sprint(text, " ", e.Group.Number)
	case End:
		return fmt.Sprint(text, " ", e.End.Group)
	case Gap:
		return fmt.Sprint(text, " ", e.Missing, " to ", e.Segment-1)
	case Damaged:
		return fmt.Sprint(text, ", ", e.Durable, " is durable")
	case BadHeader, Reserved, Unended, Unjudged, Torn:
	}
	return text
}

// read reads all segments that are there, as a log at rest, and returns the
// texts of the events.
func (l *memLog) read() []string {
	l.t.Helper()
	return texts(l.events(ours))
}

// texts returns the texts of events.
func texts(events []Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, e.text())
	}
	return all
}

// events reads all segments that are there, as a log at rest.
func (l *memLog) events(id format.StoreID) []Event {
	l.t.Helper()
	var events []Event
	r := New(Config{Source: l, ID: id, Emit: func(e *Event) error {
		l.checkEvent(e)
		events = append(events, *e)
		return nil
	}})
	numbers, err := l.Segments()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, number := range numbers {
		file, err := l.Open(number)
		if err != nil {
			l.t.Fatal(err)
		}
		if err := r.Segment(number, file, number == numbers[len(numbers)-1]); err != nil {
			l.t.Fatal(err)
		}
	}
	return events
}

// follow follows the log from its beginning, and returns the texts of the
// events. Each step runs when the reader waits; after the last step it ends.
func (l *memLog) follow(steps ...func()) []string {
	l.t.Helper()
	var all []string
	r := New(Config{
		Source: l, ID: ours,
		Emit: func(e *Event) error {
			l.checkEvent(e)
			all = append(all, e.text())
			return nil
		},
		Wait: func() error {
			if len(steps) == 0 {
				return errEnd
			}
			steps[0]()
			steps = steps[1:]
			return nil
		},
	})
	if err := r.Follow(1); !errors.Is(err, errEnd) {
		l.t.Fatal(err)
	}
	return all
}

// checkEvent compares an event's bytes with the length of what it is about.
func (l *memLog) checkEvent(e *Event) {
	want := len(e.Bytes)
	switch e.Kind {
	case Header:
		want = format.SegmentEntryBytes
	case Group:
		want = len(e.Group.Bytes)
	case End:
		want = format.EndEntryBytes
	case Gap:
		want = 0
	case BadHeader, Reserved, Unended, Unjudged, Torn, Damaged:
	}
	if len(e.Bytes) != want {
		l.t.Errorf("%s has %d bytes, want %d", e.text(), len(e.Bytes), want)
	}
}

// A reader goes through a log at rest, whole or damaged.
func TestReadAtRest(t *testing.T) {
	first, last := newSegment(1, 1, 2).end().zeros(), newSegment(2, 3, 3).zeros()
	damage := func(b *builder, at int) []byte { return b.with(func(data []byte) { data[at] ^= 1 }) }
	for _, c := range []struct {
		name        string
		first, last []byte
		want        []string
	}{
		{
			"whole", first.Data, last.Data,
			[]string{
				"header 1", "group 1", "group 2", "end 2", "reserved",
				"header 2", "group 3", "group 4", "group 5", "reserved",
			},
		},
		{
			"torn", first.Data, last.Data[:last.offsets[2]+30],
			[]string{"header 1", "group 1", "group 2", "end 2", "reserved", "header 2", "group 3", "group 4", "torn"},
		},
		{
			"a group damaged that the next one knows durable", first.Data, damage(last, last.offsets[1]+5),
			[]string{
				"header 1", "group 1", "group 2", "end 2", "reserved",
				"header 2", "group 3", "damaged, 4 is durable", "group 5", "reserved",
			},
		},
		{
			"a group damaged before the last segment", damage(first, first.offsets[1]+5), last.Data,
			[]string{
				"header 1", "group 1", "damaged, 2 is durable", "end 2", "reserved",
				"header 2", "group 3", "group 4", "group 5", "reserved",
			},
		},
		{
			"no END before the last segment", newSegment(1, 1, 2).zeros().Data, last.Data,
			[]string{
				"header 1", "group 1", "group 2", "unended",
				"header 2", "group 3", "group 4", "group 5", "reserved",
			},
		},
		{
			"bytes behind END", newSegment(1, 1, 2).end().append("KVLG").zeros().Data, last.Data[:last.offsets[0]],
			[]string{"header 1", "group 1", "group 2", "end 2", "unjudged", "reserved", "header 2"},
		},
		{
			"SEGMENT damaged", damage(first, 3), last.Data[:last.offsets[0]],
			[]string{"bad header", "group 1", "group 2", "end 2", "reserved", "header 2"},
		},
		{
			"under another name", last.Data[:last.offsets[1]], nil,
			[]string{"bad header", "group 3", "bad header"},
		},
		{
			"an empty file", nil, last.Data[:last.offsets[0]],
			[]string{"bad header", "header 2"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newMemLog(t)
			l.put(1, c.first)
			l.put(2, c.last)
			checkEqual(t, l.read(), c.want)
		})
	}
}

// Events have the right offsets, versions and numbers.
func TestEvents(t *testing.T) {
	b := newSegment(4, 7, 1)
	b.group++ // group 8 is missing
	b.add().end().append("torn")
	l := newMemLog(t)
	l.put(4, b.Data)
	events := l.events(format.StoreID{})
	checkEqual(t, texts(events), []string{"header 4", "group 7", "group 9", "end 9", "unjudged"})
	for i, e := range events {
		if e.Segment != 4 {
			t.Errorf("%s is in segment %d", e.text(), e.Segment)
		}
		if want := []int{0, b.offsets[0], b.offsets[1], b.endOf(1), len(b.Data) - 4}[i]; e.Offset != want {
			t.Errorf("%s at %d, want %d", e.text(), e.Offset, want)
		}
		if want := []int64{7, 0, 0, 91, 0}[i]; e.Version != want {
			t.Errorf("%s has version %d, want %d", e.text(), e.Version, want)
		}
		if want := []uint64{0, 0, 7, 0, 0}[i]; e.Last != want {
			t.Errorf("before %s comes group %d, want %d", e.text(), e.Last, want)
		}
	}
	if h := events[0].Header; h != (format.Header{Version: format.Version, ID: ours, Number: 4}) {
		t.Errorf("%+v", h)
	}
	if string(events[4].Bytes) != "torn" {
		t.Errorf("%q behind END", events[4].Bytes)
	}
}

// A SEGMENT entry that does not belong here is an error of package format.
func TestBadHeaders(t *testing.T) {
	b := newSegment(1, 1, 1)
	later := format.AppendHeader(nil, 1, format.Header{Version: format.Version + 1, ID: ours, Number: 1})
	for _, c := range []struct {
		name    string
		data    []byte
		id      format.StoreID
		isLater bool
		bytes   int
		groups  int // behind it, all the same
	}{
		{"of another store", b.Data, others, false, format.SegmentEntryBytes, 1},
		{"damaged", b.with(func(data []byte) { data[0] = 0 }), ours, false, 0, 1},
		{"damaged, in an unknown store", b.with(func(data []byte) { data[0] = 0 }), format.StoreID{}, false, 0, 1},
		{"of a later version", later, ours, true, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newMemLog(t)
			l.put(1, c.data)
			events := l.events(c.id)
			e := events[0]
			_, isDamage := errors.AsType[*format.Damage](e.Err)
			_, isLater := errors.AsType[*format.Later](e.Err)
			if e.Kind != BadHeader || isLater != c.isLater || isDamage == c.isLater || len(e.Bytes) != c.bytes {
				t.Errorf("%s of %d bytes, %v", e.text(), len(e.Bytes), e.Err)
			}
			if len(events) != 1+c.groups {
				t.Errorf("%v", texts(events))
			}
		})
	}
}

// Errors of Emit and of Wait end the reader, and no file stays open.
func TestReaderErrors(t *testing.T) {
	l := newMemLog(t)
	l.put(2, newSegment(2, 1, 2).Data)
	const events = 4 // a gap, SEGMENT and two groups
	for n := range events + 1 {
		emitted := 0
		r := New(Config{
			Source: l, ID: ours,
			Emit: func(*Event) error {
				if emitted == n {
					return errEnd
				}
				emitted++
				return nil
			},
			Wait: func() error { return fs.ErrInvalid },
		})
		want := errEnd
		if n == events {
			want = fs.ErrInvalid
		}
		if err := r.Follow(1); !errors.Is(err, want) || emitted != n {
			t.Errorf("%d events, want %d: %v", emitted, n, err)
		}
	}
}

// Errors of the source end the reader, and no file stays open.
func TestSourceErrors(t *testing.T) {
	for failing := 1; ; failing++ {
		l := newMemLog(t)
		l.put(1, newSegment(1, 1, 2).zeros().Data)
		l.put(2, newSegment(2, 3, 2).zeros().Data)
		failed := l.failAt(failing)
		r := New(Config{
			Source: l, ID: ours,
			Emit: func(*Event) error { return nil },
			Wait: func() error { return errEnd },
		})
		switch err := r.Follow(1); {
		case !*failed && errors.Is(err, errEnd):
			return // there are fewer operations
		case !*failed || !errors.Is(err, fs.ErrInvalid):
			t.Fatalf("operation %d fails: %v", failing, err)
		}
	}
}
