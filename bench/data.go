package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
)

const (
	keyBytes   = 16
	valueBytes = 128 // unless a workload states another size

	groupKeys   = 100
	prefixBytes = 12

	// Values are pieces of a pool of poolBytes, at any offset. Two equal values
	// are usually farther apart than the window of a compressor.
	poolBytes = 1 << 20

	// zipfS and zipfV set the skew: of a million keys, the first gets about a
	// twelfth of all accesses.
	zipfS, zipfV = 1.1, 1
)

// data generates keys and values from a seed. Key i always has the same name
// and, for a given size, the same value. So a read can be compared with what
// was written, no matter which goroutine wrote last.
type data struct {
	seed uint64
	pool []byte
}

func newData(seed uint64) *data {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	d := &data{seed: seed, pool: make([]byte, poolBytes+64<<10)}
	random := rand.NewChaCha8(key)
	for at := 0; at < len(d.pool); at += 8 {
		binary.LittleEndian.PutUint64(d.pool[at:], random.Uint64())
	}
	return d
}

func (d *data) rand(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(d.seed, stream)) }

// key returns the name of key i. The order of names is not the order of
// numbers, and no two names are equal, because mix is a bijection.
func (d *data) key(i int) string {
	var number [8]byte
	var text [keyBytes]byte
	binary.BigEndian.PutUint64(number[:], mix(uint64(i)+d.seed))
	hex.Encode(text[:], number[:])
	return string(text[:])
}

// groupKey names key i so that the keys form groups of groupKeys. The keys of a
// group share a prefix that no other key has.
func (d *data) groupKey(i int) string {
	return fmt.Sprintf("%s%0*d", d.groupPrefix(i/groupKeys), keyBytes-prefixBytes, i%groupKeys)
}

func (d *data) groupPrefix(group int) string { return d.key(group)[:prefixBytes] }

func (d *data) value(i, size int) []byte {
	at := mix(uint64(i)^d.seed) % poolBytes
	return d.pool[at : at+uint64(size) : at+uint64(size)]
}

// mix is the finalizer of SplitMix64.
func mix(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// stream is a sequence of keys that is prepared before the clock runs. The
// names follow each other in memory, so that the time to find them is not
// measured.
type stream struct {
	index []int
	keys  []string
}

func (d *data) newStream(index []int) *stream {
	var names strings.Builder
	names.Grow(len(index) * keyBytes)
	for _, i := range index {
		names.WriteString(d.key(i))
	}
	s := &stream{index: index, keys: make([]string, len(index))}
	all := names.String()
	for i := range s.keys {
		s.keys[i] = all[i*keyBytes : (i+1)*keyBytes]
	}
	return s
}

// inOrder is n keys in the order of their numbers, beginning with first. Their
// names are in no order.
func (d *data) inOrder(first, n int) *stream {
	index := make([]int, n)
	for i := range index {
		index[i] = first + i
	}
	return d.newStream(index)
}

// uniform is length random keys out of n.
func (d *data) uniform(n, length int) *stream {
	random := d.rand(1)
	index := make([]int, length)
	for i := range index {
		index[i] = random.IntN(n)
	}
	return d.newStream(index)
}

// zipf is length random keys out of n with a Zipf distribution.
func (d *data) zipf(n, length int) *stream {
	zipf := rand.NewZipf(d.rand(2), zipfS, zipfV, uint64(n-1))
	index := make([]int, length)
	for i := range index {
		index[i] = int(zipf.Uint64())
	}
	return d.newStream(index)
}

// start is the position at which goroutine g of several begins.
func (s *stream) start(g, goroutines int) int { return g * (len(s.index) / goroutines) % len(s.index) }

// at is the position of step i, counted from start.
func (s *stream) at(start, i int) int { return (start + i) % len(s.index) }

// from returns the names one after the other, without a division for each name.
func (s *stream) from(position int) (next func() string) {
	return func() string {
		key := s.keys[position]
		if position++; position == len(s.keys) {
			position = 0
		}
		return key
	}
}

// window returns n consecutive keys. If fewer than n are left, it starts over.
func (s *stream) window(position, n int) []string {
	if position+n > len(s.keys) {
		position = 0
	}
	return s.keys[position : position+n]
}

// load writes n keys in batches. key returns their names.
func (d *data) load(e engine, n, batch int, key func(i int) string) error {
	keys, values := make([]string, 0, batch), make([][]byte, 0, batch)
	for i := range n {
		keys, values = append(keys, key(i)), append(values, d.value(i, valueBytes))
		if len(keys) < batch && i+1 < n {
			continue
		}
		if err := e.batch(keys, values); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		keys, values = keys[:0], values[:0]
	}
	return nil
}
