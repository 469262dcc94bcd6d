package main

import "slices"

// damage changes one piece of one file when everything is synced, and says what
// the next Open must make of it: Open refuses if proven data is damaged, and
// never because of a piece that does not count.
func (w *world) damage() {
	w.disk.syncAll()
	j := w.judge()
	if j.refused != "" {
		violated(falseAlarm, "%s", j.refused)
	}
	if j.fresh {
		return
	}
	f := w.disk.names[w.choose(len(w.disk.names))]
	at := w.choose(len(f.cache))
	old, damaged := f.cache[at], piece{kind: garbage}
	if old.kind != zeros && w.flip() {
		damaged = piece{}
	}
	v := w.judgeDamage(j, f.name, at, old)
	f.cache[at], f.disk[at] = damaged, damaged
	w.say("DAMAGE: %v[%d] was %v and is %v; must refuse %v, may refuse %v, else keep %d groups",
		f, at, old, damaged, v.mustRefuse, v.mayRefuse, v.keep)
	p := &w.promised
	p.begin(j.groups)
	p.durable, p.kept = v.keep, v.keep
	p.damaged, p.untrusted, p.mustRefuse, p.mayRefuse = true, true, v.mustRefuse, v.mayRefuse
}

// verdict is what the next Open must make of damage.
type verdict struct {
	mustRefuse bool
	mayRefuse  bool
	keep       int // number of groups to be served if it does not refuse
}

func (w *world) judgeDamage(j *judgement, n name, at int, old piece) verdict {
	v := verdict{keep: len(j.groups)}
	i := slices.IndexFunc(j.segments, func(s judgedSegment) bool { return s.number == n.number })
	switch {
	case n.number < j.snapshot:
		return v // history, or about to be removed
	case n.snapshot, old.kind == segment:
		v.mustRefuse, v.mayRefuse = true, true
		return v
	case i < 0:
		return v // dropped, because END is optional
	}
	s := &j.segments[i]
	if i < len(j.segments)-1 {
		v.mayRefuse = at < len(s.pieces)
		v.mustRefuse = v.mayRefuse
		return v
	}
	v.mayRefuse = old.kind == end
	for _, g := range s.groups {
		if at >= g.at && at < g.at+g.pieces {
			v.mayRefuse = true
			v.mustRefuse = w.promised.closed || w.isVouchedFor(s, g.number)
			v.keep -= j.last - g.number + 1
		}
	}
	return v
}

// isVouchedFor reports whether another group of the last segment, or its END,
// knows that a group was durable.
func (w *world) isVouchedFor(s *judgedSegment, number int) bool {
	knows := func(g group) bool { return g.number != number && g.durable >= number }
	return slices.ContainsFunc(s.groups, knows) || s.ended && w.rules.witness(s.end) >= number
}
