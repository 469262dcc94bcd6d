package main

// world is everything in one run: the disk, what the store has promised, and
// what only an observer of the whole run can know.
type world struct {
	*adversary
	disk     disk
	promised promises
	visit    func(tag byte, s *session) // ends the run if the state was seen before

	states   []state  // that snapshots hold, by the id in their pieces
	cursors  []cursor // that were handed out
	groupIDs groupID  // given so far
	storeIDs int      // given so far
	clock    int
}

func newWorld(a *adversary) *world {
	return &world{adversary: a, disk: disk{adversary: a}, clock: 1}
}

func (w *world) newGroupID() groupID {
	w.groupIDs++
	return w.groupIDs - 1
}

// Tags of the places where a run asks whether its state was seen before.
const (
	inSession byte = iota
	afterSession
	afterPowerCut
	beforeLastOpens
	afterLastOpen
)

// run is one history: sessions with misfortunes between them, then Opens up to
// one without a fault. What that one serves must survive a power cut.
func (w *world) run() {
	for w.left.sessions > 0 {
		w.left.sessions--
		w.session()
		w.visit(afterSession, nil)
		w.misfortune()
	}
	w.visit(beforeLastOpens, nil)
	w.left.groups, w.left.rotations, w.left.snapshots, w.left.compactions = 0, 0, 0, 0
	for round := range byte(2) {
		if w.left.crashes == 0 && w.left.syncFailures == 0 && w.left.evictions == 0 {
			break
		}
		w.untilCrash(func() { _, _ = w.open(true) })
		w.visit(afterLastOpen+2*round, nil)
		if w.isPowerCut() {
			w.powerCut()
			w.visit(afterLastOpen+2*round+1, nil)
		}
	}
	w.left.crashes, w.left.syncFailures, w.left.evictions = 0, 0, 0
	if _, err := w.open(true); err == nil {
		w.powerCut()
		_, _ = w.open(true)
	}
}

// session is an Open and what follows, up to a Close, an error or a crash.
func (w *world) session() {
	w.untilCrash(func() {
		s, err := w.open(w.flip())
		if err != nil {
			w.say("Open returns an error")
			return
		}
		s.run()
	})
}

// untilCrash calls f, which the death of the process may end.
func (w *world) untilCrash(f func()) {
	defer func() {
		switch r := recover().(type) {
		case nil, crash:
		default:
			panic(r)
		}
	}()
	f()
}

// misfortune is what may happen to files that no process has open.
func (w *world) misfortune() {
	if w.happens(&w.left.lostWrites, 4) {
		w.disk.loseWrites()
	}
	if w.isPowerCut() {
		w.powerCut()
		w.visit(afterPowerCut, nil)
	} else if w.happens(&w.left.evictions, 3) {
		w.evict()
	}
	if w.left.sessions == 0 && w.happens(&w.left.damages, 2) {
		w.damage()
	}
	if w.happens(&w.left.copies, 3) {
		w.copyFiles()
	}
}

// isPowerCut reports whether the power is cut. It is not while the directory is
// a copy that was not synced: nothing promises that the copy survives.
func (w *world) isPowerCut() bool {
	return !w.promised.copied && w.happens(&w.left.powerCuts, 2)
}

func (w *world) powerCut() {
	w.disk.powerCut()
	w.promised.kept = w.promised.durable
}

func (w *world) evict() {
	if w.disk.evict() {
		w.promised.kept = w.promised.durable
	}
}

// copyFiles restores the directory from a copy. What proves groups durable was
// true of the original, so kvstore cannot know what an error takes from a copy
// that was not synced: no errors follow.
func (w *world) copyFiles() {
	w.disk.copyFiles()
	w.promised.copied = true
	w.left.syncFailures, w.left.lostWrites = 0, 0
}

// appendKey appends what distinguishes this world, and a session in it, from
// others.
func (w *world) appendKey(b []byte, s *session) []byte {
	b = w.disk.appendKey(b)
	b = w.promised.appendKey(b)
	b = w.left.appendKey(b)
	b = append(b, byte(w.groupIDs), byte(w.storeIDs), byte(w.clock), byte(len(w.states)))
	for _, s := range w.states {
		b = append(b, byte(s.last), byte(s.store), byte(s.version))
		b = appendGroups(b, s.groups)
	}
	for _, c := range w.cursors {
		b = c.appendKey(b)
	}
	if s != nil {
		b = s.appendKey(b)
	}
	return b
}

func appendGroups(b []byte, groups []groupID) []byte {
	b = append(b, byte(len(groups)))
	for _, g := range groups {
		b = append(b, byte(g))
	}
	return b
}
