package main

import "slices"

// workload is one kind of work. An engine that does not join has no row.
type workload struct {
	id, title string
	note      string // under the title: what to know for reading the figures
	joins     func(spec) bool
	parts     []part
}

// part is what the engines take turns in: all of them run it once, then all run it again. It may have phases, each of which gives a
// sample.
type part struct {
	name string
	run  func(b *bench, s spec) ([]sample, error)
}

func allWorkloads() []workload {
	return slices.Concat(writeWorkloads(), readWorkloads(),
		[]workload{
			memoryWorkload(), openWorkload(), syncWorkload(), growthWorkload(), sizeWorkload(), zipfWorkload(), ycsbWorkload(),
			scanWorkload(), transactionWorkload(), snapshotWorkload(),
		})
}

func roles(wanted ...role) func(spec) bool {
	return func(s spec) bool { return slices.Contains(wanted, s.role) }
}

// one is a run with a single sample.
func one(m sample, err error) ([]sample, error) {
	if err != nil {
		return nil, err
	}
	return []sample{m}, nil
}
