package main

import (
	"fmt"
	"math"
	"slices"
)

// judgement is what the files of a directory mean. To judge changes nothing.
type judgement struct {
	refused  string // why Open refuses; "" if it does not
	fresh    bool   // there is neither a snapshot nor a segment
	snapshot int    // number of the newest snapshot, 0 for none
	covered  int    // last group that the snapshot covers
	store    int    // store id
	hasStore bool   // store was read from a file
	groups   []groupID
	versions []int // of groups; 0 for what a snapshot covers, except for its last group
	last     int   // number of the last group
	proven   int   // highest group that is proven to be durable
	segments []judgedSegment
	unproven int  // index of the first segment with groups that are not proven
	unused   bool // the last segment has no group
}

// judgedSegment is what counts of a segment.
type judgedSegment struct {
	number int
	pieces []piece // SEGMENT, groups, and END if it is there
	groups []group
	last   int // number of the last group so far
	ended  bool
	end    piece
}

// witness returns the highest group that a piece vouches for.
func (r *rules) witness(p piece) int {
	switch {
	case p.kind == end && r.endVouchesForAll:
		return int(p.number)
	case p.kind == commit, p.kind == end:
		return int(p.durable)
	case p.forged && r.endUnseeded:
		return math.MaxInt // a user can make it say anything
	}
	return 0
}

// judge reads the newest snapshot and the segments that follow it. The kernel
// may drop pages meanwhile.
func (w *world) judge() *judgement {
	j := &judgement{}
	j.snapshot, _ = w.newestSnapshot()
	var numbers []int
	for _, f := range w.disk.names {
		if !f.name.snapshot && f.name.number >= j.snapshot {
			numbers = append(numbers, f.name.number)
		}
	}
	if j.fresh = j.snapshot == 0 && len(numbers) == 0; j.fresh {
		return j
	}
	if j.refused = w.judgeSnapshot(j); j.refused != "" {
		return j
	}
	for i, number := range numbers {
		if number != max(j.snapshot, 1)+i {
			j.refused = fmt.Sprintf("segments before wal-%d are missing", number)
			return j
		}
	}
	for i, number := range numbers {
		isLast := i == len(numbers)-1
		w.mayEvict()
		if j.refused = w.judgeSegment(j, number, isLast); j.refused != "" {
			return j
		}
		if !isLast && !j.segments[i].ended {
			break // END is optional: later segments are dropped
		}
	}
	return j
}

func (w *world) judgeSnapshot(j *judgement) (refused string) {
	if j.snapshot == 0 {
		return ""
	}
	f := w.disk.names.file(snapshotName(j.snapshot))
	if f.cache[0].kind != pairs || f.cache[1].kind != footer {
		return fmt.Sprintf("%v is damaged", f)
	}
	s := w.states[f.cache[0].id]
	j.groups, j.versions = slices.Clone(s.groups), make([]int, len(s.groups))
	if n := len(j.versions); n > 0 {
		j.versions[n-1] = s.version
	}
	j.covered, j.last, j.proven = s.last, s.last, s.last
	j.store, j.hasStore = s.store, true
	return ""
}

func (w *world) judgeSegment(j *judgement, number int, isLast bool) (refused string) {
	f := w.disk.names.file(segmentName(number))
	h := f.cache[0]
	switch {
	case h.kind != segment || int(h.number) != number:
		return fmt.Sprintf("%v has no SEGMENT", f)
	case j.hasStore && int(h.id) != j.store:
		return fmt.Sprintf("%v belongs to another store", f)
	}
	j.store, j.hasStore = int(h.id), true
	groups, at := scan(f.cache)
	for _, g := range groups {
		if g.number != j.last+1 {
			return fmt.Sprintf("%v has group %d where group %d belongs", f, g.number, j.last+1)
		}
		j.last = g.number
		j.groups = append(j.groups, g.id)
		j.versions = append(j.versions, g.version)
		j.proven = max(j.proven, g.durable)
	}
	s := judgedSegment{number: number, groups: groups, last: j.last, pieces: slices.Clone(f.cache[:at])}
	w.mayEvict() // what follows the groups is read after them
	if refused := w.judgeTail(j, &s, f, at, isLast); refused != "" {
		return refused
	}
	for j.unproven < len(j.segments) && j.segments[j.unproven].last <= j.proven {
		j.unproven++
	}
	j.segments = append(j.segments, s)
	j.unused = len(groups) == 0
	return ""
}

// judgeTail judges what follows the last group of a segment. Only the last
// segment may lack its END. There, anything else is a torn tail, unless a
// witness behind it knows that the missing group was durable.
func (w *world) judgeTail(j *judgement, s *judgedSegment, f *file, at int, isLast bool) (refused string) {
	if at < len(f.cache) && f.cache[at].kind == end && int(f.cache[at].number) == j.last {
		s.ended, s.end = true, f.cache[at]
		s.pieces = append(s.pieces, s.end)
		at++
	}
	isJunk := func(p piece) bool { return p.kind != zeros }
	switch {
	case s.ended && !isLast && w.rules.junkIsDamage && slices.ContainsFunc(f.cache[at:], isJunk):
		return fmt.Sprintf("%v has something behind its END", f)
	case s.ended && w.rules.endIsProof:
		j.proven = max(j.proven, w.rules.witness(s.end))
		return ""
	case s.ended:
		return ""
	case !isLast && !w.rules.endOptional:
		return fmt.Sprintf("%v is not the last segment and has no END", f)
	}
	return w.findWitness(j, f, at, isLast)
}

// findWitness searches what is behind a bad spot, later segments included, for
// pieces that vouch for groups.
func (w *world) findWitness(j *judgement, f *file, at int, isLast bool) (refused string) {
	known := 0
	search := func(pieces []piece) {
		for _, p := range pieces {
			known = max(known, w.rules.witness(p))
		}
	}
	search(f.cache[at:])
	for _, later := range w.disk.names {
		if !isLast && !later.name.snapshot && later.name.number > f.name.number {
			search(later.cache)
		}
	}
	if known > j.last {
		return fmt.Sprintf("group %d is damaged: a witness knows that it was durable", j.last+1)
	}
	j.proven = max(j.proven, known)
	return ""
}

// replayed returns the number of groups in the segments.
func (j *judgement) replayed() (n int) {
	for _, s := range j.segments {
		n += len(s.groups)
	}
	return n
}

// lastSegment returns the last segment that counts, nil if there is none.
func (j *judgement) lastSegment() *judgedSegment {
	if len(j.segments) == 0 {
		return nil
	}
	return &j.segments[len(j.segments)-1]
}

// nextNumber returns the number of the session's own segment. If the last
// segment has no group, the new one replaces it: a process that is killed again
// and again before it writes leaves one segment, not one each time.
func (j *judgement) nextNumber() int {
	last := j.lastSegment()
	switch {
	case last == nil:
		return max(j.snapshot, 1)
	case j.unused:
		return last.number
	}
	return last.number + 1
}

// end returns the END that recovery adds to the last segment.
func (j *judgement) end() piece {
	return piece{kind: end, number: uint8(j.last), durable: uint8(min(j.proven, j.last))}
}

// lastVersion returns the version of the last commit.
func (j *judgement) lastVersion() int {
	if len(j.versions) == 0 {
		return 0
	}
	return j.versions[len(j.versions)-1]
}
