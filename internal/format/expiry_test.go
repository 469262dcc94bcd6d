package format

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// rawEntry encodes an entry as docs/FORMAT.md describes it. It shares nothing
// with the package.
func rawEntry(op byte, timestamp int64, key, value string) []byte {
	b := append([]byte("KVLG"), op)
	b = binary.BigEndian.AppendUint64(b, uint64(timestamp))
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(key))), key...)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(value))), value...)
}

const (
	someDeadline = "\x18\x86\x72\x52\x29\x94\xca\x00" // goldenCommitted
	noDeadline   = "\x00\x00\x00\x00\x00\x00\x00\x00"
)

// What is wrong with a group of expirations does not depend on the size of the
// pieces that it is read in, nor on what lies before it. (P6, P8)
func TestGroupsOfExpirations(t *testing.T) {
	set := func(ts int64) []byte { return rawEntry(1, ts, "k", "v") }
	del := func(ts int64) []byte { return rawEntry(2, ts, "k", "") }
	expire := func(ts int64, value string) []byte { return rawEntry(3, ts, "k", value) }
	cause := func(ts int64, key, value string) []byte { return rawEntry(4, ts, key, value) }
	due := func(ts int64) []byte { return cause(ts, "", "\x01") }
	many := func(ts int64) []byte { return bytes.Repeat(del(ts), 100) }
	const (
		undated   = "EXPIRE entry without a deadline"
		shapeless = "CAUSE entry without a cause"
		inside    = "CAUSE entry inside a commit"
		cause2    = "later: unknown cause 2"
		needless  = "CAUSE entry in a commit without a DELETE"
	)
	for _, row := range []struct {
		name    string
		entries [][]byte
		want    string // "" if nothing is wrong
	}{
		{"SET and EXPIRE", [][]byte{set(1), expire(1, someDeadline)}, ""},
		{"EXPIRE alone", [][]byte{expire(1, someDeadline)}, ""},
		{"EXPIRE that removes the deadline", [][]byte{set(1), expire(2, noDeadline)}, ""},
		{"EXPIRE behind a DELETE", [][]byte{del(1), expire(1, someDeadline)}, ""},
		{"EXPIRE of the empty key", [][]byte{rawEntry(3, 1, "", someDeadline)}, ""},
		{"EXPIRE of the longest key", [][]byte{rawEntry(3, 1, strings.Repeat("k", MaxKeyBytes), someDeadline)}, ""},
		{
			"EXPIRE of a key that is too long",
			[][]byte{rawEntry(3, 1, strings.Repeat("k", MaxKeyBytes+1), someDeadline)},
			"entry larger than any that is written",
		},
		{"EXPIRE without a value", [][]byte{set(1), expire(1, "")}, undated},
		{"EXPIRE of 7 bytes", [][]byte{set(1), expire(1, noDeadline[1:])}, undated},
		{"EXPIRE of 9 bytes", [][]byte{set(1), expire(1, noDeadline+"x")}, undated},

		{"CAUSE and DELETE", [][]byte{due(1), del(1)}, ""},
		{"CAUSE and many DELETEs", [][]byte{due(1), many(1)}, ""},
		{"commits with a CAUSE each", [][]byte{due(1), many(1), due(2), many(2)}, ""},
		{"CAUSE in the second commit", [][]byte{set(1), due(2), del(2), set(3)}, ""},
		{"CAUSE, and a DELETE behind other writes", [][]byte{due(1), set(1), expire(1, noDeadline), del(1)}, ""},
		{"CAUSE alone", [][]byte{due(1)}, needless},
		{"CAUSE and SET", [][]byte{due(1), set(1)}, needless},
		{"CAUSE and EXPIRE", [][]byte{due(1), expire(1, noDeadline)}, needless},
		{"CAUSE, and the DELETE of the next commit", [][]byte{due(1), del(2)}, needless},
		{"CAUSE behind a DELETE of the commit before", [][]byte{del(1), due(2)}, needless},
		{"a second CAUSE without a DELETE", [][]byte{due(1), del(1), due(2)}, needless},
		{"CAUSE behind its DELETE", [][]byte{del(1), due(1)}, inside},
		{"CAUSE between DELETEs", [][]byte{many(1), due(1), many(1)}, inside},
		{"CAUSE twice", [][]byte{due(1), due(1), del(1)}, inside},
		{"CAUSE inside the second commit", [][]byte{due(1), del(1), set(2), due(2), del(2)}, inside},
		{"CAUSE with a key", [][]byte{cause(1, "k", "\x01"), del(1)}, shapeless},
		{"CAUSE with a key for a cause", [][]byte{cause(1, "\x01", ""), del(1)}, shapeless},
		{"CAUSE without a value", [][]byte{cause(1, "", ""), del(1)}, shapeless},
		{"CAUSE of 2 bytes", [][]byte{cause(1, "", "\x01\x01"), del(1)}, shapeless},

		{"another cause", [][]byte{cause(1, "", "\x02"), del(1)}, cause2},
		{"cause 0", [][]byte{cause(1, "", "\x00"), del(1)}, "later: unknown cause 0"},
		{"cause 255", [][]byte{many(1), cause(2, "", "\xff"), del(2)}, "later: unknown cause 255"},
		{"another cause without a DELETE", [][]byte{cause(1, "", "\x02"), set(1)}, cause2},
		{"another cause behind damage", [][]byte{expire(1, ""), cause(2, "", "\x02"), del(2)}, cause2},
		{"an op that comes later", [][]byte{rawEntry(5, 1, "k", "")}, "later: unknown op 0x05"},
		{"the first of two later things", [][]byte{cause(1, "", "\x02"), rawEntry(5, 1, "", "")}, cause2},
		{"the first of two defects", [][]byte{expire(1, ""), due(1), del(1)}, undated},
	} {
		t.Run(row.name, func(t *testing.T) {
			text, isLater := strings.CutPrefix(row.want, "later: ")
			entries := slices.Concat(row.entries...)
			s, before := newSegment(1), slices.Concat(due(1), del(1)) // which must not count for the next group
			addGroup(s, 1, 0, before)
			addGroup(s, 2, 1, entries)
			g, ok := s.GroupAt(SegmentEntryBytes + len(before) + CommitEntryBytes)
			if !ok || g.Defect() != text || g.IsLater() != isLater {
				t.Errorf("in memory: %v, %q", ok, g.Defect())
			}
			want := cmp.Or(row.want, string(entries))
			for _, piece := range []int{1, 100, 1000, PieceBytes} {
				if got := secondGroup(t, s.Data, piece); got != want {
					t.Errorf("in pieces of %d bytes: %q, want %q", piece, got, want)
				}
			}
		})
	}
}

