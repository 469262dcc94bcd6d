package kvstore_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kvstore"
)

// This file measures what deadlines cost. See bench_test.go.

// fillUntil sets keys with a deadline, in large batches.
func fillUntil(b *testing.B, s *kvstore.Store, prefix string, keys int, deadline func(i int) time.Time) {
	b.Helper()
	const each = 10_000
	value := make([]byte, benchValueBytes)
	for i := 0; i < keys; {
		batch := &kvstore.Batch{}
		for range min(each, keys-i) {
			batch.SetUntil(fmt.Sprintf("%s%012d", prefix, i), value, deadline(i))
			i++
		}
		if err := s.Apply(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExpiryLag is how long after its deadline a key is deleted, with
// other keys that have one, and with callers.
func BenchmarkExpiryLag(b *testing.B) {
	for _, others := range []int{0, 1_000_000} {
		for _, callers := range []int{0, 16} {
			b.Run(fmt.Sprintf("Others=%d/Callers=%d", others, callers), func(b *testing.B) {
				s := benchStore(b, kvstore.DefaultConfig(""))
				fillUntil(b, s, "other", others, func(int) time.Time { return s.Now().Add(time.Hour) })
				stop := beside(b, s, callers, nil)
				defer stop()
				const keys = 1000
				var lags []time.Duration
				for b.Loop() {
					first, before := s.Now().Add(200*time.Millisecond), s.Stats().Expired
					deadline := func(i int) time.Time { return first.Add(time.Duration(i) * time.Millisecond) }
					fillUntil(b, s, "key", keys, deadline)
					for seen := 0; seen < keys; <-time.After(100 * time.Microsecond) {
						now := s.Now()
						for expired := int(s.Stats().Expired - before); seen < expired; seen++ {
							lags = append(lags, now.Sub(deadline(seen)))
						}
					}
				}
				report(b, lags)
			})
		}
	}
}

// beside runs callers that set keys without a deadline, until the function that
// it returns is called. They note how long each Set takes, if took is not nil.
func beside(b *testing.B, s *kvstore.Store, callers int, took *[]time.Duration) (stop func()) {
	var ended atomic.Bool
	var wg sync.WaitGroup
	var mu sync.Mutex
	value := make([]byte, benchValueBytes)
	for range callers {
		wg.Go(func() {
			var mine []time.Duration
			for !ended.Load() {
				started := time.Now()
				if err := s.Set(fmt.Sprintf("%016d", rand.IntN(100_000)), value); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(started))
			}
			if took != nil {
				mu.Lock()
				defer mu.Unlock()
				*took = append(*took, mine...)
			}
		})
	}
	return func() {
		ended.Store(true)
		wg.Wait()
	}
}

// report reports the distribution of times.
func report(b *testing.B, times []time.Duration) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	at := func(share float64) float64 {
		return float64(times[int(share*float64(len(times)-1))].Microseconds()) / 1e3
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
}

// BenchmarkExpiryOfMany is a million keys that are due at once: how fast they
// are deleted while nobody calls, and what a Set takes meanwhile.
func BenchmarkExpiryOfMany(b *testing.B) {
	const keys = 2_000_000
	for _, callers := range []int{0, 1, 64} {
		b.Run(fmt.Sprintf("Callers=%d", callers), func(b *testing.B) {
			s := benchStore(b, kvstore.DefaultConfig(""))
			var alone, meanwhile []time.Duration
			var took time.Duration
			n := 0
			for b.Loop() {
				n++
				deadline := s.Now().Add(30 * time.Second)
				fillUntil(b, s, "key", keys, func(int) time.Time { return deadline })
				if left := deadline.Sub(s.Now()); left < 0 {
					b.Fatalf("filling took %v too long", -left)
				}
				stop := beside(b, s, callers, &alone)
				<-time.After(5 * time.Second)
				stop()
				<-time.After(deadline.Sub(s.Now()))
				stop = beside(b, s, callers, &meanwhile)
				for s.Stats().Due > 0 && s.Now().Sub(deadline) < 20*time.Second {
					<-time.After(time.Millisecond)
				}
				took += s.Now().Sub(deadline)
				stop()
				b.ReportMetric(float64(keys-s.Stats().Due)/s.Now().Sub(deadline).Seconds(), "expirations/s")
			}
			if callers > 0 {
				slices.Sort(alone)
				report(b, meanwhile)
				b.ReportMetric(float64(len(meanwhile))/took.Seconds()/(float64(len(alone))/(5*float64(n))), "x-rate")
				b.ReportMetric(float64(meanwhile[len(meanwhile)*99/100])/float64(alone[len(alone)*99/100]), "x-p99")
			}
		})
	}
}

// BenchmarkSetFor is SetFor beside Set, by many callers.
func BenchmarkSetFor(b *testing.B) {
	const callers = 64
	value := make([]byte, benchValueBytes)
	for name, set := range map[string]func(s *kvstore.Store, key string) error{
		"Set":    func(s *kvstore.Store, key string) error { return s.Set(key, value) },
		"SetFor": func(s *kvstore.Store, key string) error { return s.SetFor(key, value, time.Hour) },
		"Expire": func(s *kvstore.Store, key string) error {
			_, err := s.Expire(key, s.Now().Add(time.Hour))
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := benchStore(b, kvstore.DefaultConfig(""))
			fillUntil(b, s, "key", 100_000, func(int) time.Time { return s.Now().Add(time.Hour) })
			b.SetParallelism(callers / 2)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := set(s, fmt.Sprintf("key%012d", rand.IntN(100_000))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
