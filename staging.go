package kvstore

import (
	"slices"

	"kvstore/internal/table"
	"kvstore/internal/tuning"
)

const (
	// A group of at least asideOps operations is staged while all of its sync
	// goes on: staging takes about as long.
	asideOps = 192

	// A goroutine helps with staging if there are at least helpedOps
	// operations, and batchOps in each commit. With many callers, other
	// processors have enough to do.
	helpedOps = 512
	batchOps  = 8

	// maxKeptOps keeps the memory of one huge batch from staying for ever.
	maxKeptOps = 64 << 10
)

// staging applies groups to the table in two steps. Staging, which takes the
// time, changes nothing that a reader sees and runs while the disk is busy;
// publishing is short. The writer owns it.
type staging struct {
	table *table.Table
	pause func() // called now and then, see wal.Log.Yield

	background func(task func() error) // runs a task in a goroutine that Close waits for

	ops     []table.Op     // of the group that is being applied
	commits []table.Commit // likewise
}

// begin begins to stage g. For a large group with few commits, a goroutine does
// it from now on, while the group is being written. The function that begin
// returns does what is left, or helps, and returns when all is staged. It must
// be called before g's commands are answered.
func (s *staging) begin(g *group) (finish func()) {
	if !tuning.StagingHelper || g.ops < max(helpedOps, batchOps*len(g.writes)) {
		return func() {
			s.decode(g)
			s.table.Stage(s.pause)
		}
	}
	decoded, staged := make(chan struct{}), make(chan struct{})
	s.background(func() error {
		defer close(staged)
		s.decode(g) // the goroutine owns ops and commits until decoded is closed
		close(decoded)
		s.table.Stage(func() {})
		return nil
	})
	return func() {
		<-decoded
		s.table.Stage(s.pause)
		<-staged
	}
}

// decode makes the table's next group of g.
func (s *staging) decode(g *group) {
	s.ops = slices.Grow(s.ops[:0], g.ops)
	s.ops, s.commits = g.appendCommits(s.ops, s.commits[:0])
	s.table.Begin(s.commits)
}

// publish shows the staged commits to readers, one after the other.
func (s *staging) publish() {
	s.table.Publish()
	clear(s.ops)
	clear(s.commits)
	if cap(s.ops) > maxKeptOps {
		s.ops, s.commits = nil, nil
	}
}
