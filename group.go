package kvstore

import (
	"fmt"
	"math"
	"slices"
	"time"

	"kvstore/internal/codec"
	"kvstore/internal/format"
	"kvstore/internal/table"
)

// maxGroupBytes ends a group. Beyond a few MiB, a longer one makes callers wait
// and saves nothing, because the time goes to the disk's bandwidth and not to
// its latency. A single command may exceed it.
const maxGroupBytes = 4 << 20

// maxVersion is above all versions that SetVersion may ask for.
const maxVersion = 1 << 62

// defaultDirectBytes is the size from which on the log takes a command's
// entries from the command's own memory. The entries of smaller commands are
// copied into the log's buffer, so that one pwrite takes many of them. A pwrite
// of this size costs much more than the call itself.
const defaultDirectBytes = 256 << 10

// group is the commands that the writer takes together. One fsync makes all of
// their writes durable, and one pwrite unless some are large. The writer owns
// it.
type group struct {
	commands []*writeCommand // in commit order
	writes   []*writeCommand // the commands that write something
	ahead    ahead           // what the next command meets
	pieces   [][]byte        // of the writes' entries, for the log

	wall        func() time.Time // immutable: for versions
	maxKeys     uint64           // immutable: see environment
	directBytes int              // immutable: see defaultDirectBytes

	now     int64 // wall time when the group began
	room    int   // new keys that are possible whatever else the group does
	failure error // of the log; nothing is decided then

	// Of writes.
	bytes, ops, sets int
	touches, expired int
	decided          bool  // a condition, a transaction or a function writes something
	copied           int   // bytes that the log's buffer takes
	version          int64 // of the last one, or of the commit before the group
}

// begin begins a group behind the commit with this version.
func (g *group) begin(t *table.Table, version int64, failure error) {
	g.ahead.begin(t)
	g.now, g.version, g.failure = g.wall().UnixNano(), version, failure
	g.room = int(min(g.maxKeys-min(uint64(t.Size()), g.maxKeys), math.MaxInt))
}

// isFull reports whether no more commands are to be taken. The number of those
// that write little or nothing is bounded by the mailbox, which does not have
// their bytes back yet.
func (g *group) isFull() bool { return g.bytes >= maxGroupBytes }

// take decides what a command writes, as if all commands ahead were applied.
func (g *group) take(c *writeCommand) {
	g.commands = append(g.commands, c)
	if g.failure != nil {
		return
	}
	if c.decide != nil {
		g.ahead.track(g.writes)
		g.ahead.stop()
		write, err := c.decide(&g.ahead)
		if c.err = err; err != nil || !write {
			return
		}
	}
	if c.err = g.accept(c); c.err == nil {
		g.writes = append(g.writes, c)
	}
}

// accept gives a write its version, and counts it. An error is the command's
// own, and moves nothing.
func (g *group) accept(c *writeCommand) error {
	version := max(g.now, g.version+1)
	if c.isBound {
		if version = c.wanted; version <= g.version || version >= maxVersion {
			return fmt.Errorf("%w: %d, after %d", ErrVersionOrder, version, g.version)
		}
	}
	if err := g.checkRoom(c); err != nil {
		return err
	}
	c.version, g.version = version, version
	g.bytes += len(c.list.entries)
	g.ops += c.list.count
	g.sets += c.list.sets
	g.touches += c.list.touches
	g.decided = g.decided || c.decide != nil
	g.expired += c.list.expired
	if !g.isDirect(c) {
		g.copied += len(c.list.entries)
	}
	return nil
}

// checkRoom refuses a command that would leave more than maxKeys keys. Near the
// limit it counts them one by one.
func (g *group) checkRoom(c *writeCommand) error {
	if g.sets+c.list.sets <= g.room {
		return nil
	}
	g.ahead.track(g.writes)
	if keys := uint64(g.ahead.keysAfter(codec.Ops(c.list.entries))); keys > g.maxKeys {
		return fmt.Errorf("%w: %d with this write, limit %d", ErrStoreFull, keys, g.maxKeys)
	}
	return nil
}

// fail makes err the answer of every command.
func (g *group) fail(err error) {
	for _, c := range g.commands {
		c.err, c.version = err, 0
	}
}

// leaveOutFirst takes back the first write, before the log has any. What the
// others write does not depend on it, and their versions may leave a gap.
func (g *group) leaveOutFirst() {
	c := g.writes[0]
	g.writes = slices.Delete(g.writes, 0, 1)
	g.bytes -= len(c.list.entries)
	g.ops -= c.list.count
	g.sets -= c.list.sets
	g.touches -= c.list.touches
	g.expired -= c.list.expired
	if !g.isDirect(c) {
		g.copied -= len(c.list.entries)
	}
}

// onlyDeletes reports whether the writes take no more memory.
func (g *group) onlyDeletes() bool { return g.sets+g.touches == 0 }

// reset empties the group and keeps its memory.
func (g *group) reset() {
	clear(g.commands)
	clear(g.writes)
	clear(g.pieces)
	g.ahead.end()
	*g = group{
		commands: g.commands[:0], writes: g.writes[:0], pieces: g.pieces[:0], ahead: g.ahead,
		wall: g.wall, maxKeys: g.maxKeys, directBytes: g.directBytes,
	}
}

// isDirect reports whether the log takes the command's entries from where they
// are.
func (g *group) isDirect(c *writeCommand) bool {
	return len(c.list.entries) >= g.directBytes
}

// stampDirect writes the versions into the entries that are not copied. Staging
// reads these entries, so it must begin later.
func (g *group) stampDirect() {
	if g.copied == g.bytes {
		return
	}
	for _, c := range g.writes {
		if g.isDirect(c) {
			format.SetTimestamps(c.list.entries, c.version)
		}
	}
}

// entries returns the entries of all writes, with their versions as timestamps,
// in pieces. It appends those of small commands to buf, which must have room,
// and stamps them there, where the processor has them at hand anyway. The last
// piece is the end of buf, and may be empty.
func (g *group) entries(buf []byte) [][]byte {
	begin := 0 // of the piece in buf
	for _, c := range g.writes {
		at := len(buf)
		switch {
		case !g.isDirect(c):
			buf = append(buf, c.list.entries...)
			format.SetTimestamps(buf[at:], c.version)
		case at > begin:
			g.pieces = append(g.pieces, buf[begin:], c.list.entries)
			begin = at
		default:
			g.pieces = append(g.pieces, c.list.entries)
		}
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
	first := 0
	for _, c := range g.writes {
		commits = append(commits, table.Commit{Ops: ops[first : first+c.list.count], Version: c.version})
		first += c.list.count
	}
	return ops, commits
}
