package main

import "slices"

// workload is one kind of work. joins selects the engines that take part.
type workload struct {
	id, title string
	note      string // printed under the title: how to read the figures
	joins     func(spec) bool
	parts     []part
}

// part is a piece of a workload in which the engines take turns: all of them
// run it once, then all run it again. It may have several phases, and returns a
// sample for each.
type part struct {
	name string
	run  func(b *bench, s spec) ([]sample, error)
}

func allWorkloads() []workload {
	return slices.Concat(writeWorkloads(), readWorkloads(),
		[]workload{
			memoryWorkload(), openWorkload(), syncWorkload(), growthWorkload(), sizeWorkload(), zipfWorkload(),
			ycsbWorkload(), scanWorkload(), transactionWorkload(), counterWorkload(), expiryWorkload(),
			snapshotWorkload(),
		})
}

func roles(wanted ...role) func(spec) bool {
	return func(s spec) bool { return slices.Contains(wanted, s.role) }
}

// one returns the samples of a run that has only one.
func one(m sample, err error) ([]sample, error) {
	if err != nil {
		return nil, err
	}
	return []sample{m}, nil
}
