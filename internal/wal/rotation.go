package wal

import (
	"fmt"

	"kvstore/internal/datadir"
	"kvstore/internal/format"
	"kvstore/internal/tuning"
	"kvstore/internal/vfs"
)

// This file is how the log goes from one segment to the next. The next segment
// is preallocated in the background while the current one fills, and the END
// entry rides with the last group. What remains is to give the next segment its
// name, after the callers of that group have their answers.

const (
	// The next segment is preallocated when 1/preallocateShare of the current
	// one is full: a log with few writes never makes a second segment, and one
	// that is written to at full speed has most of a segment's time for it.
	preallocateShare = 4

	// END rides with the group that leaves less than 1/endShare of a segment,
	// if the next segment is ready.
	endShare = 16

	// maxZeroedGroup is the average size of groups up to which the next segment
	// is filled with zeros. Overwriting written space spares the file system's
	// journal a commit in every sync, which is half of a small group's time.
	// For large groups it costs more than it saves to write everything twice.
	maxZeroedGroup = 128 << 10
)

// rotation is the state of the way to the next segment. The [Log] owns it.
type rotation struct {
	nextBytes int64 // the next segment's size
	groups    int64 // written to the current segment
	ended     bool  // the current segment has its END
	tried     bool  // the next segment was asked for
	next      *nextSegment
}

// nextSegment is a segment that a goroutine of its own preallocates.
type nextSegment struct {
	segment *segment      // written by the goroutine; valid after done is closed
	err     error         // likewise
	done    chan struct{} // closed by the goroutine
}

// ready reports whether the segment can be used. A nil one is not ready.
func (n *nextSegment) ready() bool {
	if n == nil {
		return false
	}
	select {
	case <-n.done:
		return n.err == nil
	default:
		return false
	}
}

// PrepareRotation does what makes the next rotation short, or the rotation
// itself if the current segment has its END. The writer calls it after it has
// answered a group. An error is kept, see [Log.Err].
func (l *Log) PrepareRotation() {
	r := &l.rotation
	switch {
	case l.failure != nil:
	case r.ended:
		_ = l.rotate() // kept as l.failure
	case !r.tried && l.segment.offset >= l.segment.size/preallocateShare:
		r.tried = true
		r.next = l.preallocate()
	}
}

// preallocate begins to make the next segment. A failure is no error of the
// log: the segment is made again when it is needed. The page cache gives up the
// full segment before the current one in exchange, which only a recovery reads
// again. Otherwise a log takes ever more memory, and some hypervisors are slow
// to give a guest memory that was not in use lately.
func (l *Log) preallocate() *nextSegment {
	n := &nextSegment{done: make(chan struct{})}
	dir, plan, full := l.dir, l.planNext(), format.SegmentName(l.segment.header.Number-1)
	ballast, hold := l.options.Ballast, l.ballastFor(plan.size)
	l.options.Background(func() error {
		defer close(n.done)
		if tuning.DropCache {
			_ = vfs.ForgetFile(dir, full) // advice; a snapshot may have removed the file
		}
		n.segment, n.err = makeSegment(dir, plan)
		if n.err == nil && !ballast.Spent() {
			ballast.Hold(hold)
		}
		return nil
	})
	return n
}

// planNext says what the next segment should be.
func (l *Log) planNext() segmentPlan {
	plan := segmentPlan{
		header:    l.segment.header,
		timestamp: l.options.Now().UnixNano(),
		size:      l.rotation.nextBytes,
	}
	plan.header.Number++
	average := (l.segment.offset - format.SegmentEntryBytes) / max(l.rotation.groups, 1)
	if l.options.SyncWrites && tuning.Zeros && average <= maxZeroedGroup {
		plan.groupBytes = max(average, 1)
	}
	return plan
}

// endsWith reports whether a group of groupBytes should be the segment's last
// one. During a background fsync it is not: the rotation would have to wait.
func (l *Log) endsWith(groupBytes int64) bool {
	left := l.segment.size - l.segment.offset - groupBytes
	return left < l.segment.size/endShare && l.rotation.next.ready() && l.flush == nil
}

// rotateNow goes to the next segment, with room for a group of groupBytes,
// though END has not been written yet. Exhausted space is no failure of the
// log.
func (l *Log) rotateNow(groupBytes int64) error {
	if err := l.reserveNext(groupBytes); err != nil {
		if vfs.IsExhausted(err) {
			return err
		}
		return l.fail(err)
	}
	if err := l.end(); err != nil {
		return err
	}
	return l.rotate()
}

// reserveNext makes sure that the next segment exists and has room for a group
// of groupBytes.
func (l *Log) reserveNext(groupBytes int64) error {
	need := format.SegmentEntryBytes + groupBytes + format.EndEntryBytes
	r := &l.rotation
	if r.next != nil {
		if <-r.next.done; r.next.err == nil && r.next.segment.size >= need {
			return nil
		}
		if err := l.dropNext(); err != nil {
			return err
		}
	}
	plan := l.planNext()
	switch {
	case l.options.Ballast.Spent(): // most of it is for a snapshot
		plan.size = min(plan.size, minBallastBytes)
	case groupBytes == 0: // no group needs it yet, and the writer waits
		plan.size = min(plan.size, FirstSegmentBytes)
	}
	s, err := reserveSegment(l.dir, plan, need)
	if err != nil {
		return err
	}
	r.next = &nextSegment{segment: s, done: make(chan struct{})}
	close(r.next.done)
	return nil
}

// dropNext removes the preallocated segment, if there is one.
func (l *Log) dropNext() error {
	n := l.rotation.next
	if n == nil {
		return nil
	}
	l.rotation.next = nil
	if <-n.done; n.err != nil {
		return nil // makeSegment has removed it
	}
	err := n.segment.close()
	if l.failure == nil { // a failed log removes nothing
		err = datadir.Discard(l.dir, n.segment.name+format.TmpSuffix, err)
	}
	return err
}

// end closes the segment with an END entry and makes all of it durable.
func (l *Log) end() error {
	l.waitFlush()
	if l.failure != nil {
		return l.failure
	}
	record := format.End{Group: l.written, Durable: l.durable}
	end := format.AppendEnd(nil, l.version, record, l.segment.seed(0))
	if err := l.segment.append(end); err != nil {
		return l.fail(err)
	}
	return l.Sync()
}

// rotate goes to the next segment. END is durable before the next segment gets
// its name, so a segment that is not the last one has an END or is damaged.
func (l *Log) rotate() error {
	if err := l.checkLock(); err != nil {
		return err
	}
	if l.durable != l.written { // END rode with a group that was not synced
		if err := l.Sync(); err != nil {
			return err
		}
	}
	next, old := l.rotation.next.segment, l.segment
	if err := next.rename(l.dir); err != nil {
		return l.fail(err)
	}
	l.segment, l.rotation = next, rotation{nextBytes: min(2*l.rotation.nextBytes, MaxSegmentBytes)}
	if err := old.close(); err != nil {
		return l.fail(fmt.Errorf("close %s: %w", old.name, err))
	}
	return nil
}
