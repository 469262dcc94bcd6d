package table

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkGet reads keys of a million, one by one and many at once.
func BenchmarkGet(b *testing.B) {
	const keys, each = 1_000_000, 64
	t := New(keys)
	ops, names := make([]Op, keys), make([]string, keys)
	for i, n := range rand.New(rand.NewPCG(1, 1)).Perm(keys) {
		names[i] = fmt.Sprintf("key %012d", n)
		ops[i] = Op{Key: []byte(names[i]), Value: make([]byte, 128)}
	}
	t.Load(ops, 1)
	b.Run("one", func(b *testing.B) {
		dst := make([]byte, 0, 200)
		for b.Loop() {
			dst, _ = t.Get(dst[:0], names[rand.IntN(keys)])
		}
	})
	b.Run("many", func(b *testing.B) {
		values := make([][]byte, each)
		for b.Loop() {
			at := rand.IntN(keys - each)
			clear(values)
			t.MultiGet(values, names[at:at+each])
		}
	})
	t.Release()
}
