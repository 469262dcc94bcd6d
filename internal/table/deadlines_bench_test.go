package table

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// benchOps returns operations that set keys. spread is the range of their
// deadlines in nanoseconds, 0 for no deadlines.
func benchOps(keys int, spread int64) []Op {
	rng := rand.New(rand.NewPCG(1, 1))
	ops := make([]Op, keys)
	for i := range ops {
		ops[i] = Op{Key: fmt.Appendf(nil, "key %012d", i), Value: make([]byte, 128)}
		if spread > 0 {
			ops[i].Deadline = base + rng.Int64N(spread)
		}
	}
	rng.Shuffle(keys, func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
	return ops
}

// BenchmarkLoad loads a million keys, as Open does, until their deadlines can
// be used.
func BenchmarkLoad(b *testing.B) {
	const keys, each = 1_000_000, 32 << 10
	for _, spread := range []int64{0, 1e9, 1e15} {
		b.Run(fmt.Sprintf("spread=%d", spread), func(b *testing.B) {
			ops := benchOps(keys, spread)
			for b.Loop() {
				t := New(keys)
				for at := 0; at < keys; at += each {
					t.Load(ops[at:min(at+each, keys)], 1)
				}
				t.sortLoaded()
				t.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
		})
	}
}

// BenchmarkDueKeys asks for keys that are due, 4000 at a time, and deletes
// them.
func BenchmarkDueKeys(b *testing.B) {
	const keys, most = 1_000_000, 4000
	for _, spread := range []int64{1, 1e9, 1e15} {
		for _, remove := range []bool{false, true} {
			b.Run(fmt.Sprintf("spread=%d/delete=%v", spread, remove), func(b *testing.B) {
				ops := benchOps(keys, spread)
				t := New(keys)
				t.Load(ops, 1)
				now, n := base+spread+int64(time.Millisecond), 0
				t.UseClock(func() int64 { return now })
				version := int64(1)
				var sweep DueSweep
				for b.Loop() {
					var due []string
					if remove {
						due = sweep.DueKeys(t, now, most, 1<<20)
					}
					if len(due) == 0 {
						due = t.DueKeys(now, most, 1<<20, nil)
					}
					if n += len(due); !remove {
						continue
					}
					c := Commit{}
					for _, key := range due {
						c.Ops = append(c.Ops, Op{Key: []byte(key), Delete: true})
					}
					version++
					c.Version = version
					t.Apply([]Commit{c})
					if t.Expiring() == 0 {
						b.StopTimer()
						version++
						t.Apply([]Commit{{Ops: ops, Version: version}})
						b.StartTimer()
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/due")
				t.Release()
			})
		}
	}
}

// BenchmarkSetUntil sets new deadlines of a million keys, with rising ones and
// random ones, and plain values.
func BenchmarkSetUntil(b *testing.B) {
	const keys, each = 1_000_000, 1000
	for _, how := range []string{"plain", "rising", "random", "touch"} {
		b.Run(how, func(b *testing.B) {
			spread := int64(1e15)
			if how == "plain" {
				spread = 0
			}
			ops := benchOps(keys, spread)
			t := New(keys)
			t.Load(ops, 1)
			t.UseClock(func() int64 { return base })
			version, n := int64(1), int64(0)
			commits := make([]Commit, each)
			for b.Loop() {
				for i := range commits {
					version++
					op := ops[rand.IntN(keys)]
					switch how {
					case "rising":
						op.Deadline = base + 1e12 + version*1000
					case "random", "touch":
						op.Deadline = base + rand.Int64N(spread)
						op.Touch = how == "touch"
					}
					commits[i] = Commit{Version: version, Ops: append(commits[i].Ops[:0], op)}
				}
				t.Apply(commits)
				n += each
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/write")
			t.Release()
		})
	}
}
