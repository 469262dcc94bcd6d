package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

const (
	ycsbGoroutines = 16
	ycsbScan       = 50 // pairs; YCSB takes 1 to 100
)

// ycsbMix is the shares of the operations, in percent. The rest are reads.
type ycsbMix struct {
	name                          string
	update, insert, scan, readMod int
	latest                        bool // reads prefer the latest inserts
}

// ycsbMixes are in the order in which YCSB runs them: the mixes with inserts
// are the last.
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
		note: fmt.Sprintf("%d goroutines, 1 M keys with a Zipf distribution, durable writes. "+
			"The mixes run one after the other on the same store. F reads and then sets, without a transaction. "+
			"Scans in E read %d pairs; one scan has run before E starts. Latencies are those of reads and scans.",
			ycsbGoroutines, ycsbScan),
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
			worker := func(g int) step { return y.worker(mix, g) }
			m, err := measure(e, load{goroutines: ycsbGoroutines, worker: worker}, b.duration)
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

// insertCount is the number of acknowledged inserts of a goroutine, whose keys
// can all be read. A counter shared by all goroutines could not guarantee that.
// One goroutine writes it and all read it, so it has its own cache line.
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
			index := y.latest(random.IntN(ycsbGoroutines), int(latest.Uint64()))
			return kindMain, y.get(y.bench.data.key(index))
		default:
			return kindMain, y.get(key)
		}
	}
}

// insertIndex is the key that goroutine g inserts after count inserts. The keys
// of the goroutines alternate.
func (y *ycsb) insertIndex(g, count int) int { return len(y.keys.keys) + count*ycsbGoroutines + g }

// latest is the key that goroutine g inserted age inserts before its latest. If
// g has too few inserts, it is one of the loaded keys.
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

// verify reads back the latest inserts of each goroutine.
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

// scan always finds the key that it begins with. Only near the last key it
// finds fewer pairs than it asks for.
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
