package kvstore

import (
	"kvstore/internal/codec"
	"kvstore/internal/format"
	"kvstore/internal/table"
)

// defaultDirectBytes is the size from which on the log takes a command's
// entries from the command's own memory. The entries of smaller commands are
// copied into the log's buffer, so that one pwrite takes many of them. A pwrite
// of this size costs much more than the call itself.
const defaultDirectBytes = 256 << 10

// group is the commands that the writer takes together. One fsync makes all of
// their writes durable, and one pwrite unless some are large. The writer owns
// it.
type group struct {
	directBytes int // immutable: see defaultDirectBytes

	commands []*writeCommand // in commit order
	writes   []*writeCommand // the commands to be written: all but those whose condition is not met
	pieces   [][]byte        // of their entries, for the log

	// Of writes.
	bytes, ops, sets int
	copied           int   // bytes that the log's buffer takes
	version          int64 // of the last one; the others count up to it by one
}

// reset empties the group and keeps its memory.
func (g *group) reset() {
	clear(g.commands)
	clear(g.writes)
	clear(g.pieces)
	*g = group{
		directBytes: g.directBytes, commands: g.commands[:0], writes: g.writes[:0], pieces: g.pieces[:0],
	}
}

// isDirect reports whether the log takes the command's entries from where they
// are.
func (g *group) isDirect(c *writeCommand) bool {
	return len(c.list.entries) >= g.directBytes
}

// selectWrites decides which commands are to be written.
func (g *group) selectWrites(t *table.Table) {
	g.writes = checkConditions(t, g.commands, g.writes)
	for _, c := range g.writes {
		g.bytes += len(c.list.entries)
		g.ops += c.list.count
		g.sets += c.list.sets
		if !g.isDirect(c) {
			g.copied += len(c.list.entries)
		}
	}
}

// firstVersion returns the version of the first write.
func (g *group) firstVersion() int64 { return g.version - int64(len(g.writes)) + 1 }

// stampDirect writes the versions into the entries that are not copied. Staging
// reads these entries, so it must begin later.
func (g *group) stampDirect() {
	if g.copied == g.bytes {
		return
	}
	version := g.firstVersion()
	for _, c := range g.writes {
		if g.isDirect(c) {
			format.SetTimestamps(c.list.entries, version)
		}
		version++
	}
}

// entries returns the entries of all writes, with their versions as timestamps,
// in pieces. It appends those of small commands to buf, which must have room,
// and stamps them there, where the processor has them at hand anyway. The last
// piece is the end of buf, and may be empty.
func (g *group) entries(buf []byte) [][]byte {
	begin, version := 0, g.firstVersion() // of the piece in buf
	for _, c := range g.writes {
		at := len(buf)
		switch {
		case !g.isDirect(c):
			buf = append(buf, c.list.entries...)
			format.SetTimestamps(buf[at:], version)
		case at > begin:
			g.pieces = append(g.pieces, buf[begin:], c.list.entries)
			begin = at
		default:
			g.pieces = append(g.pieces, c.list.entries)
		}
		version++
	}
	g.pieces = append(g.pieces, buf[begin:])
	return g.pieces
}

// appendCommits appends the group's operations to ops, and to commits one
// commit of them for each write. ops must be empty; operations point into the
// entries.
func (g *group) appendCommits(ops []table.Op, commits []table.Commit) ([]table.Op, []table.Commit) {
	for _, c := range g.writes {
		for op := range codec.Ops(c.list.entries) {
			ops = append(ops, op)
		}
	}
	first, version := 0, g.firstVersion()
	for _, c := range g.writes {
		commits = append(commits, table.Commit{Ops: ops[first : first+c.list.count], Version: version})
		first += c.list.count
		version++
	}
	return ops, commits
}

// keysAfter returns how many keys t has once the group's only write is applied.
func (g *group) keysAfter(t *table.Table) uint64 {
	present := map[string]bool{}
	keys := t.Len()
	for op := range codec.Ops(g.writes[0].list.entries) {
		was, known := present[string(op.Key)]
		if !known {
			was = t.Has(string(op.Key))
		}
		present[string(op.Key)] = !op.Delete
		switch {
		case was && op.Delete:
			keys--
		case !was && !op.Delete:
			keys++
		}
	}
	return uint64(keys)
}