// secondGroup returns the entries of the second group of a segment that is read
// in pieces, or what is wrong with it.
func secondGroup(t *testing.T, segment []byte, piece int) string {
	t.Helper()
	var c Chain
	s, err := c.ScanWindow(windowOn(bytes.NewReader(segment), 1, len(segment), piece))
	if err == nil {
		_, _, err = s.Next()
	}
	if err != nil {
		t.Fatal(err)
	}
	g, _, err := s.Next()
	if d, ok := errors.AsType[*Damage](err); ok {
		return d.Reason
	}
	if l, ok := errors.AsType[*Later](err); ok {
		_, text, _ := strings.Cut(l.Detail, ": ")
		return "later: " + text
	}
	var entries []byte
	if err == nil {
		err = s.Entries(&g, func(b []byte) { entries = append(entries, b...) })
	}
	count := 0
	for range Entries(entries) {
		count++
	}
	if err != nil || g.Entries != count {
		t.Errorf("%d entries of %d, %v", g.Entries, count, err)
	}
	return string(entries)
}

// The deadline in an entry is a signed number. No other entry has one.
func TestDeadlineOfAnEntry(t *testing.T) {
	for _, want := range []int64{0, 1, -1, goldenCommitted, -1 << 63, 1<<63 - 1} {
		value := ExpireValue(want)
		raw := binary.BigEndian.AppendUint64(nil, uint64(want))
		if !bytes.Equal(value[:], raw) {
			t.Errorf("%d is %x", want, value)
		}
		e, _ := DecodeEntry(rawEntry(3, 1, "k", string(raw)))
		if got, ok := e.Deadline(); !ok || got != want {
			t.Errorf("%d, %v, want %d", got, ok, want)
		}
	}
	for i, b := range [][]byte{
		rawEntry(1, 1, "k", someDeadline), rawEntry(3, 1, "k", ""), rawEntry(3, 1, "k", someDeadline[1:]),
		rawEntry(3, 1, "k", someDeadline+"x"), rawEntry(4, 1, "", "\x01"),
	} {
		e, _ := DecodeEntry(b)
		if got, ok := e.Deadline(); ok || got != 0 {
			t.Errorf("row %d: %d, %v", i, got, ok)
		}
	}
}
