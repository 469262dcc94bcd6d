package main

import "slices"

// This file is Open. It judges the files, makes durable what it is going to
// serve, and begins a segment of its own: no session appends to a segment that
// it has found.

// open returns a session that serves what the directory holds.
func (w *world) open(syncWrites bool) (*session, error) {
	w.say("OPEN, SyncWrites %v", syncWrites)
	if w.disk.self == dirMissing {
		w.disk.self = dirUnsynced
	}
	j := w.judge()
	if !w.promised.check(j, w.rules.countsOnlyLosses) {
		w.say("refused: %s", j.refused)
		panic(pruned{})
	}
	w.promised.closed = false
	w.say("judged: groups %v of store %d, snapshot %d, %d proven", j.groups, j.store, j.snapshot, j.proven)
	if err := w.load(j); err != nil {
		return nil, err
	}
	keep := w.chooseKeep()
	if err := w.makeRoom(j, keep); err != nil {
		return nil, err
	}
	if err := w.secure(j); err != nil {
		return nil, err
	}
	f, err := w.newSegment(j.nextNumber(), j.store)
	if err != nil {
		return nil, err
	}
	s := newSession(w, j, f, syncWrites)
	s.keep = keep
	if err := s.retain(j.snapshot); err != nil {
		return nil, err
	}
	if err := s.syncHistory(j.snapshot); err != nil {
		return nil, err
	}
	w.step()
	s.serve()
	return s, nil
}

// load reads the groups again that are too large to be kept in memory, and
// applies them. The kernel may have dropped pages since they were judged. Then
// the second reading finds what the disk has, and Open fails.
func (w *world) load(j *judgement) error {
	w.mayEvict()
	if w.rules.servesUncompared {
		j.groups = j.groups[:len(j.groups)-j.replayed()]
		for i := range j.segments {
			found, _ := scan(w.disk.names.file(segmentName(j.segments[i].number)).cache)
			j.groups = append(j.groups, ids(found)...)
		}
		return nil
	}
	for i := range j.segments {
		if !w.isAsJudged(&j.segments[i]) {
			return errChanged
		}
	}
	return nil
}

// isAsJudged reads a segment again, and reports whether it is the same.
func (w *world) isAsJudged(s *judgedSegment) bool {
	f := w.disk.names.file(segmentName(s.number))
	same := slices.Equal(f.cache[:len(s.pieces)], s.pieces)
	if !same {
		w.say("a second reading of %v finds %v, not %v", f, f.cache, s.pieces)
	}
	return same
}

// mayEvict lets clean pages be dropped while Open reads.
func (w *world) mayEvict() {
	if w.happens(&w.left.evictions, 4) {
		w.evict()
	}
}

// makeRoom removes what the snapshot that was loaded covers, before Open needs
// space for anything. The snapshot must be durable first, and so must its name:
// a crash may have come between its rename and the removal.
func (w *world) makeRoom(j *judgement, keep int) error {
	s := &session{world: w, store: j.store, keep: keep}
	if !s.covers(j.snapshot) {
		return nil
	}
	if !w.rules.makesRoomEarly {
		if err := w.disk.sync(w.disk.names.file(snapshotName(j.snapshot))); err != nil {
			return err
		}
		w.relink()
		if err := w.disk.syncDir(); err != nil {
			return err
		}
	}
	return s.retain(j.snapshot)
}

// secure makes durable what was judged.
func (w *world) secure(j *judgement) error {
	if j.fresh {
		w.storeIDs++
		j.store = w.storeIDs
		if !w.rules.parentUnsynced {
			w.step()
			w.disk.self = dirPresent
		}
		return nil
	}
	compacts := j.last > j.covered && w.happens(&w.left.compactions, 2)
	if !compacts || !w.rules.compactsUnrepaired {
		if err := w.repair(j); err != nil {
			return err
		}
	}
	if compacts {
		return w.compact(j)
	}
	return nil
}

