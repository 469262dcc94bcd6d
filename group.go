package kvstore

import (
	"kvstore/internal/codec"
	"kvstore/internal/format"
	"kvstore/internal/table"
)

// group is the commands that the writer takes together. One pwrite and one
// fsync make all of their writes durable. The writer owns it.
type group struct {
	commands []*writeCommand // in commit order
	writes   []*writeCommand // the commands to be written: all but those whose condition is not met

	// Of writes.
	bytes, ops, sets int
	version          int64 // of the last one; the others count up to it by one
}

// reset empties the group and keeps its memory.
func (g *group) reset() {
	clear(g.commands)
	clear(g.writes)
	*g = group{commands: g.commands[:0], writes: g.writes[:0]}
}

// selectWrites decides which commands are to be written.
func (g *group) selectWrites(t *table.Table) {
	g.writes = checkConditions(t, g.commands, g.writes)
	for _, c := range g.writes {
		g.bytes += len(c.list.entries)
		g.ops += c.list.count
		g.sets += c.list.sets
	}
}

// firstVersion returns the version of the first write.
func (g *group) firstVersion() int64 { return g.version - int64(len(g.writes)) + 1 }

// appendEntries appends the entries of all writes to dst, with their versions
// as timestamps. They are stamped in dst, which the processor has at hand
// anyway.
func (g *group) appendEntries(dst []byte) []byte {
	version := g.firstVersion()
	for _, c := range g.writes {
		at := len(dst)
		dst = append(dst, c.list.entries...)
		format.SetTimestamps(dst[at:], version)
		version++
	}
	return dst
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
