package commands

import (
	"math/bits"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// newHistogram is for nanoseconds up to an hour; what it shows is at most a hundredth too high.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Hour.Nanoseconds(), 2) }

// bar is how many durations are up to one and above that of the bar before.
type bar struct {
	UpTo  time.Duration `json:"up_to_ns"`
	Count uint64        `json:"count"`
}

// bars divides each power of two into so many bars, a power of two itself, from the first that is not empty to the last.
func bars(h *hdrhistogram.Histogram, perPower int) []bar {
	var bars []bar
	for _, b := range h.Distribution() {
		part := int64(1) << max(0, bits.Len64(uint64(b.To))-bits.Len(uint(perPower)))
		end := time.Duration(b.To | (part - 1))
		switch {
		case len(bars) > 0 && bars[len(bars)-1].UpTo == end:
			bars[len(bars)-1].Count += uint64(b.Count)
		case len(bars) > 0 || b.Count > 0:
			bars = append(bars, bar{end, uint64(b.Count)})
		}
	}
	return bars
}