// repair replaces the segments that may be in the cache alone, and syncs the
// files that it does not replace, and the directory.
func (w *world) repair(j *judgement) error {
	w.mayEvict()
	w.dropLaterSegments(j)
	if err := w.repairSegments(j); err != nil {
		return err
	}
	if j.snapshot > 0 && !w.rules.loadedUnsynced {
		if err := w.disk.sync(w.disk.names.file(snapshotName(j.snapshot))); err != nil {
			return err
		}
	}
	w.relink()
	if w.rules.namesUnsynced {
		return nil
	}
	return w.disk.syncDir()
}

// relink writes all names again, if the rules say so.
func (w *world) relink() {
	if w.rules.relinks {
		for _, f := range w.disk.names {
			w.disk.pending = append(w.disk.pending, change{f.name, f})
		}
	}
}

// dropLaterSegments removes what follows a segment that counts as the last one
// because it has no END. The protocol refuses such a directory.
func (w *world) dropLaterSegments(j *judgement) {
	last := j.lastSegment()
	for _, f := range slices.Clone(w.disk.names) {
		if last != nil && !f.name.snapshot && f.name.number > last.number {
			w.disk.remove(f.name)
		}
	}
}

func (w *world) repairSegments(j *judgement) error {
	if w.rules.rewritesInPlace {
		return w.rewriteInPlace(j)
	}
	for i := range j.segments[j.unproven:] {
		if err := w.replaceSegment(j, &j.segments[j.unproven+i]); err != nil {
			return err
		}
	}
	if w.rules.loadedUnsynced {
		return nil
	}
	return w.syncSegments(j.segments[:j.unproven])
}

// replaceSegment makes a new file from the pieces that were judged, and Open
// fails if a second reading finds others. An fsync of the old file would not
// do: after an earlier one has failed, its pages are clean, and the disk does
// not have them. A last segment without a group is left alone, because the
// session's own segment replaces it.
func (w *world) replaceSegment(j *judgement, s *judgedSegment) error {
	old := w.disk.names.file(segmentName(s.number))
	isLast := s == j.lastSegment()
	switch {
	case isLast && j.unused:
		return nil
	case isLast && w.rules.trustsEnd && s.ended && w.rules.witness(s.end) == j.last:
		return w.disk.sync(old)
	}
	w.mayEvict()
	f := newFile(old.name, w.left.segmentPieces)
	for at, p := range old.cache[:len(s.pieces)] {
		w.disk.write(f, at, p)
	}
	if !w.rules.copiesUncompared && !w.isAsJudged(s) {
		return errChanged
	}
	if !s.ended {
		w.disk.write(f, len(s.pieces), j.end())
	}
	if err := w.disk.sync(f); err != nil {
		return err
	}
	w.disk.rename(f)
	return nil
}

func (w *world) syncSegments(segments []judgedSegment) error {
	for _, s := range segments {
		if err := w.disk.sync(w.disk.names.file(segmentName(s.number))); err != nil {
			return err
		}
	}
	return nil
}

// compact replaces a log that is too long by a snapshot of what Open has judged
// and made durable. It gets the number of the session's own segment, which gets
// its name later. When that has happened, what the snapshot covers is removed.
func (w *world) compact(j *judgement) error {
	number := j.nextNumber()
	if w.rules.compactsOverLog {
		number = j.lastSegment().number
	}
	w.say("compact")
	f := w.newSnapshot(number, state{last: j.last, store: j.store, version: j.lastVersion(), groups: j.groups})
	if err := w.disk.sync(f); err != nil {
		return err
	}
	w.disk.rename(f)
	if w.rules.compactRemovesEarly {
		w.removeAllBelow(number)
	}
	if err := w.disk.syncDir(); err != nil {
		return err
	}
	j.snapshot, j.covered = number, j.last
	return nil
}

// removeAllBelow removes what a snapshot covers whose name is not durable yet.
func (w *world) removeAllBelow(number int) {
	for _, f := range slices.Clone(w.disk.names) {
		if f.name.number < number {
			w.disk.remove(f.name)
		}
	}
}
