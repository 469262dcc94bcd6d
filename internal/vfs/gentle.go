package vfs

import (
	"io"
	"time"
)

const (
	// gentleBytes is how much is written between two syncs: a millisecond of a fast disk's time, which is what a sync of another
	// file may have to wait for.
	gentleBytes = 1 << 20

	// gentlePause is how long nothing is written after a sync, in the time that it took: so three quarters of the disk's time are
	// left to others.
	gentlePause = 3
)

// Gentle returns a writer to the beginning of a file that many bytes can be written to without those suffering who write and sync other
// files: it writes at the disk's pace, in small pieces, instead of leaving it all to the last sync, and pauses between them as long as busy
// says that others have work. When hurry is closed it does neither any more. The file has still to be synced in the end.
func Gentle(file File, busy func() bool, hurry <-chan struct{}) io.Writer {
	return &gentle{file: file, busy: busy, hurry: hurry}
}

type gentle struct {
	file   File
	busy   func() bool
	hurry  <-chan struct{}
	offset int64
	synced int64
}

func (g *gentle) Write(b []byte) (int, error) {
	n, err := g.file.WriteAt(b, g.offset)
	g.offset += int64(n)
	if err != nil || g.offset-g.synced < gentleBytes {
		return n, err
	}
	g.synced = g.offset
	return n, g.sync()
}

func (g *gentle) sync() error {
	select {
	case <-g.hurry:
		return nil
	default:
	}
	started := time.Now()
	if err := g.file.Sync(); err != nil || !g.busy() {
		return err
	}
	pause := time.NewTimer(gentlePause * time.Since(started))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-g.hurry:
	}
	return nil
}
