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
		note: "The files are in the page cache. " +
			"bbolt, badger, pebble and goleveldb read little when they open, and more later. " +
			"The WAL is from a process that wrote 5 M keys in batches of 1000 and exited without Close.",
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

// runReplay makes a new log for each run, because Close replaces the log with a
// snapshot.
func runReplay(b *bench, s spec) (samples []sample, err error) {
	if s.role != subject {
		return nil, nil
	}
	n := b.keys(openKeys)
	err = b.inFreshDir(func(dir string) error {
		job := childJob{Task: taskCrash, Engine: s.name, Dir: dir, Keys: n, Batch: crashBatch}
		if _, err := b.child(job); err != nil {
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

// open measures the time to open the store in dir. If cores names a case, it
// also measures how many cores are busy.
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
	rate := float64(n) / took.Seconds()
	samples := []sample{{Case: name, Unit: unitKeys, Value: rate, Ops: n, Seconds: took.Seconds()}}
	if hasCPU && !s.otherProcess {
		used := after - cpu
		samples[0].CPU = new(micros(used) / float64(n))
		if cores != "" {
			samples = append(samples, sample{Case: cores, Unit: unitCores, Value: used.Seconds() / took.Seconds()})
		}
	}
	return samples, errors.Join(b.readBack(e, n, checkStride), e.close())
}
