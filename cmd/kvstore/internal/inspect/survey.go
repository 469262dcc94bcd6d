package inspect

import (
	"fmt"

	"kvstore/internal/format"
)

// survey goes through snapshots and segments in their order, and on behind damage, which Open does not. It tells what is lost, and hands on
// what is whole.
//
// What a bad spot has cost is seen only from what comes behind it: groups have numbers. So damage is pending until the next whole group.
type survey struct {
	id      format.StoreID // of the store
	last    uint64         // the last group so far
	unknown bool           // last is not known
	version int64          // of the last commit so far
	lossy   bool           // something is lost
	files   []File
	damage  []Damage
	pending []Damage // bad spots since the last whole group

	group func(g *format.Group) error // gets each whole group that is newer than those before
}

// newSurvey begins with a snapshot; nil if there is none.
func newSurvey(id format.StoreID, info *format.Snapshot, group func(g *format.Group) error) *survey {
	s := &survey{id: id, group: group}
	if info != nil {
		s.last, s.version = info.LastGroup, info.Timestamp
	}
	return s
}

// segment goes through one segment. data must not change meanwhile.
func (s *survey) segment(f *dataFile, data []byte, needed, isLast bool) error {
	o := &segmentSurvey{survey: s, file: File{File: f.name, Bytes: int64(len(data)), Needed: needed}}
	o.segment = format.Segment{ID: s.id, Number: f.number, Data: data}
	defer func() { s.files = append(s.files, o.file) }()
	if !o.header() {
		return nil
	}
	ended := false
	for p := range pieces(&o.segment, format.SegmentEntryBytes) {
		switch {
		case p.kind == wholeGroup:
			if err := o.wholeGroup(&p.group); err != nil {
				return err
			}
		case p.kind == wholeEnd:
			o.wholeEnd(p)
			ended = true
		case p.kind == hole && !ended: // behind END nothing counts
			o.hole(p)
		}
	}
	if !ended && !isLast {
		o.bad(len(data), 0, "the segment has no end, though a later one exists")
	}
	return nil
}

// end tells that nothing follows.
func (s *survey) end() {
	for _, d := range s.pending {
		if d.FirstGroup > 0 || d.Loss == Certain {
			d.Loss, s.lossy = Certain, true
		}
		s.damage = append(s.damage, d)
	}
	s.pending = nil
}

// resolve settles what the pending damage has cost: the groups between the last one and next, which was written at version; at the earliest.
// It takes the file and the offset where that is for the case that nothing is pending.
func (s *survey) resolve(next uint64, version int64, here Damage) {
	gap := !s.unknown && next > s.last+1
	if gap && len(s.pending) == 0 {
		here.Reason = fmt.Sprintf("group %d belongs here", s.last+1)
		here.After = at(s.version)
		s.pending = append(s.pending, here)
	}
	for _, d := range s.pending {
		if d.Before.IsZero() {
			d.Before = at(version)
		}
		d.FirstGroup, d.LastGroup, d.Loss = 0, 0, None
		if gap { // which of several spots had them is not known
			d.FirstGroup, d.LastGroup = s.last+1, next-1
		}
		if gap || s.unknown {
			d.Loss, s.lossy = Certain, true
		}
		s.damage = append(s.damage, d)
	}
	s.pending = nil
}

// segmentSurvey goes through one segment.
type segmentSurvey struct {
	*survey
	segment format.Segment
	file    File
}

// header verifies SEGMENT, or does without it. It returns false if no group of the store can be behind it.
func (o *segmentSurvey) header() bool {
	chain := format.Chain{ID: o.id, KnowsID: o.id != format.StoreID{}}
	_, err := chain.Scan(o.segment.Number, o.segment.Data)
	if d, ok := damageOf(err); ok {
		d.Needed, d.After = o.file.Needed, at(o.version)
		o.pending = append(o.pending, d)
	}
	h, ok := format.DecodeHeader(o.segment.Data)
	switch {
	case !ok && o.id == format.StoreID{}:
		o.segment.ID = format.GuessID(o.segment.Data)
	case !ok: // groups prove by their own checksums that they belong here
	case h.Version != format.Version || chain.KnowsID && h.ID != o.id:
		return false
	default:
		o.segment.ID, o.segment.Number = h.ID, h.Number
	}
	return true
}

func (o *segmentSurvey) wholeGroup(g *format.Group) error {
	if !o.unknown && g.Number <= o.last {
		again := o.spot(g.Offset, len(g.Bytes), fmt.Sprintf("group %d is here again", g.Number))
		again.Loss = None
		o.damage = append(o.damage, again)
		return nil
	}
	o.resolve(g.Number, firstVersion(g), o.spot(g.Offset, 0, ""))
	o.last, o.unknown, o.version = g.Number, false, lastVersion(g)
	if defect := g.Defect(); defect != "" {
		d := o.spot(g.Offset, len(g.Bytes), defect)
		d.missing(g.Number, g.Number)
		d.Loss, o.lossy = Certain, true
		d.later = g.HasUnknownOp()
		o.damage = append(o.damage, d)
		return nil
	}
	o.file.count(g)
	return o.group(g)
}

// wholeEnd takes in an END: it knows the last group before it.
func (o *segmentSurvey) wholeEnd(p piece) {
	if p.end.Group > o.last || o.unknown {
		o.resolve(p.end.Group+1, 0, o.spot(p.offset, 0, ""))
		o.last, o.unknown = p.end.Group, false
	}
}

func (o *segmentSurvey) hole(p piece) {
	d := o.bad(p.offset, p.bytes, "no whole group")
	d.Keys = newKeys(readableKeys(o.segment.Data[p.offset : p.offset+p.bytes]))
	if durable, _ := o.segment.DurableBehind(p.offset); durable > o.last {
		d.missing(o.last+1, durable)
	}
}

// bad notes a bad spot.
func (o *segmentSurvey) bad(offset, size int, reason string) *Damage {
	o.pending = append(o.pending, o.spot(offset, size, reason))
	return &o.pending[len(o.pending)-1]
}

func (o *segmentSurvey) spot(offset, size int, reason string) Damage {
	return Damage{
		File: o.file.File, Offset: int64(offset), Bytes: int64(size), Reason: reason, Needed: o.file.Needed, Loss: Possible,
		After: at(o.version),
	}
}
