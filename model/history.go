package main

import "slices"

// This file is the design of history: segments below the newest snapshot that
// stay, and cursors that resume in them. A session of the present store keeps
// no history; for it, to retain is to remove all that a snapshot covers.

// retain removes what is below a snapshot, except the history to be kept, and
// other files.
func (s *session) retain(snapshot int, also ...name) error {
	if s.keep < keepAll {
		for i := range s.cursors {
			s.cursors[i].kept = false
		}
	}
	return s.removeBelow(snapshot, s.historyToKeep(snapshot, s.rules.readsOtherStores), also...)
}

// historyToKeep returns the newest segments below a snapshot, up to the bound.
// Below a segment that is missing, or that belongs to another store, there is
// no history.
func (s *session) historyToKeep(snapshot int, otherStores bool) (numbers []int) {
	for n := snapshot - 1; n >= 1 && len(numbers) < s.keep; n-- {
		f := s.disk.names.file(segmentName(n))
		if f == nil && s.rules.keepsBelowGaps {
			continue
		}
		if f == nil || f.cache[0].kind != segment || int(f.cache[0].id) != s.store && !otherStores {
			break
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// covers reports whether there is something below a snapshot.
func (s *session) covers(snapshot int) bool {
	return slices.ContainsFunc(s.disk.names, func(f *file) bool { return f.name.number < snapshot })
}

// removeBelow removes what is below a snapshot, oldest first, except some
// segments; then other files.
func (s *session) removeBelow(snapshot int, keep []int, also ...name) error {
	var gone []name
	for _, f := range s.disk.names {
		if f.name.number < snapshot && (f.name.snapshot || !slices.Contains(keep, f.name.number)) {
			gone = append(gone, f.name)
		}
	}
	if s.rules.removesNewestFirst {
		slices.Reverse(gone)
	}
	gone = append(gone, also...)
	for _, n := range gone {
		s.disk.remove(n)
	}
	if len(gone) == 0 {
		return nil
	}
	return s.disk.syncDir()
}

// syncHistory makes history durable before Open serves it.
func (s *session) syncHistory(snapshot int) error {
	if s.rules.loadedUnsynced {
		return nil
	}
	for _, n := range s.historyToKeep(snapshot, s.rules.readsOtherStores) {
		if err := s.disk.sync(s.disk.names.file(segmentName(n))); err != nil {
			return err
		}
	}
	return nil
}

// cursor is a place in the history of a store, and what its holder has seen.
type cursor struct {
	store   int
	version int
	list    []groupID
	kept    bool // every session since has kept all history, and the log has this commit
	visible bool // its commit was visible and not durable when the cursor was handed out
	reused  bool // a power cut has taken back its commit, and another one has its version
}

func (c *cursor) appendKey(b []byte) []byte {
	b = append(b, 'c', byte(c.store), byte(c.version), bit(c.kept), bit(c.visible), bit(c.reused))
	return appendGroups(b, c.list)
}

// handOutCursor may hand out the cursor of the last durable commit or, as a
// view does, of the last visible one.
func (s *session) handOutCursor() {
	if s.left.cursors == 0 || !s.rarely(3) {
		return
	}
	n := s.durableLen
	isVisible := n < len(s.list) && s.happens(&s.left.viewCursors, 2)
	if isVisible || s.rules.cursorsOfVisible {
		n = len(s.list)
	}
	c := cursor{store: s.store, list: slices.Clone(s.list[:n]), visible: isVisible}
	if n > 0 {
		if c.version = s.versions[n-1]; c.version == 0 {
			return // a snapshot covers the commit, and does not have its version
		}
		c.kept = !isVisible && s.isInLog(c.version)
	}
	isSame := func(o cursor) bool { return o.store == c.store && o.version == c.version }
	if slices.ContainsFunc(s.cursors, isSame) {
		return
	}
	s.left.cursors--
	s.cursors = append(s.cursors, c)
	s.say("cursor %d of store %d is handed out; its holder has %v", c.version, c.store, c.list)
}

// noteVersion notes that a commit has got a version. A power cut may take back
// what a view shows, and another commit may get its version: so a caller must
// sync before it keeps the cursor of a view.
func (s *session) noteVersion(version int) {
	for i, c := range s.cursors {
		if c.visible && c.store == s.store && c.version == version {
			s.cursors[i].reused = true
		}
	}
}

// isInLog reports whether a segment has the commit of a version.
func (s *session) isInLog(version int) bool {
	for _, f := range s.disk.names {
		if f.name.snapshot || f.cache[0].kind != segment || int(f.cache[0].id) != s.store {
			continue
		}
		groups, _ := scan(f.cache)
		if slices.ContainsFunc(groups, func(g group) bool { return g.version == version }) {
			return true
		}
	}
	return false
}

// forgetLostCursors drops the cursors of commits that damage has taken.
func (s *session) forgetLostCursors() {
	s.cursors = slices.DeleteFunc(s.cursors, func(c cursor) bool {
		return c.store == s.store && len(c.list) > len(s.list)
	})
}

// log returns the groups of the segments from a snapshot on.
func (s *session) log(snapshot int) (groups []group) {
	for n := max(snapshot, 1); ; n++ {
		f := s.disk.names.file(segmentName(n))
		if f == nil {
			return groups
		}
		more, _ := scan(f.cache)
		groups = append(groups, more...)
	}
}

// history returns the groups of the segments that join a snapshot from below,
// and the number of the group before them.
func (s *session) history(snapshot, last int) (groups []group, before int) {
	for n := snapshot - 1; n >= 1; n-- {
		f := s.disk.names.file(segmentName(n))
		if f == nil && s.rules.skipsGaps {
			continue
		}
		if f == nil || !s.joins(f, last) {
			break
		}
		more, _ := scan(f.cache)
		groups = append(more, groups...)
		last -= len(more)
	}
	return groups, last
}

// joins reports whether a segment is one of this store, is whole, and has a
// given group as its last one.
func (s *session) joins(f *file, last int) bool {
	h := f.cache[0]
	isOther := int(h.id) != s.store && !s.rules.readsOtherStores
	if h.kind != segment || int(h.number) != f.name.number || isOther {
		return false
	}
	groups, at := scan(f.cache)
	ended := at < len(f.cache) && f.cache[at].kind == end
	if !ended && !s.rules.readsTornHistory {
		return false
	}
	if s.rules.comparesNoNumbers {
		return true
	}
	if ended && int(f.cache[at].number) != last {
		return false
	}
	for i, g := range groups {
		if g.number != last-len(groups)+1+i {
			return false
		}
	}
	return true
}

// resume returns what follows a cursor, from the files alone.
func (s *session) resume(c cursor) (suffix []groupID, refused string) {
	if c.store != s.store {
		return nil, "other history"
	}
	if c.version > s.lastVersion {
		return nil, "future"
	}
	number, newest := s.newestSnapshot()
	log := s.log(number)
	switch {
	case c.version == newest.version:
		return ids(log), ""
	case c.version > newest.version:
		return s.after(log, c.version)
	}
	history, before := s.history(number, newest.last)
	all := append(history, log...)
	switch {
	case before == 0 && c.version == 0:
		return ids(all), ""
	case len(history) > 0 && c.version < history[0].version && s.rules.guessesEdge:
		return ids(all), ""
	case len(history) == 0 || c.version < history[0].version:
		return nil, "compacted"
	}
	return s.after(all, c.version)
}

// after returns the groups that follow the commit of a version.
func (s *session) after(groups []group, version int) (suffix []groupID, refused string) {
	i := slices.IndexFunc(groups, func(g group) bool { return g.version >= version })
	switch {
	case i >= 0 && groups[i].version == version:
		return ids(groups[i+1:]), ""
	case !s.rules.acceptsBetween:
		return nil, "no such commit"
	case i >= 0:
		return ids(groups[i:]), ""
	}
	return nil, ""
}

// checkHistory reads all the history that there is, and resumes every cursor
// that was handed out.
func (s *session) checkHistory() {
	if s.failed || len(s.left.keep) == 0 && s.cursors == nil {
		return
	}
	number, newest := s.newestSnapshot()
	history, _ := s.history(number, newest.last)
	got := ids(append(history, s.log(number)...))
	if len(got) > len(s.list) || !slices.Equal(got, s.list[len(s.list)-len(got):]) {
		violated(wrongHistory, "all history is %v, the store has %v", got, s.list)
	}
	for _, c := range s.cursors {
		s.checkCursor(c)
	}
}

func (s *session) checkCursor(c cursor) {
	suffix, refused := s.resume(c)
	if refused != "" {
		if c.store == s.store && c.kept && !s.promised.untrusted {
			violated(cursorLost, "%d of store %d (%s); the store has %v, the holder %v",
				c.version, c.store, refused, s.list, c.list)
		}
		return
	}
	if has := slices.Concat(c.list, suffix); !c.reused && !slices.Equal(has, s.list) {
		violated(cursorInvents, "%d of store %d: the holder has %v then, the store %v",
			c.version, c.store, has, s.list)
	}
}
