package main

import (
	"fmt"
	"time"
)

const (
	caseLongest = "longest Set while growing"

	// growthChunk keys at a time are prepared outside the measured time. All at
	// once would need more memory than the store does.
	growthChunk = 1 << 16
)

// growthSizes are in millions of keys.
var growthSizes = []int{1, 3, 10}

func growthCase(name string, millions int) string {
	return fmt.Sprintf("%s at %d M keys", name, millions)
}

func growthWorkload() workload {
	return workload{
		id: "F10", title: "Cost as a store grows", joins: roles(subject, memoryFloor),
		note: "One goroutine, `SyncWrites: false`, single Sets of new keys up to 10 M. " +
			"At 1, 3 and 10 M keys it stops for Gets and overwrites of random keys.",
		parts: []part{growthPart(growthSizes...)},
	}
}

// growthPart grows a store to each size in turn, and measures there.
func growthPart(sizes ...int) part {
	return part{"growth", func(b *bench, s spec) ([]sample, error) { return b.growth(s, sizes) }}
}

// growth has sizes in millions of keys.
func (b *bench) growth(s spec, sizes []int) (samples []sample, err error) {
	var longest time.Duration
	err = b.empty(s, false, func(e engine) error {
		grown := 0
		for _, millions := range sizes {
			n := b.keys(millions * 1_000_000)
			took, err := b.grow(e, grown, n)
			if err != nil {
				return err
			}
			longest, grown = max(longest, took), n
			phases, err := b.atSize(e, s, n, millions)
			samples = append(samples, phases...)
			if err != nil {
				return err
			}
		}
		samples = append(samples, sample{Case: caseLongest, Unit: unitMilli, Value: millis(longest)})
		return nil
	})
	return samples, err
}

// grow sets the keys from first to n and returns the time of the slowest Set.
func (b *bench) grow(e engine, first, n int) (longest time.Duration, err error) {
	for first < n {
		chunk := b.data.inOrder(first, min(growthChunk, n-first))
		for p, key := range chunk.keys {
			value := b.data.value(chunk.index[p], valueBytes)
			began := time.Now()
			if err := e.set(key, value); err != nil {
				return longest, fmt.Errorf("key %d: %w", chunk.index[p], err)
			}
			longest = max(longest, time.Since(began))
		}
		first += len(chunk.keys)
	}
	return longest, nil
}

func (b *bench) atSize(e engine, s spec, n, millions int) (samples []sample, err error) {
	keys := b.uniform(n)
	m, err := measure(e, getLoad(e, keys, 1), b.duration)
	if err != nil {
		return nil, err
	}
	samples = append(samples, m.sample(growthCase("Get", millions), s))
	m, err = measure(e, load{goroutines: 1, every: relaxedEvery, worker: func(int) step {
		return func(i int) (kind, error) {
			p := keys.at(0, i)
			return kindMain, e.set(keys.keys[p], b.data.value(keys.index[p], valueBytes))
		}
	}}, b.duration)
	if err != nil {
		return samples, err
	}
	samples = append(samples, m.sample(growthCase("Set", millions), s))
	return samples, b.verify(e, keys, m, valueBytes, func(_, i int) int { return keys.at(0, i) })
}
