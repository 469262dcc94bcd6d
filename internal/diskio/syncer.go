// Package diskio is how the store uses a disk so that small syncs are short: it
// has the disk begin early, fills space ahead of time, and paces large writes.
//
// It assumes a disk that takes writes while the processor computes, whose syncs
// wait for a write and then for a flush of its cache, and an operating system
// with few processors to spare. Nothing here makes anything durable that Sync
// of the file would not, and a wrong assumption costs speed alone. Package
// tuning has a switch for each part.
package diskio

import (
	"time"

	"kvstore/internal/vfs"
)

const (
	// lingerBase and lingerBytes are how long a fast disk takes for the write
	// of a few bytes: 20 µs, and one more for each lingerBytes.
	lingerBase  = 20 * time.Microsecond
	lingerBytes = 2 << 10

	// maxLingerBytes is the size of writes from which on lingering is not
	// tried: they take too long.
	maxLingerBytes = 64 << 10

	// maxLingerTurns bounds lingering where the clock stands still.
	maxLingerTurns = 1000

	// Which way is better is judged by the means of rows of syncs: a single
	// sync says little, and a hypervisor gets used to how its guests wait. One
	// row of trialRows goes the other way; of the first learnRows, every second
	// one.
	rowSyncs  = 64
	trialRows = 16
	learnRows = 16

	// lingerGain is the part of a sync's time that lingering has to gain,
	// because it costs a processor's.
	lingerGain = 32
)

// Syncer makes what was written to files durable, sooner than Sync alone: it
// has the disk begin with a write at once, so that the caller can do something
// else for a while, and Sync has less to wait for.
//
// A sync of few bytes waits for the disk twice: for the write, and then for the
// flush of its cache. Each wait puts the processor to sleep if it has nothing
// else to do, and waking up takes a guest of a hypervisor as long as a fast
// disk takes for the write. So the first wait is made awake, for some tens of
// microseconds at most, where that is measured to make syncs shorter.
//
// A caller that has work for longer than a sync takes has the system begin all
// of the sync. After the write the file system still records how space was
// allocated, and the disk writes out its cache, and each takes longer than the
// write.
//
// A Syncer is for one goroutine.
type Syncer struct {
	lingers bool // immutable: lingering is tried

	whole bool          // the system has begun all of a sync
	begun time.Time     // when Begin returned last
	limit time.Duration // how long after that it may be worth being awake; 0 if it is not

	count int           // syncs of the present row
	sum   time.Duration // of how long they took, from Begin on
	rows  int           // before the present one
	trial bool          // the present row goes the other way than most

	awake bool          // which way most rows go
	usual time.Duration // how long a sync of the last one of these took
	gain  time.Duration // moving average of how much shorter syncs are with lingering
}

// NewSyncer returns a Syncer. If lingers is false it never waits awake.
func NewSyncer(lingers bool) Syncer { return Syncer{lingers: lingers} }

// Begin has the disk begin to take the n bytes of file from off on. The caller
// must call Sync for that file next. aside says that the caller has work until
// then that takes a hundred microseconds or more; it should call Yield now and
// then.
func (s *Syncer) Begin(file vfs.File, off, n int64, aside bool) error {
	s.limit = 0
	if s.lingers && n <= maxLingerBytes && !aside {
		s.limit = lingerBase + time.Duration(n/lingerBytes)*time.Microsecond
	}
	err := file.StartWrite(off, n)
	if s.whole = aside && err == nil; s.whole {
		file.StartSync()
		s.Yield()
	}
	s.begun = time.Now()
	return err
}

// Yield lets the system have the processor if the sync under way needs it.
// Between a sync's steps a thread of the system must be woken up, and may
// otherwise wait for its turn for milliseconds.
func (s *Syncer) Yield() {
	if s.whole {
		yieldProcessor()
	}
}

// Sync makes the file's bytes durable, as Sync of the file does.
func (s *Syncer) Sync(file vfs.File) error {
	judged := s.limit > 0 && time.Since(s.begun) < s.limit // otherwise both ways are the same
	if judged && s.awake != s.trial {
		s.linger()
	}
	err := file.Sync()
	if judged && err == nil {
		s.learn(time.Since(s.begun))
	}
	s.limit, s.whole = 0, false
	return err
}

// linger waits awake for the disk to have taken the write.
func (s *Syncer) linger() {
	for turn := 0; turn < maxLingerTurns && time.Since(s.begun) < s.limit; turn++ {
	}
}

// learn takes in how long a sync took, up to twice the usual time: what makes
// one take a hundred times as long as others has nothing to do with lingering.
func (s *Syncer) learn(took time.Duration) {
	if s.usual == 0 || s.rows == 0 && took < s.usual {
		s.usual = took // for want of a row before it
	}
	s.sum += min(took, 2*s.usual)
	if s.count++; s.count < rowSyncs {
		return
	}
	mean := s.sum / rowSyncs
	if s.trial {
		s.judge(mean)
	} else {
		s.usual = mean
	}
	s.count, s.sum = 0, 0
	s.rows++
	s.trial = s.rows%trialRows == trialRows-1 || s.rows < learnRows && s.rows%2 == 1
}

// judge takes in a trial. It is compared with the row before it, because a disk
// is not equally fast all the time.
func (s *Syncer) judge(mean time.Duration) {
	gain := s.usual - mean
	if s.awake {
		gain = -gain
	}
	s.gain += (gain - s.gain) / 4
	s.awake = s.gain > s.usual/lingerGain
}
