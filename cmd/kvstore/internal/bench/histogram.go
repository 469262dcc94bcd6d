package bench

import (
	"math/bits"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// newHistogram returns a histogram of durations from a nanosecond to an hour.
// It reports them at most one percent too high.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Hour.Nanoseconds(), 2) }

// Bucket counts the durations up to UpTo, and above UpTo of the bucket before.
type Bucket struct {
	UpTo  time.Duration `json:"up_to_ns"`
	Count uint64        `json:"count"`
}

// buckets divides each power of two into perPower buckets, a power of two
// itself. It returns those from the first to the last that are not empty.
func buckets(h *hdrhistogram.Histogram, perPower int) []Bucket {
	var all []Bucket
	for _, b := range h.Distribution() {
		part := int64(1) << max(0, bits.Len64(uint64(b.To))-bits.Len(uint(perPower)))
		end := time.Duration(b.To | (part - 1))
		switch {
		case len(all) > 0 && all[len(all)-1].UpTo == end:
			all[len(all)-1].Count += uint64(b.Count)
		case len(all) > 0 || b.Count > 0:
			all = append(all, Bucket{end, uint64(b.Count)})
		}
	}
	return all
}
