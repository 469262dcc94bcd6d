package kvstore_test

// This file has micro benchmarks, with the disk's own floor beside them.
// KVSTORE_BENCH_DIR names the directory, by default the system's one for
// temporary files. On a tmpfs, where an fsync costs nothing, they refuse to
// run.

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kvstore"
	"kvstore/internal/vfs"
)

const benchValueBytes = 128

func benchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp(os.Getenv("KVSTORE_BENCH_DIR"), "kvstore-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	if onTmpfs(b, dir) {
		b.Fatalf("%s is a tmpfs: set KVSTORE_BENCH_DIR to a directory on a disk", dir)
	}
	return dir
}

func benchStore(b *testing.B, config kvstore.Config) *kvstore.Store {
	b.Helper()
	config.DataDir = filepath.Join(benchDir(b), "store")
	s, err := kvstore.OpenWithConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkFloor is the disk's limit: one goroutine overwrites written space
// and syncs it.
func BenchmarkFloor(b *testing.B) {
	for _, size := range []int{4096, 65536} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			dir, err := vfs.OS{}.OpenDir(benchDir(b))
			if err != nil {
				b.Fatal(err)
			}
			f, err := dir.Create("floor")
			if err != nil {
				b.Fatal(err)
			}
			const space = 16 << 20
			if _, err := f.WriteAt(make([]byte, space), 0); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			block, at := make([]byte, size), int64(0)
			for b.Loop() {
				if _, err := f.WriteAt(block, at); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				at = (at + int64(size)) % space
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	for _, mode := range []struct {
		name string
		sync bool
	}{{"durable", true}, {"relaxed", false}} {
		for _, writers := range []int{1, 16, 64, 256, 1024} {
			b.Run(fmt.Sprintf("%s/writers=%d", mode.name, writers), func(b *testing.B) {
				s := benchStore(b, kvstore.Config{SyncWrites: mode.sync})
				value := make([]byte, benchValueBytes)
				inParallel(b, writers, func(i int) error { return s.Set(fmt.Sprintf("%016d", i), value) })
				stats := s.Stats()
				b.ReportMetric(float64(stats.Commits)/b.Elapsed().Seconds(), "writes/s")
				b.ReportMetric(float64(stats.Syncs)/float64(stats.Commits), "fsyncs/write")
			})
		}
	}
}

// inParallel shares b.N operations among goroutines.
func inParallel(b *testing.B, goroutines int, do func(i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range goroutines {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := do(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

// BenchmarkGet reads random keys of a million, beside a map under a lock. -cpu
// sets the number of goroutines.
func BenchmarkGet(b *testing.B) {
	const keys = 1_000_000
	names := make([]string, 1<<20)
	for i := range names {
		names[i] = fmt.Sprintf("%016d", rand.IntN(keys))
	}
	read := func(name string, get func(name string, buf []byte) ([]byte, bool)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var buf []byte
				for i := rand.IntN(len(names)); pb.Next(); i++ {
					var ok bool
					if buf, ok = get(names[i%len(names)], buf); !ok {
						b.Error("absent")
					}
				}
			})
		})
	}
	floor := &lockedMap{entries: map[string][]byte{}}
	for i := range keys {
		floor.entries[fmt.Sprintf("%016d", i)] = make([]byte, benchValueBytes)
	}
	read("Floor", func(name string, _ []byte) ([]byte, bool) { return floor.get(name) })
	floor = nil // what the collector has to do for it must not count for the store
	runtime.GC()

	s := benchStore(b, kvstore.Config{})
	batch := new(kvstore.Batch)
	for i := range keys {
		batch.Set(fmt.Sprintf("%016d", i), make([]byte, benchValueBytes))
	}
	if err := s.Apply(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
	read("Get", func(name string, _ []byte) ([]byte, bool) { return s.Get(name) })
	read("AppendGet", func(name string, buf []byte) ([]byte, bool) { return s.AppendGet(buf[:0], name) })
	b.Run("MultiGet", func(b *testing.B) {
		const window = 64
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			at := 0
			for pb.Next() { // an operation is one key
				if at++; at%window != 0 {
					continue
				}
				for _, value := range s.MultiGet(names[at%(len(names)-window):][:window]) {
					if value == nil {
						b.Error("absent")
					}
				}
			}
		})
	})
}

// lockedMap is what a program without a store might use.
type lockedMap struct {
	mu      sync.RWMutex
	entries map[string][]byte
}

func (m *lockedMap) get(key string) ([]byte, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	value, ok := m.entries[key]
	if !ok {
		return nil, false
	}
	return append([]byte(nil), value...), true
}

// BenchmarkScan reads a million keys in order, and a hundred somewhere among
// them. The index exists already.
func BenchmarkScan(b *testing.B) {
	const keys, row = 1_000_000, 100
	s := benchStore(b, kvstore.Config{})
	batch := new(kvstore.Batch)
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(keys) {
		batch.Set(fmt.Sprintf("%016d", i), make([]byte, benchValueBytes))
	}
	if err := s.Apply(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
	for range s.Scan(kvstore.Range{Limit: 1}) {
		continue
	}
	scan := func(name string, want int, next func() kvstore.Range) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			pairs, scans := 0, 0
			for b.Loop() {
				for range s.Scan(next()) {
					pairs++
				}
				scans++
			}
			if pairs != scans*want {
				b.Errorf("%d pairs in %d scans", pairs, scans)
			}
			b.ReportMetric(float64(pairs)/b.Elapsed().Seconds(), "pairs/s")
		})
	}
	scan("Full", keys, func() kvstore.Range { return kvstore.Range{} })
	scan("Prefix", row, func() kvstore.Range { return kvstore.Prefix(fmt.Sprintf("%014d", rand.IntN(keys/row))) })
}

