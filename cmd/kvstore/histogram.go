package main

import (
	"math"
	"math/bits"
	"time"
)

// Each power of two has subBuckets, so that a percentile is at most 1/16 too high.
const (
	subBits     = 4
	subBuckets  = 1 << subBits
	bucketCount = (64 - subBits) * subBuckets // for 63 bits, the longest duration
)

// histogram counts durations in buckets whose width grows with them. It is for one goroutine; merge joins those of several.
type histogram struct {
	counts [bucketCount]uint64
	total  uint64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// percentile returns the least upper bound that the buckets give for the fraction p of the durations, 0 if there are none.
func (h *histogram) percentile(p float64) time.Duration {
	rank := max(1, uint64(math.Ceil(p*float64(h.total))))
	seen := uint64(0)
	for i, n := range h.counts {
		seen += n
		if seen >= rank {
			return min(h.max, time.Duration(bucketEnd(i)))
		}
	}
	return h.max
}

// bar is how many durations are up to one and above that of the bar before.
type bar struct {
	UpTo  time.Duration `json:"up_to_ns"`
	Count uint64        `json:"count"`
}

// bars joins the buckets to so many for each power of two, a power of two itself, from the first that is not empty to the last.
func (h *histogram) bars(perPower int) []bar {
	var bars []bar
	width := subBuckets / perPower
	for i := 0; i < bucketCount; i += width {
		count := uint64(0)
		for _, n := range h.counts[i : i+width] {
			count += n
		}
		if count > 0 || len(bars) > 0 {
			bars = append(bars, bar{time.Duration(bucketEnd(i + width - 1)), count})
		}
	}
	for len(bars) > 0 && bars[len(bars)-1].Count == 0 {
		bars = bars[:len(bars)-1]
	}
	return bars
}

// bucketOf: the first subBuckets hold one value each; from there on every power of two has subBuckets of them.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift*subBuckets + int(v>>shift)
}

// bucketEnd is the largest value in bucket i.
func bucketEnd(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	return uint64(subBuckets+i%subBuckets+1)<<shift - 1
}
