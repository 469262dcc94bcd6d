package table

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkApply overwrites values of a million keys, with one operation in
// each commit and with many.
func BenchmarkApply(b *testing.B) {
	const keys, ops = 1_000_000, 1000
	t := New(keys)
	all := make([]Commit, 0, keys)
	for i, n := range rand.New(rand.NewPCG(1, 1)).Perm(keys) {
		op := Op{Key: fmt.Appendf(nil, "key %012d", n), Value: make([]byte, 128)}
		all = append(all, Commit{Version: int64(i + 1), Ops: []Op{op}})
	}
	t.Apply(all)
	version := int64(keys)
	for _, each := range []int{1, ops} {
		b.Run(fmt.Sprintf("ops=%d", each), func(b *testing.B) {
			commits := make([]Commit, ops/each)
			for b.Loop() {
				for i := range commits {
					version++
					commits[i].Version, commits[i].Ops = version, commits[i].Ops[:0]
					for range each {
						commits[i].Ops = append(commits[i].Ops, all[rand.IntN(keys)].Ops[0])
					}
				}
				t.Apply(commits)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/ops, "ns/write")
		})
	}
	t.Release()
}
