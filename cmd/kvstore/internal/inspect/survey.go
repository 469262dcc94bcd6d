package inspect

import (
	"fmt"

	"kvstore/internal/format"
	"kvstore/internal/logread"
)

// survey reads snapshots and segments in their order. Unlike Open, it continues
// behind damage. It determines what is lost, and passes on what is valid.
//
// Groups have numbers, so only the next valid group shows what damage before it
// has cost. Until then, the damage is pending.
type survey struct {
	id      format.StoreID // of the store
	last    uint64         // the last group so far
	unknown bool           // last is unknown
	version int64          // of the last commit so far
	lossy   bool           // data is lost
	files   []File
	damage  []Damage
	pending []Damage // since the last valid group

	group func(g *format.Group) error // called with each valid group that is newer than the last
}

// newSurvey returns a survey that begins with a snapshot, or with nothing if
// info is nil.
func newSurvey(id format.StoreID, info *format.Snapshot, group func(g *format.Group) error) *survey {
	s := &survey{id: id, group: group}
	if info != nil {
		s.last, s.version = info.LastGroup, info.Timestamp
	}
	return s
}

// unreadable records a segment that cannot be read, and so is lost as a whole.
func (s *survey) unreadable(f *dataFile, defect error, needed bool) {
	d := damageOf(defect)
	d.Needed, d.After = needed, at(s.version)
	s.pending = append(s.pending, d)
	s.files = append(s.files, File{File: f.name, Bytes: f.size, Needed: needed})
}

// segment surveys one segment. data must not change meanwhile.
func (s *survey) segment(f *dataFile, data []byte, needed, isLast bool) error {
	o := &segmentSurvey{survey: s, file: File{File: f.name, Bytes: int64(len(data)), Needed: needed}}
	o.segment = format.Segment{ID: s.id, Number: f.number, Data: data}
	defer func() { s.files = append(s.files, o.file) }()
	if !o.header() {
		return nil
	}
	ended := false
	for p := range logread.Pieces(&o.segment, format.SegmentEntryBytes) {
		switch {
		case p.Kind == logread.ValidGroup:
			if err := o.validGroup(&p.Group); err != nil {
				return err
			}
		case p.Kind == logread.ValidEnd:
			o.validEnd(p)
			ended = true
		case p.Kind == logread.Invalid && !ended: // behind END nothing counts
			o.invalid(p)
		}
	}
	if !ended && !isLast {
		o.bad(len(data), 0, "the segment has no end, though a later one exists")
	}
	return nil
}

// end ends the survey: nothing follows.
func (s *survey) end() {
	for _, d := range s.pending {
		if d.FirstGroup > 0 || d.Loss == Certain {
			d.Loss, s.lossy = Certain, true
		}
		s.damage = append(s.damage, d)
	}
	s.pending = nil
}

// resolve determines what the pending damage has cost: the groups between the
// last one and next. version is that of next. If no damage is pending and
// groups are missing all the same, they belong at the place of here.
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
		if gap { // if several places are damaged, each may have had them
			d.FirstGroup, d.LastGroup = s.last+1, next-1
		}
		if gap || s.unknown {
			d.Loss, s.lossy = Certain, true
		}
		s.damage = append(s.damage, d)
	}
	s.pending = nil
}

// segmentSurvey surveys one segment.
type segmentSurvey struct {
	*survey
	segment format.Segment
	file    File
}

// header verifies SEGMENT, or does without it. It returns false if no group of
// the store can follow.
func (o *segmentSurvey) header() bool {
	chain := format.Chain{ID: o.id, KnowsID: o.id != format.StoreID{}}
	_, err := chain.Scan(o.segment.Number, o.segment.Data)
	if err != nil {
		d := damageOf(err)
		d.Needed, d.After = o.file.Needed, at(o.version)
		o.pending = append(o.pending, d)
	}
	h, ok := format.DecodeHeader(o.segment.Data)
	switch {
	case !ok && o.id == format.StoreID{}:
		o.segment.ID = format.GuessID(o.segment.Data)
	case !ok: // the checksums of groups prove that they belong to this segment
	case h.Version != format.Version || chain.KnowsID && h.ID != o.id:
		return false
	default:
		o.segment.ID, o.segment.Number = h.ID, h.Number
	}
	return true
}

// validGroup takes a group with right checksums, unless it occurred before.
func (o *segmentSurvey) validGroup(g *format.Group) error {
	if !o.unknown && g.Number <= o.last {
		again := o.spot(g.Offset, len(g.Bytes), fmt.Sprintf("group %d is here again", g.Number))
		again.Loss = None
		o.damage = append(o.damage, again)
		return nil
	}
	o.resolve(g.Number, logread.FirstVersion(g), o.spot(g.Offset, 0, ""))
	o.last, o.unknown, o.version = g.Number, false, logread.LastVersion(g)
	if defect := g.Defect(); defect != "" {
		d := o.spot(g.Offset, len(g.Bytes), defect)
		d.missing(g.Number, g.Number)
		d.Loss, o.lossy = Certain, true
		d.later = g.IsLater()
		o.damage = append(o.damage, d)
		return nil
	}
	o.file.count(g)
	return o.group(g)
}

// validEnd takes an END, which has the number of the last group before it.
func (o *segmentSurvey) validEnd(p logread.Piece) {
	if p.End.Group > o.last || o.unknown {
		o.resolve(p.End.Group+1, 0, o.spot(p.Offset, 0, ""))
		o.last, o.unknown = p.End.Group, false
	}
}

// invalid records bytes that are neither group nor END. A later COMMIT or END
// may prove that groups were there.
func (o *segmentSurvey) invalid(p logread.Piece) {
	d := o.bad(p.Offset, p.Bytes, "no whole group")
	d.Keys = newKeys(readableKeys(o.segment.Data[p.Offset : p.Offset+p.Bytes]))
	if durable, _ := o.segment.DurableBehind(p.Offset); durable > o.last {
		d.missing(o.last+1, durable)
	}
}

// bad adds pending damage.
func (o *segmentSurvey) bad(offset, size int, reason string) *Damage {
	o.pending = append(o.pending, o.spot(offset, size, reason))
	return &o.pending[len(o.pending)-1]
}

func (o *segmentSurvey) spot(offset, size int, reason string) Damage {
	return Damage{
		File: o.file.File, Offset: int64(offset), Bytes: int64(size), Reason: reason, Needed: o.file.Needed,
		Loss:  Possible,
		After: at(o.version),
	}
}
