package recovery

import (
	"kvstore/internal/format"
	"kvstore/internal/snapfile"
	"kvstore/internal/vfs"
)

// DefaultMaxSegments is the value of Options.MaxSegments that a store uses. A
// process that is killed leaves one segment at least, and each Open reads and
// syncs all of them.
const DefaultMaxSegments = 16

// isTooLong reports whether the log should be replaced by a snapshot.
func (j *judge) isTooLong(options Options) bool {
	return j.chain.LastGroup > j.snapshotted &&
		(j.segments > options.MaxSegments || options.MaxLogBytes > 0 && j.walBytes > options.MaxLogBytes)
}

// compact replaces the log by a snapshot of what was loaded. All of that must
// be durable. The snapshot takes the number of the session's own segment, which
// gets its name later; what the snapshot covers is removed after that.
//
// A disk without room for a second snapshot is no error: the log stays.
func (j *judge) compact() error {
	t := j.replay.table
	info := &format.Snapshot{
		Timestamp: t.Version(), Count: uint32(t.Size()), ID: j.chain.ID,
		Number: j.nextSegment(), LastGroup: j.chain.LastGroup,
	}
	_, err := snapfile.Write(j.dir, info, t.All(), snapfile.FromStart)
	if vfs.IsExhausted(err) {
		j.uncompacted = err
		return nil
	}
	if err != nil {
		return err
	}
	j.newest, j.snapshotted, j.walBytes = info.Number, info.LastGroup, 0
	return nil
}
