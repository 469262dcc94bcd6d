package main

import (
	"strings"
	"testing"
	"time"
)

// TestHistogram: percentiles are at most a sixteenth too high, and never above the longest duration; bars hold each duration once.
func TestHistogram(t *testing.T) {
	var h, other histogram
	for i := range 1000 {
		into := &h
		if i%2 == 0 {
			into = &other
		}
		into.add(time.Duration(i+1) * time.Microsecond)
	}
	h.merge(&other)
	for p, want := range map[float64]time.Duration{0.001: 1, 0.5: 500, 0.9: 900, 0.99: 990, 1: 1000} {
		want *= time.Microsecond
		if got := h.percentile(p); got < want || got > want+want/16 || got > h.max {
			t.Errorf("percentile %v is %v, want %v", p, got, want)
		}
	}
	for _, perPower := range []int{1, 2, 4, subBuckets} {
		sum, before := uint64(0), time.Duration(0)
		for _, b := range h.bars(perPower) {
			if b.UpTo <= before {
				t.Errorf("a bar up to %v after one up to %v", b.UpTo, before)
			}
			before = b.UpTo
			sum += b.Count
		}
		if sum != h.total || before < h.max {
			t.Errorf("%d of %d durations are in bars up to %v", sum, h.total, before)
		}
	}
	if new(histogram).percentile(0.5) != 0 || len(new(histogram).bars(4)) != 0 {
		t.Error("an empty histogram is not empty")
	}
}

// TestHistogramBuckets: each value is in the bucket that ends with it or with the next larger end.
func TestHistogramBuckets(t *testing.T) {
	for shift := range 62 {
		for _, v := range []uint64{1 << shift, 1<<shift + 1, 2<<shift - 1} {
			i := bucketOf(v)
			if v > bucketEnd(i) || i > 0 && v <= bucketEnd(i-1) {
				t.Errorf("%d is in bucket %d, which ends with %d", v, i, bucketEnd(i))
			}
		}
	}
}

func TestDrawBars(t *testing.T) {
	var text strings.Builder
	bars := []bar{{100 * time.Microsecond, 1000}, {time.Millisecond, 505}, {2 * time.Second, 0}, {time.Minute, 1}}
	if err := drawBars(&text, bars, 1506); err != nil {
		t.Fatal(err)
	}
	want := "   100µs ▏██████████████████████████████████████████████████  66.40 %\n" +
		"     1ms ▏█████████████████████████▎                          33.53 %\n" +
		"      2s ▏                                                     0.00 %\n" +
		"    1m0s ▏·                                                    0.07 %\n"
	if text.String() != want {
		t.Errorf("%s\nwant\n%s", text.String(), want)
	}
}
