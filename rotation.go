package kvstore

import (
	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// This file is how the log goes from one segment to the next. The next one is made in the background while the
// present one fills, and END rides with the last group: what is left to do is to give the next segment its name, after the
// callers of that group have their answers.

const (
	// A segment is followed up when 1/aheadShare of it is full: a log that is hardly written to makes no
	// second one, and one that is written to at full speed still has most of a segment's time for it.
	aheadShare = 4

	// END rides with the group that leaves less than 1/endShare of a segment, if the next one is there.
	endShare = 16

	// maxZeroedGroup is the average size of groups up to which the next segment is filled with zeros. Overwriting what was
	// written before spares the disk's journal a commit in every sync, which is half of its time for small groups; for
	// large ones, it costs more than it saves to write everything twice.
	maxZeroedGroup = 128 << 10
)

// rotation is what the writer knows of the next segment. Its fields are owned by [walWriter.run].
type rotation struct {
	bytes  int64  // the next segment's size
	groups int64  // written to the present segment
	ended  bool   // the present segment has its END
	tried  bool   // the next segment was asked for
	ahead  *ahead // the next segment, made in the background; nil if there is none
}

// ahead is a segment that is made in the background, by a goroutine of its own.
type ahead struct {
	segment *segment      // written by the goroutine; valid after done is closed
	err     error         // likewise
	done    chan struct{} // closed by the goroutine
}

// ready reports whether the segment is there.
func (a *ahead) ready() bool {
	if a == nil {
		return false
	}
	select {
	case <-a.done:
		return a.err == nil
	default:
		return false
	}
}

// prepareRotation does, after a group was answered, what makes the next rotation short, or the rotation itself if END has
// been written.
func (w *walWriter) prepareRotation() {
	r := &w.rotation
	switch {
	case w.failure != nil:
	case r.ended:
		_ = w.rotate() // kept in w.failure
	case !r.tried && w.segment.offset >= w.segment.size/aheadShare:
		r.tried = true
		r.ahead = w.makeAhead()
	}
}

// makeAhead begins to make the next segment. If that fails, nobody needs to know: it is tried again when the
// segment is needed. It needs as much of the system's memory as the full one before the present one, which nobody reads again but a
// recovery: without that given back, a log takes ever more, and from some hypervisors memory that was not in use lately is slow to get.
func (w *walWriter) makeAhead() *ahead {
	a := &ahead{done: make(chan struct{})}
	dir, plan, full := w.dir, w.planSegment(), format.SegmentName(w.segment.header.Number-1)
	w.background(func() error {
		defer close(a.done)
		_ = vfs.ForgetFile(dir, full) // a snapshot may have removed it; otherwise, all it costs is memory
		a.segment, a.err = makeSegment(dir, plan)
		return nil
	})
	return a
}

// planSegment says what the next segment is to be.
func (w *walWriter) planSegment() segmentPlan {
	plan := segmentPlan{header: w.segment.header, timestamp: w.now().UnixNano(), size: w.rotation.bytes}
	plan.header.Number++
	average := (w.segment.offset - format.SegmentEntryBytes) / max(w.rotation.groups, 1)
	if w.syncWrites && average <= maxZeroedGroup {
		plan.group = max(average, 1)
	}
	return plan
}

// endsWith reports whether a group of this size is to be the segment's last one. A background fsync had better end first: the
// rotation would have to wait for it.
func (w *walWriter) endsWith(groupBytes int64) bool {
	left := w.segment.size - w.segment.offset - groupBytes
	return left < w.segment.size/endShare && w.rotation.ahead.ready() && w.flush == nil
}

// makeRoom makes sure that a group of size bytes fits into the segment, by rotating if it does not. Running out of space for the
// next segment is no failure of the store: nothing was written, and the next group tries again.
func (w *walWriter) makeRoom(size int64) error {
	if w.segment.fits(size) {
		return nil
	}
	return w.turnOver(size)
}

// turnOver goes on to the next segment, with room for a group of size bytes, though END has not been written yet.
func (w *walWriter) turnOver(size int64) error {
	if err := w.reserve(size); err != nil {
		if vfs.IsExhausted(err) {
			return err
		}
		return w.fail(err)
	}
	if err := w.end(); err != nil {
		return err
	}
	return w.rotate()
}

// reserve makes sure that the next segment is there and large enough for a group of size bytes.
func (w *walWriter) reserve(size int64) error {
	need := format.SegmentEntryBytes + size + format.EndEntryBytes
	r := &w.rotation
	if r.ahead != nil {
		if <-r.ahead.done; r.ahead.err == nil && r.ahead.segment.size >= need {
			return nil
		}
		if err := w.dropAhead(); err != nil {
			return err
		}
	}
	plan := w.planSegment()
	if size == 0 { // nothing needs it yet, and the writer waits
		plan.size = min(plan.size, firstSegmentBytes)
	}
	s, err := reserveSegment(w.dir, plan, need)
	if err != nil {
		return err
	}
	r.ahead = &ahead{segment: s, done: make(chan struct{})}
	close(r.ahead.done)
	return nil
}

// dropAhead takes back what was made ahead.
func (w *walWriter) dropAhead() error {
	a := w.rotation.ahead
	if a == nil {
		return nil
	}
	w.rotation.ahead = nil
	if <-a.done; a.err != nil {
		return nil // it has left nothing
	}
	err := a.segment.close()
	if w.failure == nil { // or else Close removes nothing
		err = discard(w.dir, a.segment.name+format.TmpSuffix, err)
	}
	return err
}

// end closes the segment with an END entry and makes all of it durable.
func (w *walWriter) end() error {
	w.waitFlush()
	if w.failure != nil {
		return w.failure
	}
	end := format.AppendEnd(nil, w.version, format.End{Group: w.written, Durable: w.durable}, w.segment.seed())
	if err := w.segment.append(end); err != nil {
		return w.fail(err)
	}
	return w.sync()
}

// rotate goes on with the next segment. The present one's END is durable before the next gets its name: so a
// segment that is not the last has an END, or is damaged.
func (w *walWriter) rotate() error {
	if w.durable != w.written { // END was written with a group that nobody wanted to have synced
		if w.waitFlush(); w.failure != nil {
			return w.failure
		}
		if err := w.sync(); err != nil {
			return err
		}
	}
	next, old := w.rotation.ahead.segment, w.segment
	if err := next.publish(w.dir); err != nil {
		return w.fail(err)
	}
	w.segment, w.rotation = next, rotation{bytes: min(2*w.rotation.bytes, maxSegmentBytes)}
	if err := old.close(); err != nil {
		return w.fail(err)
	}
	return nil
}
