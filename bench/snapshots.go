package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Snapshots while serving.

const (
	snapshotKeys = 3_000_000

	// pairBytes is the size of a pair in a snapshot file.
	pairBytes = 4 + keyBytes + 4 + valueBytes

	floorWrite = 1 << 20

	// Half of calmGoroutines read and half write. They pause after each
	// operation, so that the machine is mostly idle.
	calmGoroutines = 16
	calmPause      = 500 * time.Microsecond

	caseSnapshotAlone = "a snapshot of 3 M keys, no load"
)

// snapshotLoad is a load on the store while a snapshot is written.
type snapshotLoad struct {
	name string
	load func(b *bench, e engine, keys *stream) load
}

var snapshotLoads = []snapshotLoad{{"full", (*bench).mixedLoad}, {"calm", (*bench).calmLoad}}

// phase says what happens beside the load.
type phase string

const (
	phaseUsual    phase = ""
	phaseSnapshot phase = " during Snapshot"
	phasePlain    phase = " during plain writes"
)

func (l snapshotLoad) get(p phase) string { return fmt.Sprintf("%s load: Get%s", l.name, p) }
func (l snapshotLoad) set(p phase) string { return fmt.Sprintf("%s load: Set%s", l.name, p) }
func (l snapshotLoad) writing() string    { return fmt.Sprintf("a snapshot of 3 M keys, %s load", l.name) }

func snapshotWorkload() workload {
	w := workload{
		id: "snapshots", title: "Snapshots while serving", joins: roles(subject, diskFloor),
		note: fmt.Sprintf("3 M keys, durable writes. "+
			"The full load is that of F6: %d goroutines, 95 %% Get and 5 %% Set, without a pause. "+
			"The calm load is %d goroutines with pauses of %v; half of them Get and half Set. "+
			"Each load runs three times: alone; beside plain writes, which show what the disk alone costs; "+
			"and beside Snapshot. Plain writes are files of a snapshot's size, in pieces of 1 MiB "+
			"with one fsync at the end, one file after the other. "+
			"Snapshots, too, are written one after the other. "+
			"MB/s are those of pairs or, for the disk floor, of plain writes. The peers take no part.",
			mixedGoroutines, calmGoroutines, calmPause),
		parts: []part{{"no load", runSnapshotAlone}},
	}
	for _, l := range snapshotLoads {
		w.parts = append(w.parts, part{l.name + " load", func(b *bench, s spec) ([]sample, error) {
			if s.role != subject {
				return nil, nil
			}
			return b.snapshotsUnder(s, l)
		}})
	}
	return w
}

func (b *bench) calmLoad(e engine, keys *stream) load {
	return load{goroutines: calmGoroutines, pause: calmPause, worker: func(g int) step {
		start := keys.start(g, calmGoroutines)
		return func(i int) (kind, error) {
			p := keys.at(start, i)
			if g%2 == 1 {
				return kindSide, e.set(keys.keys[p], b.data.value(keys.index[p], valueBytes))
			}
			value, err := e.get(keys.keys[p])
			if err != nil {
				return kindMain, err
			}
			return kindMain, checkLength(len(value), valueBytes)
		}
	}}
}

func runSnapshotAlone(b *bench, s spec) (samples []sample, err error) {
	n := b.keys(snapshotKeys)
	if s.role == diskFloor {
		err = b.inFreshDir(func(dir string) error {
			runtime.GC()
			began := time.Now()
			if err := writeFloor(filepath.Join(dir, "floor"), n*pairBytes); err != nil {
				return err
			}
			samples = []sample{snapshotSample(caseSnapshotAlone, n, 1, time.Since(began))}
			return nil
		})
		return samples, err
	}
	err = b.full(s, n, true, true, func(e engine) error {
		runtime.GC()
		written, took, err := writeSnapshots(e, b.data, 0)
		samples = []sample{snapshotSample(caseSnapshotAlone, n, written, took)}
		return err
	})
	return samples, err
}

// writeFloor writes a durable file of size bytes, as fast as a plain program
// can.
func writeFloor(name string, size int) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	block := make([]byte, floorWrite)
	for left := size; left > 0 && err == nil; left -= len(block) {
		_, err = f.Write(block[:min(left, len(block))])
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// writePlain writes at least one such file, and goes on for the duration of a
// measurement.
func (b *bench) writePlain(size int) error {
	for began := time.Now(); ; {
		err := b.inFreshDir(func(dir string) error { return writeFloor(filepath.Join(dir, "plain"), size) })
		if err != nil || time.Since(began) >= b.duration {
			return err
		}
	}
}

// writeSnapshots writes at least one snapshot, and goes on for the time d. It
// returns how many it wrote and how long they took. It sets a key before each
// snapshot, so that there is something new.
func writeSnapshots(e engine, of *data, d time.Duration) (written int, took time.Duration, err error) {
	for began := time.Now(); written == 0 || time.Since(began) < d; written++ {
		if err := e.set(of.key(0), of.value(0, valueBytes)); err != nil {
			return written, took, err
		}
		one := time.Now()
		if err := e.(snapshotter).snapshot(); err != nil {
			return written, took, fmt.Errorf("snapshot: %w", err)
		}
		took += time.Since(one)
	}
	return written, took, nil
}

func snapshotSample(name string, keys, written int, took time.Duration) sample {
	megabytes := float64(keys) * pairBytes * float64(written) / 1e6
	return sample{Case: name, Unit: unitMega, Value: megabytes / took.Seconds(), Ops: written, Seconds: took.Seconds()}
}

func (b *bench) snapshotsUnder(s spec, l snapshotLoad) (samples []sample, err error) {
	n := b.keys(snapshotKeys)
	keys := b.uniform(n)
	err = b.full(s, n, true, true, func(e engine) error {
		if err := b.readBack(e, n, warmStride); err != nil {
			return err
		}
		for _, p := range []phase{phaseUsual, phasePlain, phaseSnapshot} {
			m, err := measureDuring(e, l.load(b, e, keys), func() error {
				switch p {
				case phasePlain:
					return b.writePlain(n * pairBytes)
				case phaseSnapshot:
					written, took, err := writeSnapshots(e, b.data, b.duration)
					samples = append(samples, snapshotSample(l.writing(), n, written, took))
					return err
				case phaseUsual:
					time.Sleep(b.duration)
				}
				return nil
			})
			if err != nil {
				return err
			}
			samples = append(samples, m.mainsSample(l.get(p)), m.sidesSample(l.set(p)))
		}
		return b.readBack(e, n, checkStride)
	})
	return samples, err
}
