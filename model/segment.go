package main

// group is a whole group that was found in a segment.
type group struct {
	id      groupID
	number  int
	version int
	durable int // D
	at      int // its first piece
	pieces  int
}

// groupAt returns the length of the group that begins in a place of a segment,
// 0 if there is no whole group.
func groupAt(pieces []piece, at int) int {
	for i := at; i < len(pieces) && pieces[i].id == pieces[at].id && int(pieces[i].index) == i-at; i++ {
		switch {
		case pieces[i].kind == commit && i > at:
			return i - at + 1
		case pieces[i].kind != entries:
			return 0
		}
	}
	return 0
}

// scan returns the groups of a segment that follow each other, and the place
// where no other one follows.
func scan(pieces []piece) (groups []group, at int) {
	for at = 1; at < len(pieces); {
		n := groupAt(pieces, at)
		if n == 0 {
			break
		}
		c := pieces[at+n-1]
		groups = append(groups, group{groupID(c.id), int(c.number), int(c.version), int(c.durable), at, n})
		at += n
	}
	return groups, at
}

func ids(groups []group) (ids []groupID) {
	for _, g := range groups {
		ids = append(ids, g.id)
	}
	return ids
}

// newSegment makes a segment. It gets its name when its SEGMENT entry is
// durable, and the name is durable as well when newSegment returns.
func (w *world) newSegment(number, store int) (*file, error) {
	f := newFile(segmentName(number), w.left.segmentPieces)
	w.disk.write(f, 0, piece{kind: segment, number: uint8(number), id: uint8(store)})
	return f, w.publish(f, w.rules.segmentUnsynced)
}

// publish makes a file durable, and then its name.
func (w *world) publish(f *file, unsynced bool) error {
	if !unsynced {
		if err := w.disk.sync(f); err != nil {
			return err
		}
	}
	w.disk.rename(f)
	return w.disk.syncDir()
}
