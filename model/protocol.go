package main

import "slices"

// This file is the writer: what a session does between Open and Close. The
// methods are straight code, and the process may die in each of their steps.
// The steps keep these invariants:
//
//   - D in a COMMIT or END is the number of a group whose write had returned
//     before an fsync began that succeeded.
//   - A segment has its name only if the END of the segment before is durable.
//   - After a failed fsync, nothing is written to the log any more.
//   - A file is removed only if the file that replaces it is durable, and the
//     name of that file as well.

// session is a store between Open and Close. A method that returns an error has
// met a failed fsync, which ends the session.
type session struct {
	*world
	syncWrites bool
	store      int // store id
	keep       int // KeepLogBytes, in segments

	segment int   // number
	file    *file // of the segment
	offset  int   // of the next group
	ended   bool  // the segment has its END
	empty   bool  // the segment has no group
	failed  bool  // an fsync has failed: the log may have more than readers see

	written     int       // number of the last group
	durable     int       // highest group known to be durable
	list        []groupID // what readers see, as the groups that led to it
	versions    []int     // of list; 0 where a snapshot covers the group
	durableLen  int       // how much of list is known to be durable
	lastVersion int
	covered     int       // last group that the newest snapshot covers
	job         *snapshot // which is being written, nil if there is none
}

// newSession returns a session for what was judged, all of which is durable.
func newSession(w *world, j *judgement, f *file, syncWrites bool) *session {
	s := &session{
		world: w, syncWrites: syncWrites, store: j.store,
		segment: j.nextNumber(), file: f, offset: 1, empty: true,
		written: j.last, list: slices.Clone(j.groups),
		versions: slices.Clone(j.versions), lastVersion: j.lastVersion(), covered: j.covered,
	}
	s.setDurable()
	return s
}

// chooseKeep chooses the KeepLogBytes of a session.
func (w *world) chooseKeep() int {
	if keep := w.left.keep; len(keep) > 0 {
		return keep[w.choose(len(keep))]
	}
	return 0
}

// setDurable notes that everything that was written is durable.
func (s *session) setDurable() { s.durable, s.durableLen = s.written, len(s.list) }

// serve begins the session: from now on, readers see what was judged.
func (s *session) serve() {
	if s.promised.damaged {
		s.forgetLostCursors()
	}
	s.promised.begin(s.list)
	s.say("serves %v, writes to wal-%d, keeps %d segments", s.list, s.segment, s.keep)
	s.checkDisk(s.list)
	s.checkHistory()
	s.handOutCursor()
}

// action is something that a session may do next.
type action int

const (
	closing action = iota
	closingKeepsLog
	writing
	flushing
	rotating
	snapshotBegins
	snapshotContinues
	replacing
	dying
)

func (s *session) possible() []action {
	actions := make([]action, 0, 12)
	add := func(a action, isPossible bool) {
		if isPossible {
			actions = append(actions, a)
		}
	}
	add(closing, true)
	add(closingKeepsLog, s.left.logCloses > 0)
	add(writing, s.left.groups > 0)
	add(flushing, !s.syncWrites && s.left.flushes > 0 && s.durable < s.written)
	add(rotating, s.left.rotations > 0 && !s.empty)
	add(snapshotBegins, s.left.snapshots > 0 && s.job == nil)
	add(snapshotContinues, s.job != nil)
	add(replacing, s.left.replaces > 0 && s.job == nil)
	add(dying, s.left.crashes > 0)
	if s.walks && s.left.groups > 0 { // a random run should write more often than it closes
		actions = append(actions, writing, writing, writing)
	}
	return actions
}

// run carries out actions until one of them ends the session.
func (s *session) run() {
	for {
		s.visit(inSession, s)
		actions := s.possible()
		a := actions[s.choose(len(actions))]
		err := s.do(a)
		switch {
		case a == dying:
			return
		case err != nil:
			s.say("the store has failed")
			s.failed = true
			s.finishSnapshot() // Close waits for it
			return
		case a == closing || a == closingKeepsLog:
			s.say("closed")
			s.promised.closed = true
			s.checkDisk(s.list)
			return
		}
	}
}

func (s *session) do(a action) error {
	switch a {
	case closing:
		return s.close()
	case closingKeepsLog:
		s.left.logCloses--
		return s.closeKeepingLog()
	case writing:
		return s.write()
	case flushing:
		s.left.flushes--
		return s.flush()
	case rotating:
		s.left.rotations--
		return s.rotate()
	case snapshotBegins:
		s.left.snapshots--
		return s.beginSnapshot()
	case snapshotContinues:
		s.continueSnapshot()
	case replacing:
		s.left.replaces--
		return s.replace()
	case dying:
		s.left.crashes--
		s.say("*** the process dies")
	}
	return nil
}

// write brings a group to the log, and answers its callers.
func (s *session) write() error {
	pieces := 1 + s.choose(s.left.groupPieces)
	if s.ended && !s.rules.writesBehindEnd || !s.fits(pieces) {
		if err := s.rotate(); err != nil {
			return err
		}
	}
	rides := !s.rules.endNeverRides && s.happens(&s.left.rotations, 2)
	g := s.append(pieces, rides)
	if s.rules.answersEarly {
		s.promised.allDurable()
		s.step()
	}
	if s.syncWrites {
		if err := s.sync(); err != nil {
			return err
		}
	}
	s.answer(g)
	if rides {
		return s.rotate()
	}
	return nil
}

