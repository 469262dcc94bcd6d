package logread

import (
	"testing"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// A reader that follows sees each group once and in order: in the segment that
// is written, across a rotation, and in a segment that grows while it is read.
func TestFollowAcrossSegments(t *testing.T) {
	first, second := newSegment(1, 1, 3).end().zeros(), newSegment(2, 4, 2).zeros()
	upTo := func(b *builder, end int) []byte { return b.with(func(data []byte) { clear(data[end:]) }) }
	l := newMemLog(t)
	got := l.follow(
		func() { l.put(1, upTo(first, first.offsets[0])) },
		func() { l.write(1, upTo(first, first.endOf(0)), 0) },
		func() { l.write(1, upTo(first, first.endOf(1)+9), 0) }, // one group and a part of the next one
		func() {
			l.write(1, first.Data, 0)
			l.put(2, upTo(second, second.endOf(0)))
		},
		func() { l.write(2, second.Data, 0) },
	)
	checkEqual(t, got, []string{
		"header 1", "group 1", "group 2", "group 3", "end 3", "reserved", "header 2", "group 4", "group 5",
	})
}

// The tail of a live log becomes whole between two looks, wherever the first
// look ended in it.
func TestTailThatBecomesWhole(t *testing.T) {
	b := newSegment(1, 1, 2).zeros()
	for at := b.offsets[1]; at < b.endOf(1); at += 7 {
		l := newMemLog(t)
		l.put(1, b.with(func(data []byte) { clear(data[at:]) }))
		l.beforeRead(2, func() { l.write(1, b.Data, 0) })
		checkEqual(t, l.read(), []string{"header 1", "group 1", "group 2", "reserved"})
	}
}

// One look may see a group half-written, and whole the next one, which knows
// it durable. Only what is bad in a look after that proof is damage.
func TestGroupsThatAppearWhileItLooks(t *testing.T) {
	b := newSegment(1, 1, 3).zeros()
	half := b.with(func(data []byte) { clear(data[b.offsets[1] : b.endOf(1)-1]) })
	l := newMemLog(t)
	l.put(1, b.with(func(data []byte) { clear(data[b.offsets[1]:]) }))
	l.beforeRead(3, func() { l.write(1, half, 0) })
	l.beforeRead(4, func() { l.write(1, b.Data, 0) })
	checkEqual(t, l.read(), []string{"header 1", "group 1", "group 2", "group 3", "reserved"})
	if l.counts[vfs.OpRead] < 4 {
		t.Errorf("%d reads: nothing has appeared", l.counts[vfs.OpRead])
	}
}

// What is still bad in a look after the proof is damage.
func TestDamageIsSettled(t *testing.T) {
	b := newSegment(1, 1, 3).zeros()
	half := b.with(func(data []byte) { clear(data[b.offsets[1] : b.endOf(1)-1]) })
	l := newMemLog(t)
	l.put(1, b.with(func(data []byte) { clear(data[b.offsets[1]:]) }))
	l.beforeRead(3, func() { l.write(1, half, 0) })
	checkEqual(t, l.read(), []string{"header 1", "group 1", "damaged, 2 is durable", "group 3", "reserved"})
}

// The store ends the segment and begins the next one between two looks. A later
// segment counts only for a look that begins after it was seen.
func TestRotationWhileItLooks(t *testing.T) {
	b := newSegment(1, 1, 2)
	half := b.with(func(data []byte) { clear(data[b.offsets[1]+9:]) })
	l := newMemLog(t)
	l.put(1, append(half, make([]byte, format.EndEntryBytes)...))
	b.end()
	l.before[call{vfs.OpList, 2}] = func() { // the first one is that of the test
		l.write(1, b.Data, 0)
		l.put(2, newSegment(2, 3, 1).Data)
	}
	checkEqual(t, l.read(), []string{"header 1", "group 1", "group 2", "end 2"})
}

// A later segment appears while the reader waits for a group. So the group will
// not come: what is there instead is damage.
func TestFollowDamageBeforeALaterSegment(t *testing.T) {
	l := newMemLog(t)
	l.put(1, newSegment(1, 1, 1).append("KVLG torn").zeros().Data)
	got := l.follow(
		func() {},
		func() { l.put(2, newSegment(2, 2, 1).Data) },
	)
	checkEqual(t, got, []string{"header 1", "group 1", "damaged, 0 is durable", "unended", "header 2", "group 2"})
}

// An opener replaces the segment: it drops what a crash had left, and writes
// END in its place. The reader goes on in the new file.
func TestFollowSegmentThatAnOpenerReplaces(t *testing.T) {
	torn, repaired := newSegment(1, 1, 2).append("KVLG torn by a crash").zeros(), newSegment(1, 1, 2).end()
	l := newMemLog(t)
	l.put(1, torn.Data)
	got := l.follow(
		func() { l.put(1, repaired.Data) },
		func() { l.put(2, newSegment(2, 3, 1).Data) },
	)
	checkEqual(t, got, []string{"header 1", "group 1", "group 2", "end 2", "header 2", "group 3"})
}

// An opener's file ends where the reader is, or before it: the crash had left
// the rest of the old file.
func TestSegmentThatAnOpenerCutsOff(t *testing.T) {
	groups := newSegment(1, 1, 2)
	for _, c := range []struct {
		name string
		data []byte // of the new file
		read int    // before which it gets the name
		want []string
	}{
		{"where the tail begins", groups.Data, 2, []string{"header 1", "group 1", "group 2"}},
		{"before the zeros behind a tail", groups.Data, 4, []string{"header 1", "group 1", "group 2", "torn"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newMemLog(t)
			l.put(1, newSegment(1, 1, 2).append("KVLG torn by a crash").zeros().Data)
			l.beforeRead(c.read, func() { l.put(1, c.data) })
			checkEqual(t, l.read(), c.want)
		})
	}
}

// A segment that is removed while it is read can be read to its end.
func TestSegmentThatIsRemoved(t *testing.T) {
	l := newMemLog(t)
	l.put(1, newSegment(1, 1, 2).zeros().Data)
	l.beforeRead(1, func() { l.remove(1) })
	checkEqual(t, l.read(), []string{"header 1", "group 1", "group 2", "reserved"})
}

// A segment is replaced, and removed before the reader opens it again. The
// reader goes on in the old file.
func TestSegmentThatIsReplacedAndRemoved(t *testing.T) {
	l := newMemLog(t)
	l.put(1, newSegment(1, 1, 2).zeros().Data)
	l.beforeRead(2, func() { l.names[1]++ })
	// The reader opens the file, then the source to compare it, twice, and then
	// the reader again.
	l.before[call{vfs.OpOpen, 4}] = func() { l.remove(1) }
	checkEqual(t, l.read(), []string{"header 1", "group 1", "group 2", "reserved"})
}

// Segments that were removed before they were read are a gap.
func TestFollowGap(t *testing.T) {
	l := newMemLog(t)
	l.put(1, newSegment(1, 1, 1).end().Data)
	got := l.follow(
		func() {
			l.remove(1)
			l.put(4, newSegment(4, 9, 1).end().Data)
		},
		func() { l.put(5, newSegment(5, 10, 1).Data) },
	)
	checkEqual(t, got, []string{
		"header 1", "group 1", "end 1", "gap 2 to 3", "header 4", "group 9", "end 9", "header 5", "group 10",
	})
}

// A segment that is removed between listing and opening is passed over.
func TestFollowSegmentThatGoesMeanwhile(t *testing.T) {
	l := newMemLog(t)
	l.put(1, newSegment(1, 1, 1).end().Data)
	l.before[call{vfs.OpOpen, 1}] = func() {
		l.remove(1)
		l.put(2, newSegment(2, 2, 1).Data)
	}
	checkEqual(t, l.follow(), []string{"gap 1 to 1", "header 2", "group 2"})
}
