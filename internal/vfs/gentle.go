package vfs

import (
	"io"
	"time"
)

const (
	// gentleBytes is how much is handed to the disk at once while others have work: a fraction of a millisecond of a fast disk's
	// time, which is what a sync of another file may have to wait for.
	gentleBytes = 128 << 10

	// idleBytes is the same while they have none.
	idleBytes = 1 << 20

	// gentlePause is how long nothing happens after each write, in the time that has gone into it: so half of the disk's and of a
	// processor's time are left to others.
	gentlePause = 1

	// removedBytes is how much of a removed file is given back at once: the file system's next commit has to note it and, with the
	// discard option, to tell the disk, and whoever syncs waits for that.
	removedBytes = 1 << 20

	// removalPause is how long nothing happens after that, in the time that it took.
	removalPause = 3
)

// Gentle returns a writer to the beginning of a file that many bytes can be written to without those suffering who write and sync other
// files: it has the disk take them in small pieces, instead of leaving it all to the last sync. As long as busy says that others have
// work, each Write ends with a pause, in proportion to the time since the pause before: the caller, too, does its work little by little if
// its writes are small. When hurry is closed it does neither any more. The file has still to be synced in the end.
func Gentle(file File, busy func() bool, hurry <-chan struct{}) io.Writer {
	return &gentle{file: file, busy: busy, hurry: hurry, piece: gentleBytes, resumed: time.Now()}
}

type gentle struct {
	file    File
	busy    func() bool
	hurry   <-chan struct{}
	offset  int64     // where the next byte goes
	given   int64     // how far the disk has it
	piece   int       // how much it is given at once
	resumed time.Time // the last pause's end
}

func (g *gentle) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		n, writeErr := g.file.WriteAt(b[:min(len(b), g.piece)], g.offset)
		written, b, err = written+n, b[n:], writeErr
		g.offset += int64(n)
		if err == nil {
			err = g.yield()
		}
	}
	return written, err
}

// yield hands the disk a piece, if there is one, and pauses.
func (g *gentle) yield() error {
	if closed(g.hurry) {
		return nil
	}
	if g.offset-g.given >= int64(g.piece) {
		if err := g.file.WriteBack(g.given, g.offset-g.given); err != nil {
			return err
		}
		g.given, g.piece = g.offset, idleBytes
		if g.busy() {
			g.piece = gentleBytes
		}
	}
	if g.piece == gentleBytes {
		rest(gentlePause*time.Since(g.resumed), g.hurry)
	}
	g.resumed = time.Now()
	return nil
}

// rest waits for d, or for the hurry.
func rest(d time.Duration, hurry <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-hurry:
	}
}

// GentleDir returns dir with a Remove that takes large files away little by little as long as busy says that others have work, until hurry
// is closed, if the system can do that. The name goes at once.
func GentleDir(dir Dir, busy func() bool, hurry <-chan struct{}) Dir {
	return gentleDir{Dir: dir, busy: busy, hurry: hurry}
}

type gentleDir struct {
	Dir
	busy  func() bool
	hurry <-chan struct{}
}

// gentleRemover is a [Dir] that calls back after each removedBytes that it has given back, until that returns false.
type gentleRemover interface {
	removeGently(name string, next func() bool) error
}

func (d gentleDir) Remove(name string) error {
	r, ok := d.Dir.(gentleRemover)
	if !ok {
		return d.Dir.Remove(name)
	}
	resumed := time.Now()
	return r.removeGently(name, func() bool {
		rest(removalPause*time.Since(resumed), d.hurry)
		resumed = time.Now()
		return d.busy() && !closed(d.hurry)
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
