package main

import "slices"

// state is the content of a snapshot.
type state struct {
	last    int       // number of the last group that it covers
	store   int       // store id
	version int       // of the last commit
	groups  []groupID // the groups that led to what it holds
}

// newSnapshot returns a snapshot file, which is neither synced nor named.
func (w *world) newSnapshot(number int, s state) *file {
	id := uint8(len(w.states))
	s.groups = slices.Clone(s.groups)
	w.states = append(w.states, s)
	f := newFile(snapshotName(number), 2)
	w.disk.write(f, 0, piece{kind: pairs, id: id, number: uint8(number)})
	w.disk.write(f, 1, piece{kind: footer, id: id, number: uint8(number)})
	return f
}

// newestSnapshot returns the newest snapshot's number and state. Without a
// snapshot both are zero, which is the state before the first group.
func (w *world) newestSnapshot() (number int, s state) {
	for _, f := range w.disk.names {
		if f.name.snapshot {
			number, s = f.name.number, w.states[f.cache[0].id]
		}
	}
	return number, s
}

// snapshot is one that is written while the store serves.
type snapshot struct {
	file   *file
	number int
	covers int // last group
	step   int // which comes next
}

// state returns what a snapshot of this moment holds.
func (s *session) state() state {
	return state{last: s.written, store: s.store, version: s.lastVersion, groups: s.list}
}

// beginSnapshot goes on to a segment that the snapshot does not cover, and
// notes the state.
func (s *session) beginSnapshot() error {
	if s.written == s.covered {
		return nil
	}
	if !s.empty {
		if err := s.rotate(); err != nil {
			return err
		}
	}
	s.job = &snapshot{file: s.newSnapshot(s.segment, s.state()), number: s.segment, covers: s.written}
	return nil
}

// continueSnapshot makes the next step of a snapshot. Between two steps the
// writer goes on. An error ends the snapshot and not the session.
func (s *session) continueSnapshot() {
	job := s.job
	var err error
	switch job.step {
	case 0:
		if !s.rules.snapshotUnsynced {
			err = s.disk.sync(job.file)
		}
	case 1:
		s.disk.rename(job.file)
	case 2:
		if !s.rules.snapshotRemovesEarly {
			err = s.disk.syncDir()
		}
	case 3:
		if err = s.retain(job.number); err == nil {
			s.covered = job.covers
			s.say("snapshot-%d is done", job.number)
			s.checkHistory()
		}
	}
	if job.step++; err != nil || job.step == 4 {
		s.job = nil
	}
}

// finishSnapshot waits for the snapshot that is being written.
func (s *session) finishSnapshot() {
	for s.job != nil && (!s.failed || !s.rules.snapshotStops) {
		s.continueSnapshot()
	}
}
