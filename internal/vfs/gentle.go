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

	// busyFor is how long after the last sign of work others count as busy.
	busyFor = 50 * time.Millisecond

	// gentlePause is how long nothing happens after each write, in the time that has gone into it: so half of the disk's and of a
	// processor's time are left to others.
	gentlePause = 1
)

// Gentle is how to write large files without those suffering who write and sync other files. It is for one goroutine.
type Gentle struct {
	work  func() uint64   // immutable: counts what others do
	hurry <-chan struct{} // immutable

	seen    uint64    // what work said last
	changed time.Time // when it last said something new
}

// NewGentle returns one that is gentle while work, which counts what others do, goes on counting, and for busyFor after that; and not any
// more when hurry is closed.
func NewGentle(work func() uint64, hurry <-chan struct{}) *Gentle {
	return &Gentle{work: work, hurry: hurry, seen: work()}
}

// busy reports whether others have work.
func (g *Gentle) busy() bool {
	if n := g.work(); n != g.seen {
		g.seen, g.changed = n, time.Now()
	}
	return time.Since(g.changed) < busyFor
}

// hurried reports whether somebody waits.
func (g *Gentle) hurried() bool {
	select {
	case <-g.hurry:
		return true
	default:
		return false
	}
}

// rest waits for d, or for the hurry.
func (g *Gentle) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.hurry:
	}
}

// Writer returns a writer to the beginning of a file. It has the disk take the bytes in small pieces, instead of leaving it all to the last
// sync. As long as others have work, each Write ends with a pause, in proportion to the time since the pause before: the caller,
// too, does its work little by little if its writes are small. In a hurry it does neither. The file has still to be synced in the end.
func (g *Gentle) Writer(file File) io.Writer {
	return &gentleWriter{Gentle: g, file: file, piece: gentleBytes, resumed: time.Now()}
}

type gentleWriter struct {
	*Gentle
	file    File
	offset  int64     // where the next byte goes
	given   int64     // how far the disk has it
	piece   int       // how much it is given at once
	resumed time.Time // the last pause's end
}

func (g *gentleWriter) Write(b []byte) (written int, err error) {
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
func (g *gentleWriter) yield() error {
	if g.hurried() {
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
		g.rest(gentlePause * time.Since(g.resumed))
	}
	g.resumed = time.Now()
	return nil
}
