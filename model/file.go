package main

import (
	"cmp"
	"fmt"
	"slices"
)

// kind is what a piece holds.
type kind uint8

const (
	zeros   kind = iota // no entry
	entries             // SET and DELETE entries of a group
	commit              // the COMMIT of a group
	end                 // END
	segment             // SEGMENT
	pairs               // a snapshot up to its trailer
	footer              // trailer and footer of a snapshot
	garbage             // what damage leaves
)

// A piece is the unit that reaches the disk whole or not at all. Checksums are
// perfect in the model: a piece that differs from what was written in its place
// is recognized.
type piece struct {
	kind    kind
	id      uint8 // entries, commit: the group; segment: the store; pairs, footer: the state
	index   uint8 // entries: place in the group; commit: number of pieces before it
	number  uint8 // commit: of the group; end: of the last group; others: as in the file's name
	durable uint8 // commit, end: D, the highest group known to be durable
	version uint8 // commit: of the group
	forged  bool  // entries: a value has the bytes of an END
}

func (p piece) String() string {
	switch p.kind {
	case zeros:
		return "0"
	case entries:
		return fmt.Sprintf("%v%d", groupID(p.id), p.index)
	case commit:
		return fmt.Sprintf("COMMIT(%v #%d v%d D%d)", groupID(p.id), p.number, p.version, p.durable)
	case end:
		return fmt.Sprintf("END(#%d D%d)", p.number, p.durable)
	case segment:
		return fmt.Sprintf("SEGMENT(%d store %d)", p.number, p.id)
	case pairs:
		return "pairs"
	case footer:
		return "footer"
	case garbage:
		return "garbage"
	}
	return "?"
}

// groupID tells one group from all others that a run writes. The number of a
// group does not: after a power cut another group may get it.
type groupID uint8

func (g groupID) String() string { return string(rune('a' + g)) }

// name is the name of a file in the data directory.
type name struct {
	snapshot bool
	number   int
}

func segmentName(number int) name  { return name{number: number} }
func snapshotName(number int) name { return name{snapshot: true, number: number} }

func (n name) String() string {
	if n.snapshot {
		return fmt.Sprintf("snapshot-%d", n.number)
	}
	return fmt.Sprintf("wal-%d", n.number)
}

// compare orders segments before snapshots, and both by number.
func (n name) compare(m name) int {
	return cmp.Or(cmp.Compare(bit(n.snapshot), bit(m.snapshot)), cmp.Compare(n.number, m.number))
}

// file is a file of fixed length. It is made under a temporary name, and may
// get its own name once.
type file struct {
	name      name
	temporary bool
	disk      []piece   // what the disk holds
	cache     []piece   // what every process reads
	dirty     [][]piece // for each piece, what was written to it since it was clean last
	lost      []bool    // for each piece, its block has lost a write
}

func newFile(n name, pieces int) *file {
	return &file{
		name: n, temporary: true,
		disk: make([]piece, pieces), cache: make([]piece, pieces),
		dirty: make([][]piece, pieces), lost: make([]bool, pieces),
	}
}

func (f *file) String() string {
	if f.temporary {
		return f.name.String() + ".tmp"
	}
	return f.name.String()
}

func (f *file) set(at int, p piece) {
	f.cache[at] = p
	f.dirty[at] = append(f.dirty[at], p)
}

func (f *file) isDirty() bool {
	return slices.ContainsFunc(f.dirty, func(writes []piece) bool { return len(writes) > 0 })
}

// directory is a set of files that have their names, in the order of the names.
type directory []*file

func (d directory) find(n name) (int, bool) {
	return slices.BinarySearchFunc(d, n, func(f *file, n name) int { return f.name.compare(n) })
}

// file returns the file with a name, nil if there is none.
func (d directory) file(n name) *file {
	if i, ok := d.find(n); ok {
		return d[i]
	}
	return nil
}

// change gives a name to a file, or takes the name away if file is nil.
type change struct {
	name name
	file *file
}

func (d *directory) apply(c change) {
	i, ok := d.find(c.name)
	switch {
	case c.file == nil && ok:
		*d = slices.Delete(*d, i, i+1)
	case c.file != nil && ok:
		(*d)[i] = c.file
	case c.file != nil:
		*d = slices.Insert(*d, i, c.file)
	}
}
