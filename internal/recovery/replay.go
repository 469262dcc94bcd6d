package recovery

import (
	"sync"

	"kvstore/internal/codec"
	"kvstore/internal/format"
	"kvstore/internal/spare"
	"kvstore/internal/table"
)

// maxReplayOps is how many operations are collected before all processors apply
// them together. Their number is bounded by the bytes of a piece, too, since
// they point into it.
const maxReplayOps = 16 << 10

// replay collects operations and applies them while the next piece of the log
// is read and decoded. It owns the memory of the pieces, because operations
// point into it: two pieces, one of which is read into while the operations of
// the other one are applied, and one for an entry that is larger than a piece.
//
// The goroutine that decodes owns the fields; a Load under way owns the slice
// it was given and the piece that its operations point into.
type replay struct {
	table      *table.Table // immutable
	pieceBytes int          // immutable

	ops     []table.Op     // collected, all from the last piece
	spare   []table.Op     // to collect into while ops are applied
	version int64          // of the last one of ops
	loading sync.WaitGroup // the Load under way

	piece, other []byte // the last piece, and the one before it
	large        spare.Large
}

// memory returns memory for the next piece, with n bytes. The last piece is
// valid until the call after this one.
func (p *replay) memory(n int) []byte {
	p.flush() // after this, nothing but the last piece is in use
	if n > max(p.pieceBytes, format.PieceBytes) {
		p.loading.Wait() // the last piece may have been a large one
		return p.large.Bytes(n)
	}
	p.piece, p.other = p.other, p.piece
	if cap(p.piece) < n {
		p.piece = make([]byte, n) // of a small log, no more than it needs
	}
	return p.piece[:n]
}

// add takes in entries of writes of the last piece. A piece may end between a
// SET and its EXPIRE: then they are two operations, with the same effect.
func (p *replay) add(entries []byte) {
	for op, version := range codec.Ops(entries) {
		p.ops = append(p.ops, op)
		p.version = version
		if len(p.ops) == maxReplayOps {
			p.flush()
		}
	}
}

// flush waits for the Load under way, and begins to apply what was collected.
func (p *replay) flush() {
	p.loading.Wait()
	if len(p.ops) == 0 {
		return
	}
	ops, version := p.ops, p.version
	p.ops, p.spare = p.spare[:0], ops
	p.loading.Go(func() { p.table.Load(ops, version) })
}

// finish applies everything that was collected.
func (p *replay) finish() {
	p.flush()
	p.loading.Wait()
}

// release waits until nothing is being applied, and gives up the memory.
func (p *replay) release() {
	p.loading.Wait()
	p.piece, p.other = nil, nil
	p.large.Release()
}
