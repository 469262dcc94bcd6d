package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

const (
	openKeys = 5_000_000

	// crashBatch is the size of the commits in the log that is replayed.
	crashBatch = 1000

	partReplay = "WAL"

	caseOpen          = "open with 1 M keys"
	caseSnapshot      = "open from a snapshot of 5 M keys"
	caseReplay        = "replay of a WAL of 5 M keys"
	caseSnapshotCores = caseSnapshot + ": cores"
	caseReplayCores   = caseReplay + ": cores"
)

func openWorkload() workload {
	return workload{
		id: "F8", title: "Opening a store", joins: roles(subject, peer),
		note: "The files are in the page cache. bbolt, badger, pebble and goleveldb read little then, and more later. " +
			"The WAL is what a process left that wrote 5 M keys in batches of 1000 and exited without Close.",
		parts: []part{{"closed store", runOpen}, {"snapshot", runSnapshot}, {partReplay, runReplay}},
	}
}

func runOpen(b *bench, s spec) ([]sample, error) {
	n := b.keys(manyKeys)
	dir, err := b.fill(s, n)
	if err != nil {
		return nil, err
	}
	return b.open(s, dir, n, caseOpen, "")
}

func runSnapshot(b *bench, s spec) ([]sample, error) {
	if s.role != subject {
		return nil, nil
	}
	n := b.keys(openKeys)
	dir, err := b.fill(s, n)
	if err != nil {
		return nil, err
	}
	return b.open(s, dir, n, caseSnapshot, caseSnapshotCores)
}

// runReplay needs a new log each time, since Close replaces it with a snapshot.
func runReplay(b *bench, s spec) (samples []sample, err error) {
	if s.role != subject {
		return nil, nil
	}
	n := b.keys(openKeys)
	err = b.inFreshDir(func(dir string) error {
		if _, err := b.child(childJob{Task: taskCrash, Engine: s.name, Dir: dir, Keys: n, Batch: crashBatch}); err != nil {
			return err
		}
		if err := syncTree(dir); err != nil {
			return err
		}
		samples, err = b.open(s, dir, n, caseReplay, caseReplayCores)
		return err
	})
	return samples, err
}

// open measures how long the store in dir takes to open, and how many cores are busy with it if cores names a case.
func (b *bench) open(s spec, dir string, n int, name, cores string) ([]sample, error) {
	runtime.GC()
	cpu, hasCPU := cpuTime()
	began := time.Now()
	e, err := s.open(dir, true)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	took := time.Since(began)
	after, _ := cpuTime()
	samples := []sample{{Case: name, Unit: unitKeys, Value: float64(n) / took.Seconds(), Ops: n, Seconds: took.Seconds()}}
	if hasCPU && !s.otherProcess {
		used := after - cpu
		samples[0].CPU = new(micros(used) / float64(n))
		if cores != "" {
			samples = append(samples, sample{Case: cores, Unit: unitCores, Value: used.Seconds() / took.Seconds()})
		}
	}
	return samples, errors.Join(b.readBack(e, n, checkStride), e.close())
}