// BenchmarkUpdate increments two counters in a transaction, of many counters
// and of few.
func BenchmarkUpdate(b *testing.B) {
	for _, counters := range []int{100_000, 10} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("counters=%d/writers=%d", counters, writers), func(b *testing.B) {
				s := benchStore(b, kvstore.Config{SyncWrites: true})
				batch := new(kvstore.Batch)
				for i := range counters {
					batch.Set(fmt.Sprintf("%016d", i), make([]byte, benchValueBytes))
				}
				if err := s.Apply(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				before := s.Stats()
				var runs atomic.Int64
				inParallel(b, writers, func(int) error {
					first := rand.IntN(counters)
					second := (first + 1 + rand.IntN(counters-1)) % counters
					return s.Update(b.Context(), func(tx *kvstore.Tx) error {
						runs.Add(1)
						for _, i := range []int{first, second} {
							key := fmt.Sprintf("%016d", i)
							value, _ := tx.Get(key)
							value[0]++
							tx.Set(key, value)
						}
						return nil
					})
				})
				commits := float64(b.N)
				b.ReportMetric(commits/b.Elapsed().Seconds(), "commits/s")
				b.ReportMetric((float64(runs.Load())-commits)/commits, "retries/commit")
				b.ReportMetric(float64(s.Stats().Syncs-before.Syncs)/commits, "fsyncs/commit")
			})
		}
	}
}

// BenchmarkHotKey changes one key from 64 goroutines: Set, which reads nothing,
// is the floor for the others.
func BenchmarkHotKey(b *testing.B) {
	const writers = 64
	key := fmt.Sprintf("%016d", 0)
	count := func(tx *kvstore.Tx) error {
		text, _ := tx.Get(key)
		n, err := strconv.Atoi(cmp.Or(string(text), "0"))
		tx.Set(key, strconv.AppendInt(nil, int64(n+1), 10))
		return err
	}
	for _, c := range []struct {
		name string
		do   func(b *testing.B, s *kvstore.Store) error
	}{
		{"Set", func(_ *testing.B, s *kvstore.Store) error { return s.Set(key, []byte("1234567")) }},
		{"Add", func(_ *testing.B, s *kvstore.Store) error { _, err := s.Add(key, 1); return err }},
		{"Do", func(b *testing.B, s *kvstore.Store) error { return s.Do(b.Context(), count) }},
		{"DoUncancelled", func(_ *testing.B, s *kvstore.Store) error { return s.Do(context.Background(), count) }},
		{"Update", func(b *testing.B, s *kvstore.Store) error { return s.Update(b.Context(), count) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := benchStore(b, kvstore.Config{SyncWrites: true})
			inParallel(b, writers, func(int) error { return c.do(b, s) })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkDoAsync has one goroutine queue functions, of which a thousand are
// under way, on one key and on many.
func BenchmarkDoAsync(b *testing.B) {
	const pending = 1000
	for _, keys := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			s := benchStore(b, kvstore.Config{SyncWrites: true})
			value := make([]byte, benchValueBytes)
			var queue [pending]*kvstore.Commit
			for i := 0; b.Loop(); i++ {
				key := fmt.Sprintf("%016d", rand.IntN(keys))
				if c := queue[i%pending]; c != nil {
					if err := c.Wait(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				queue[i%pending] = s.DoAsync(b.Context(), func(tx *kvstore.Tx) error {
					tx.Has(key)
					tx.Set(key, value)
					return nil
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkLargeUpdate scans a million keys in a transaction, beside a
// goroutine that sets another key again and again. It reports how long one of
// these Sets took at most: beside transactions that scan one key, and a
// million.
func BenchmarkLargeUpdate(b *testing.B) {
	const keys = 1_000_000
	s := benchStore(b, kvstore.Config{})
	batch := new(kvstore.Batch)
	for i := range keys {
		batch.Set(fmt.Sprintf("%016d", i), nil)
	}
	if err := s.Apply(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
	for range s.Scan(kvstore.Range{Limit: 1}) { // builds the index
		continue
	}
	for _, mode := range []struct {
		name string
		scan bool
	}{{"Floor", false}, {"Scan", true}} {
		b.Run(mode.name, func(b *testing.B) {
			longest := slowest(s, func() {
				for b.Loop() {
					err := s.Update(b.Context(), func(tx *kvstore.Tx) error {
						for range tx.Scan(kvstore.Range{To: "1"}) {
							if !mode.scan {
								break
							}
						}
						tx.Set("result", nil)
						return nil
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(longest)/float64(time.Millisecond), "max-Set-ms")
		})
	}
}

// slowest sets keys while do runs, and returns how long the slowest Set took.
func slowest(s *kvstore.Store, do func()) (longest time.Duration) {
	var over atomic.Bool
	var setter sync.WaitGroup
	setter.Go(func() {
		for !over.Load() {
			began := time.Now()
			if s.Set("beside", nil) != nil {
				return
			}
			longest = max(longest, time.Since(began))
		}
	})
	do()
	over.Store(true)
	setter.Wait()
	return longest
}
