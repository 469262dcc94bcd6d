package recovery

import (
	"sync"

	"kvstore/internal/codec"
	"kvstore/internal/table"
)

// maxReplayOps is how many operations are collected before all processors apply
// them together.
const maxReplayOps = 32 << 10

// replay collects operations and applies them while the next ones are decoded.
// The goroutine that decodes owns its fields; a Load under way owns the slice
// it was given.
type replay struct {
	ops     []table.Op
	spare   []table.Op     // to collect into while ops are applied
	version int64          // of the last one of ops
	loading sync.WaitGroup // the Load under way
}

// add takes in SET and DELETE entries. They must not change until wait or
// applyAll returns.
func (p *replay) add(t *table.Table, entries []byte) {
	for op, version := range codec.Ops(entries) {
		p.ops = append(p.ops, op)
		p.version = version
		if len(p.ops) == maxReplayOps {
			p.apply(t)
		}
	}
}

// apply begins to apply what was collected.
func (p *replay) apply(t *table.Table) {
	p.loading.Wait()
	ops, version := p.ops, p.version
	p.ops, p.spare = p.spare[:0], ops
	p.loading.Go(func() { t.Load(ops, version) })
}

// applyAll applies everything that was collected.
func (p *replay) applyAll(t *table.Table) {
	if len(p.ops) > 0 {
		p.apply(t)
	}
	p.loading.Wait()
}

// wait waits until nothing is being applied.
func (p *replay) wait() { p.loading.Wait() }
