package logread

import (
	"errors"
	"io/fs"
)

// settle looks again at a piece that is no group, since a store may be writing
// it right now. It updates p, and isLast.
//
// What is bad after it was proven durable is bad for good. One look takes in
// what is written while it lasts, so the proof must be from an earlier look. A
// reader that follows the log waits here for the group, until a later segment
// shows that none will come.
func (r *Reader) settle(p *Piece) error {
	for looked := 0; ; looked++ {
		proven := r.isLost(p)
		if err := r.lookAgain(p); err != nil {
			return err
		}
		follows := r.config.Wait != nil
		settled := looked > 0 && !follows && (proven || !r.isLost(p))
		if p.isValid() || p.Bytes == 0 || !r.isLast || settled {
			return nil
		}
		if follows {
			if err := r.config.Wait(); err != nil {
				return err
			}
		}
	}
}

// lookAgain reads the segment again from a piece on, and replaces the piece by
// what begins there now. The piece is empty if the segment ends there now. A
// later segment that is there before the look means that this one is complete
// in it.
func (r *Reader) lookAgain(p *Piece) error {
	later, err := r.following(r.number + 1)
	if err != nil {
		return err
	}
	if err := r.reopen(); err != nil {
		return err
	}
	r.isLast = later == 0
	if p.Offset >= len(r.segment.Data) {
		*p = Piece{Kind: Zeros, Offset: p.Offset}
		return nil
	}
	if err := Reread(r.file, r.number, r.segment.Data, p.Offset); err != nil {
		return err
	}
	*p = pieceAt(&r.segment, p.Offset, false)
	return nil
}

// reopen opens the segment again if another file has its name: that of an
// opener, which repairs by replacing. The new file has the groups that were
// judged, so it is the same up to where no group follows.
func (r *Reader) reopen() error {
	replaced, err := r.file.Replaced()
	if err != nil || !replaced {
		return err
	}
	file, err := r.config.Source.Open(r.number)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a snapshot has removed it meanwhile
		return nil
	case err != nil:
		return err
	}
	old := r.file
	r.file = file
	data, err := ReadAll(file, r.number, r.segment.Data)
	if err == nil {
		r.segment.Data = data
	}
	return errors.Join(err, old.Close())
}

// isLost reports whether the bytes behind an invalid piece prove that a group
// was there: by an entry that knows it durable or, if no entry knows any group
// durable, by a valid piece.
func (r *Reader) isLost(p *Piece) bool {
	if p.Kind != Invalid {
		return false
	}
	durable, _ := r.segment.DurableBehind(p.Offset)
	end := p.Offset + p.Bytes
	behind := end < len(r.segment.Data) && pieceAt(&r.segment, end, false).Kind != Zeros
	return durable > r.last || behind && durable == 0
}

// durableBehind returns the highest group that an entry behind an invalid piece
// knows durable, or 0 if that is not above the last valid group.
func (r *Reader) durableBehind(p *Piece) uint64 {
	if durable, _ := r.segment.DurableBehind(p.Offset); durable > r.last {
		return durable
	}
	return 0
}
