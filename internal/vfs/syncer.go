package vfs

import "time"

const (
	// lingerBase and lingerBytes are how long the write of a few bytes takes on a disk that is fast, but not at once done with it: 20 µs, and
	// one more for so many bytes.
	lingerBase  = 20 * time.Microsecond
	lingerBytes = 2 << 10

	// maxLingerBytes is the size of writes from which on nobody lingers: they take too long.
	maxLingerBytes = 64 << 10

	// maxLingerTurns bounds the lingering where the clock stands still.
	maxLingerTurns = 1000

	// Which way is better is judged by the means of rows of syncs: a single one says little, and a hypervisor gets used to how its guests wait.
	// One row of trialRows goes the other way; of the first learnRows, every second one.
	rowSyncs  = 64
	trialRows = 16
	learnRows = 16

	// lingerGain is the part of a sync's time that lingering has to gain: it costs a processor's.
	lingerGain = 32
)

// Syncer makes what was written to files durable, sooner than Sync alone: it has the disk begin with a write at once, so that its caller
// can do something else for a while, and Sync has less to wait for.
//
// A sync of few bytes is two waits on the disk, for the write and then for the flush of its cache. Each puts the processor to sleep if there is
// nothing else to do, and waking up takes a guest of a hypervisor as long as a fast disk takes for the write. So the first wait is made awake,
// for some tens of microseconds at most, where that is measured to make syncs shorter.
//
// Whoever has work for longer than a sync takes has the system begin all of it. That the disk has the write is not the end of it: the file system
// then writes how it was allocated, and the disk what is in its cache, each of which takes longer than the write.
//
// A Syncer is for one goroutine; the zero value is ready.
type Syncer struct {
	whole bool          // the system has begun all of a sync
	begun time.Time     // when Begin returned last
	limit time.Duration // how long after that it may be worth to be awake; 0 if it is not

	count int           // syncs of the present row
	sum   time.Duration // of how long they took, from Begin on
	rows  int           // before the present one
	trial bool          // the present row goes the other way than most

	awake bool          // which way most rows go
	usual time.Duration // how long a sync of the last one of these took
	gain  time.Duration // moving average of how much shorter syncs are with lingering
}

// Begin has the disk begin to take the n bytes of file from off on. Sync is to follow, for that file. Aside is whether the
// caller has work until then that takes a hundred microseconds or more; it is to call Yield now and then.
func (s *Syncer) Begin(file File, off, n int64, aside bool) error {
	s.limit = 0
	if n <= maxLingerBytes && !aside {
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

// Yield lets the system have the processor if it needs it for the sync that is under way: between a sync's steps, some thread of it has to be woken
// up, and may have to wait for milliseconds until it is its turn.
func (s *Syncer) Yield() {
	if s.whole {
		yieldProcessor()
	}
}

// Sync makes the file's bytes durable, as [File] Sync does.
func (s *Syncer) Sync(file File) error {
	judged := s.limit > 0 && time.Since(s.begun) < s.limit // or else both ways are the same
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

// learn takes in how long a sync took, but not all of it if that is much: what makes one take a hundred times as long as others has nothing to
// do with this.
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

// judge takes in a trial, which is compared with the row before it: disks are not equally fast all the time.
func (s *Syncer) judge(mean time.Duration) {
	gain := s.usual - mean
	if s.awake {
		gain = -gain
	}
	s.gain += (gain - s.gain) / 4
	s.awake = s.gain > s.usual/lingerGain
}
