package main

// This file is a repair that kvstore does not make: to write what was judged
// into the same files again. It is the obvious design, and each of its details
// has a mistake that the search has to find. It is right on a disk whose blocks
// recover from a lost write; on ext4 they do not (docs/DESIGN.md).

// rewriteInPlace writes again what may be in the cache alone: the zeros behind
// the place of END, the groups that are not proven to be durable, and END. The
// groups are synced before END is written: an END without D vouches for them.
func (w *world) rewriteInPlace(j *judgement) error {
	last := j.lastSegment()
	if last == nil || j.unused {
		return w.syncSegments(j.segments)
	}
	at := len(last.pieces) // the place of END
	if last.ended {
		at--
	}
	w.rewriteZeros(last, at)
	if w.rules.endWithRewrites {
		w.rewriteEnd(j, at)
	}
	for i := range j.segments {
		w.rewriteGroups(j, &j.segments[i])
	}
	if err := w.syncSegments(j.segments); err != nil || w.rules.endWithRewrites {
		return err
	}
	w.rewriteEnd(j, at)
	return w.syncSegments(j.segments[len(j.segments)-1:])
}

// rewriteZeros clears what is behind the last group, except END.
func (w *world) rewriteZeros(s *judgedSegment, at int) {
	f := w.disk.names.file(segmentName(s.number))
	if s.ended {
		at++
	}
	for ; at < len(f.cache); at++ {
		if f.cache[at].kind != zeros || !w.rules.keepsZeros {
			w.disk.write(f, at, piece{})
		}
	}
}

func (w *world) rewriteEnd(j *judgement, at int) {
	s := j.lastSegment()
	p := j.end()
	if s.ended {
		p = s.end
	}
	if s.ended && w.rules.keepsEnd {
		return
	}
	w.disk.write(w.disk.names.file(segmentName(s.number)), at, p)
}

func (w *world) rewriteGroups(j *judgement, s *judgedSegment) {
	f := w.disk.names.file(segmentName(s.number))
	for _, g := range s.groups {
		if g.number <= j.proven || w.rules.keepsGroups {
			continue
		}
		for at := g.at; at < g.at+g.pieces; at++ {
			p := s.pieces[at]
			if w.rules.copiesUncompared {
				p = f.cache[at]
			}
			w.disk.write(f, at, p)
		}
	}
}