// fits reports whether a group leaves room for END.
func (s *session) fits(pieces int) bool { return s.offset+pieces+2 <= len(s.file.cache) }

// append writes a group, and END in the same write if it rides along.
func (s *session) append(pieces int, rides bool) groupID {
	s.left.groups--
	g := s.newGroupID()
	durable := s.durable
	if s.rules.commitVouchesForWritten {
		durable = s.written
	}
	s.lastVersion = s.version()
	s.noteVersion(s.lastVersion)
	forged := s.happens(&s.left.forgeries, 2)
	s.promised.groups = append(s.promised.groups, g)
	for i := range pieces {
		s.put(piece{kind: entries, id: uint8(g), index: uint8(i), forged: forged})
	}
	s.written++
	s.put(piece{
		kind: commit, id: uint8(g), index: uint8(pieces),
		number: uint8(s.written), durable: uint8(durable), version: uint8(s.lastVersion),
	})
	s.empty = false
	if rides {
		s.putEnd()
	}
	return g
}

// put writes a piece behind the others of the segment.
func (s *session) put(p piece) {
	s.disk.write(s.file, s.offset, p)
	s.offset++
}

func (s *session) putEnd() {
	s.put(piece{kind: end, number: uint8(s.written), durable: uint8(s.durable)})
	s.ended = true
}

// sync is fsync of the segment.
func (s *session) sync() error {
	err := s.disk.sync(s.file)
	if err != nil && s.rules.retriesSync {
		err = s.disk.sync(s.file)
	}
	if err != nil {
		return err
	}
	s.setDurable()
	s.promised.allDurable()
	return nil
}

// answer shows a group to readers, and acknowledges it to its callers.
func (s *session) answer(g groupID) {
	s.promised.kept = len(s.promised.groups)
	s.list = append(s.list, g)
	s.versions = append(s.versions, s.lastVersion)
	if s.syncWrites {
		s.setDurable()
	}
	s.say("group %v is answered: #%d, version %d", g, s.written, s.lastVersion)
	s.step()
	s.handOutCursor()
}

// version returns the version of the next commit: the time, or one more than
// the last version if the clock has not moved on.
func (s *session) version() int {
	v := s.lastVersion + 1
	if s.happens(&s.left.clockSteps, 3) {
		return v
	}
	v = max(s.clock, v)
	s.clock = v + 2
	return v
}

// flush is the background fsync of a store without SyncWrites.
func (s *session) flush() error {
	durable, durableLen := s.durable, s.durableLen
	if err := s.sync(); err != nil {
		// The writer may append a group before it learns of the error.
		if s.left.groups > 0 && s.fits(1) && !s.ended && s.flip() {
			s.append(1, false)
			s.promised.kept = len(s.promised.groups)
		}
		return err
	}
	if s.flip() { // the writer has not taken in the result yet
		s.durable, s.durableLen = durable, durableLen
		return nil
	}
	s.handOutCursor()
	return nil
}

// rotate goes on to the next segment.
func (s *session) rotate() error {
	if s.rules.nextNamedEarly {
		f, err := s.newSegment(s.segment+1, s.store)
		if err != nil {
			return err
		}
		if err := s.finishSegment(); err != nil {
			return err
		}
		s.goOn(f)
		return nil
	}
	if err := s.finishSegment(); err != nil {
		return err
	}
	f, err := s.newSegment(s.segment+1, s.store)
	if err != nil {
		return err
	}
	s.goOn(f)
	return nil
}

// finishSegment makes the segment durable, with its END.
func (s *session) finishSegment() error {
	switch {
	case !s.ended:
		return s.end(false)
	case s.durable < s.written: // END came with a group that nobody waited for
		return s.sync()
	}
	return nil
}

func (s *session) end(syncFirst bool) error {
	if (syncFirst || s.rules.endAfterSync) && s.durable < s.written {
		if err := s.sync(); err != nil {
			return err
		}
	}
	s.putEnd()
	return s.sync()
}

func (s *session) goOn(f *file) {
	s.segment, s.file, s.offset = f.name.number, f, 1
	s.ended, s.empty = false, true
}

// close leaves a snapshot of everything, and no segment. The snapshot gets the
// number of an empty segment; any other segment gets its END first.
func (s *session) close() error {
	s.say("CLOSE")
	s.finishSnapshot()
	s.checkHistory()
	if s.written == s.covered {
		s.disk.remove(s.file.name)
		return s.disk.syncDir()
	}
	number, gone := s.segment, []name{s.file.name}
	if !s.empty {
		if err := s.finishSegment(); err != nil {
			return err
		}
		number, gone = number+1, nil
	}
	f := s.newSnapshot(number, s.state())
	if err := s.publish(f, s.rules.snapshotUnsynced); err != nil {
		return err
	}
	s.promised.allDurable()
	return s.retain(number, gone...)
}

func (s *session) appendKey(b []byte) []byte {
	b = append(b,
		byte(s.segment), byte(s.offset), byte(s.written), byte(s.durable), byte(s.durableLen),
		byte(s.lastVersion), byte(s.covered), byte(s.store), byte(s.keep),
		bit(s.syncWrites), bit(s.ended), bit(s.empty), bit(s.failed))
	b = appendGroups(b, s.list)
	for _, v := range s.versions {
		b = append(b, byte(v))
	}
	if s.job != nil {
		b = append(b, byte(s.job.number), byte(s.job.covers), byte(s.job.step))
		b = appendPieces(b, s.job.file.cache...)
	}
	return b
}
