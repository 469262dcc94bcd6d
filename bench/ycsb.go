package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

const (
	ycsbGoroutines = 16
	ycsbScan       = 50 // pairs, the mean of YCSB's 1 to 100
)

// ycsbMix is what the goroutines do, in percent; what is left to 100 are reads.
type ycsbMix struct {
	name                          string
	update, insert, scan, readMod int
	latest                        bool // reads prefer what was inserted last
}

// ycsbMixes are in the order that YCSB runs them in: those that insert are the last.
var ycsbMixes = []ycsbMix{
	{name: "A: 50 % read, 50 % update", update: 50},
	{name: "B: 95 % read, 5 % update", update: 5},
	{name: "C: read only"},
	{name: "F: 50 % read, 50 % read-modify-write", readMod: 50},
	{name: "D: 95 % read of the latest, 5 % insert", insert: 5, latest: true},
	{name: "E: 95 % scan, 5 % insert", scan: 95, insert: 5},
}

func ycsbWorkload() workload {
	return workload{
		id: "ycsb", title: "YCSB", joins: roles(subject, peer),
		note: fmt.Sprintf("%d goroutines, 1 M keys with Zipf distribution, durable writes, the mixes one after the other on the same store. "+
			"F reads and then sets, without a transaction. Scans in E read %d pairs; before it runs, one scan has been made. Latencies are those of the reads and scans.", ycsbGoroutines, ycsbScan),
		parts: []part{{"A to F", runYCSB}},
	}
}

func runYCSB(b *bench, s spec) (samples []sample, err error) {
	n := b.keys(manyKeys)
	err = b.full(s, n, true, true, func(e engine) error {
		if err := b.readBack(e, n, warmStride); err != nil {
			return err
		}
		y := &ycsb{bench: b, engine: e, keys: b.zipf(n)}
		for _, mix := range ycsbMixes {
			if mix.scan > 0 && s.noScans != "" {
				samples = append(samples, sample{Case: mix.name, Unit: unitOps, Note: s.noScans})
				continue
			}
			if mix.scan > 0 {
				if err := y.scan(y.keys.keys[0]); err != nil {
					return err
				}
			}
			m, err := measure(e, load{goroutines: ycsbGoroutines, worker: func(g int) step { return y.worker(mix, g) }}, b.duration)
			if err != nil {
				return fmt.Errorf("%s: %w", mix.name, err)
			}
			samples = append(samples, m.sample(mix.name, s))
		}
		return errors.Join(b.readBack(e, n, checkStride), y.verify())
	})
	return samples, err
}

// ycsb is one run on one store.
type ycsb struct {
	bench    *bench
	engine   engine
	keys     *stream // Zipf
	inserted [ycsbGoroutines]insertCount
}

// insertCount is how many inserts of a goroutine were acknowledged: all keys up to there can be read, which a counter shared by all
// could not say. It is written by that goroutine, read by all, and has a cache line of its own.
type insertCount struct {
	atomic.Int64
	_ [56]byte
}

func (y *ycsb) worker(mix ycsbMix, g int) step {
	start := y.keys.start(g, ycsbGoroutines)
	random := y.bench.data.rand(uint64(100 + g))
	latest := rand.NewZipf(random, zipfS, zipfV, uint64(len(y.keys.keys)-1))
	return func(i int) (kind, error) {
		p := y.keys.at(start, i)
		index, key := y.keys.index[p], y.keys.keys[p]
		choice := random.IntN(100)
		switch {
		case choice < mix.update:
			return kindSide, y.set(index, key)
		case choice < mix.update+mix.readMod:
			return kindSide, errors.Join(y.get(key), y.set(index, key))
		case choice < mix.update+mix.readMod+mix.insert:
			return kindSide, y.insert(g)
		case choice < mix.update+mix.readMod+mix.insert+mix.scan:
			return kindMain, y.scan(key)
		case mix.latest:
			return kindMain, y.get(y.bench.data.key(y.latest(random.IntN(ycsbGoroutines), int(latest.Uint64()))))
		default:
			return kindMain, y.get(key)
		}
	}
}

// insertIndex is the key that goroutine g inserts after count others; the goroutines take turns.
func (y *ycsb) insertIndex(g, count int) int { return len(y.keys.keys) + count*ycsbGoroutines + g }

// latest is the key that was inserted age inserts of g before its latest, or one of those that were there from the beginning.
func (y *ycsb) latest(g, age int) int {
	count := int(y.inserted[g].Load())
	if age < count {
		return y.insertIndex(g, count-1-age)
	}
	return max(0, len(y.keys.keys)-1-(age-count))
}

func (y *ycsb) insert(g int) error {
	count := &y.inserted[g]
	index := y.insertIndex(g, int(count.Load()))
	if err := y.set(index, y.bench.data.key(index)); err != nil {
		return err
	}
	count.Add(1)
	return nil
}

// verify reads the last inserts of each goroutine.
func (y *ycsb) verify() error {
	for g := range y.inserted {
		for age := range min(verifySteps, int(y.inserted[g].Load())) {
			i := y.latest(g, age)
			if err := y.bench.compare(y.engine, i, y.bench.data.key(i), valueBytes); err != nil {
				return fmt.Errorf("read back: %w", err)
			}
		}
	}
	return nil
}

func (y *ycsb) set(index int, key string) error {
	return y.engine.set(key, y.bench.data.value(index, valueBytes))
}

func (y *ycsb) get(key string) error {
	value, err := y.engine.get(key)
	if err != nil {
		return err
	}
	return checkLength(len(value), valueBytes)
}

// scan may find fewer pairs than it asks for only near the last key, but always the one that it begins with.
func (y *ycsb) scan(key string) error {
	seen, err := countPairs(y.engine, span{from: key, limit: ycsbScan})
	if err != nil {
		return err
	}
	if seen.pairs == 0 {
		return fmt.Errorf("scan: %w", errAbsent)
	}
	return checkLength(seen.bytes, seen.pairs*valueBytes)
}
