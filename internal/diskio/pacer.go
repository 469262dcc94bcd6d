package diskio

import (
	"io"
	"time"

	"kvstore/internal/vfs"
)

const (
	// busyPieceBytes is how much is handed to the disk at once while others
	// write: a fraction of a millisecond of a fast disk's time, which is what a
	// sync of another file may have to wait for.
	busyPieceBytes = 128 << 10

	// idlePieceBytes is the same while they do not.
	idlePieceBytes = 1 << 20

	// busyFor is how long others count as busy after the last sign of work.
	busyFor = 50 * time.Millisecond

	// pauseShare is how long the pause after each write is, relative to the
	// time that went into it: 1 leaves half of the disk and of a processor to
	// others.
	pauseShare = 1
)

// Pacer writes large files at the pace that the writes and syncs of others
// allow. It is for one goroutine.
type Pacer struct {
	work   func() uint64   // immutable: counts what others do
	urgent <-chan struct{} // immutable

	seen    uint64    // the last result of work
	changed time.Time // when it last changed
}

// NewPacer returns a Pacer that pauses while work, which counts what others do,
// goes on counting, and for busyFor afterwards. When urgent is closed it stops
// pausing.
func NewPacer(work func() uint64, urgent <-chan struct{}) *Pacer {
	return &Pacer{work: work, urgent: urgent, seen: work()}
}

// busy reports whether others work.
func (p *Pacer) busy() bool {
	if n := p.work(); n != p.seen {
		p.seen, p.changed = n, time.Now()
	}
	return time.Since(p.changed) < busyFor
}

// isUrgent reports whether somebody waits.
func (p *Pacer) isUrgent() bool {
	select {
	case <-p.urgent:
		return true
	default:
		return false
	}
}

// pause waits for d, or until it is urgent.
func (p *Pacer) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.urgent:
	}
}

// Writer returns a writer to the beginning of a file. It hands the disk the
// bytes in small pieces instead of leaving all of them to the last sync. While
// others work, each Write ends with a pause in proportion to the time since the
// pause before, so that a caller with small writes also computes little by
// little. When it is urgent, the pieces are large and there are no pauses. The
// caller must still sync the file.
func (p *Pacer) Writer(file vfs.File) io.Writer {
	return &pacedWriter{Pacer: p, file: file, piece: busyPieceBytes, resumed: time.Now()}
}

type pacedWriter struct {
	*Pacer
	file    vfs.File
	offset  int64     // of the next byte
	handed  int64     // the disk was handed all bytes below it
	piece   int       // how much it is handed at once
	resumed time.Time // the end of the last pause
}

func (w *pacedWriter) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		n, writeErr := w.file.WriteAt(b[:min(len(b), w.piece)], w.offset)
		written, b, err = written+n, b[n:], writeErr
		w.offset += int64(n)
		if err == nil {
			err = w.pace()
		}
	}
	return written, err
}

// pace hands the disk a piece, if there is one, and pauses.
func (w *pacedWriter) pace() error {
	if w.isUrgent() {
		w.piece = idlePieceBytes
	}
	if w.offset-w.handed >= int64(w.piece) {
		if err := w.file.WriteBack(w.handed, w.offset-w.handed); err != nil {
			return err
		}
		w.handed, w.piece = w.offset, idlePieceBytes
		if w.busy() && !w.isUrgent() {
			w.piece = busyPieceBytes
		}
	}
	if w.piece == busyPieceBytes {
		w.pause(pauseShare * time.Since(w.resumed))
	}
	w.resumed = time.Now()
	return nil
}
