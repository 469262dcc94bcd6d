package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// BenchmarkScan scans a million keys that were written in random order. It
// reports pairs per second.
func BenchmarkScan(b *testing.B) {
	for _, keys := range []int{1_000_000} {
		t := New(keys)
		var commits []Commit
		for i, n := range rand.New(rand.NewPCG(1, 1)).Perm(keys) {
			op := Op{Key: fmt.Appendf(nil, "key %012d", n), Value: make([]byte, 128)}
			commits = append(commits, Commit{Version: int64(i + 1), Ops: []Op{op}})
		}
		t.Apply(commits)
		v := t.View()
		for range v.Scan(Bounds{}, Loop{}) {
			break // the index is built now
		}
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			pairs := 0
			for b.Loop() {
				for range v.Scan(Bounds{}, Loop{}) {
					pairs++
				}
			}
			b.ReportMetric(float64(pairs)/b.Elapsed().Seconds()/1e6, "Mpairs/s")
		})
		b.Run(fmt.Sprintf("keys=%d/hundred", keys), func(b *testing.B) {
			for b.Loop() {
				n := 0
				for range v.Scan(Bounds{Low: fmt.Sprintf("key %012d", rand.IntN(keys-100))}, Loop{}) {
					if n++; n == 100 {
						break
					}
				}
			}
		})
		v.Close()
		t.Release()
	}
}

// BenchmarkOrder builds the index of keys that were written in random order, as
// the first scan does.
func BenchmarkOrder(b *testing.B) {
	for _, keys := range []int{1_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			t := New(keys)
			defer t.Release()
			order := rand.New(rand.NewPCG(1, 1)).Perm(keys)
			for part := range slices.Chunk(order, 10_000) {
				var ops []Op
				for _, n := range part {
					ops = append(ops, Op{Key: fmt.Appendf(nil, "key %012d", n), Value: make([]byte, 16)})
				}
				t.Apply([]Commit{{Version: t.Version() + 1, Ops: ops}})
			}
			for b.Loop() {
				t.index.Store(nil)
				t.Order()
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/float64(keys)*1e9, "ns/key")
		})
	}
}
