package commands

import (
	"context"
	"io"
	"time"
)

// patience is how long results and messages wait for a reader after a signal.
const patience = time.Second

// stream writes to a file that another process may read: a pipe, a terminal. A
// write may wait for that process for ever, but not after ctx has ended. It is
// for one goroutine.
type stream struct {
	w        io.Writer       // immutable
	ctx      context.Context // immutable
	patience time.Duration   // immutable: how long a write may still take after ctx has ended
	piece    []byte          // a copy of what is being written, which outlives Write if ctx ends
	err      error           // the first error; nothing is written after it
}

// Write implements [io.Writer]. It fails with errInterrupted after ctx has
// ended.
func (s *stream) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) && s.err == nil {
		piece := b[written:min(len(b), written+outputBytes)]
		var n int
		n, s.err = s.writePiece(piece)
		written += n
	}
	return written, s.err
}

// writePiece leaves a write behind if ctx ends.
func (s *stream) writePiece(piece []byte) (int, error) {
	if s.patience == 0 && s.ctx.Err() != nil {
		return 0, errInterrupted
	}
	s.piece = append(s.piece[:0], piece...)
	kept := s.piece
	return await(s.ctx, s.patience, func() (int, error) { return s.w.Write(kept) })
}
