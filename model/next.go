package main

// This file is the design of what comes besides history: a Close that keeps the
// log, and Replace.

// closeKeepingLog leaves the log, durable. All of it is synced before the END
// whose D vouches for it, so nothing is ambiguous after Close. A session that
// has written nothing leaves its empty segment, whose name vouches for the
// segments before it.
func (s *session) closeKeepingLog() error {
	s.say("CLOSE, keeping the log")
	s.finishSnapshot()
	s.checkHistory()
	switch {
	case s.written == s.covered, s.empty && s.rules.logCloseRemovesEmpty:
		s.disk.remove(s.file.name)
		return s.disk.syncDir()
	case s.empty:
		return nil
	case s.ended: // by a Replace that has failed; its D may not vouch for all
		return s.rotate()
	case s.rules.logCloseWithoutEnd:
		return s.sync()
	}
	return s.end(!s.rules.logCloseEndLags)
}

// replace changes the whole content, under a new store id. The rename of a
// snapshot decides. Its number is above that of every segment, so the old log
// and the new one never count together.
func (s *session) replace() error {
	s.say("REPLACE")
	content := []groupID{s.newGroupID()}
	store, number, version := s.store, s.segment+1, s.version()
	if !s.rules.replaceKeepsStore {
		s.storeIDs++
		store = s.storeIDs
	}
	if s.rules.replaceReusesNumber && s.empty {
		number = s.segment
	}
	if err := s.finishOldLog(); err != nil {
		return err
	}
	if s.rules.replaceNamesSegmentFirst {
		number = s.segment
	}
	f := s.newSnapshot(number, state{last: s.written, store: store, version: version, groups: content})
	if !s.rules.replaceUnsynced && s.disk.sync(f) != nil {
		return nil // nothing has changed, and the store goes on
	}
	s.promised.replacing = content
	s.disk.rename(f)
	if s.rules.replaceRemovesEarly {
		s.removeAllBelow(number)
	}
	if err := s.disk.syncDir(); err != nil {
		if s.rules.replaceGoesOn {
			s.promised.replacing = nil // the caller is told that nothing has changed
			return nil
		}
		return err
	}
	return s.switchTo(number, store, version, content)
}

// finishOldLog may end the log that Replace is going to drop; it need not.
func (s *session) finishOldLog() error {
	switch {
	case s.empty:
		return nil
	case s.rules.replaceNamesSegmentFirst:
		return s.rotate()
	case s.flip():
		return s.finishSegment()
	}
	return nil
}

// switchTo goes on with the content that Replace has made durable.
func (s *session) switchTo(number, store, version int, content []groupID) error {
	s.promised.begin(content)
	s.say("the content is %v, store %d, version %d", content, store, version)
	if !s.rules.replaceNamesSegmentFirst {
		f, err := s.newSegment(number, store)
		if err != nil {
			return err
		}
		s.goOn(f)
	}
	s.store, s.list, s.versions, s.lastVersion = store, content, []int{version}, version
	s.covered = s.written
	s.setDurable()
	for i, c := range s.cursors {
		s.cursors[i].kept = c.kept && c.store == store
	}
	var keep []int
	if s.rules.replaceKeepsHistory {
		keep = s.historyToKeep(number, true)
	}
	if err := s.removeBelow(number, keep); err != nil {
		return err
	}
	s.checkHistory()
	s.handOutCursor()
	return nil
}
