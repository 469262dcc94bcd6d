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
	valueBytes = 128 // if a workload does not say otherwise

	groupKeys   = 100
	prefixBytes = 12

	// poolBytes are cut into values at any offset: more than fits between two equal ones in the window of a compressor.
	poolBytes = 1 << 20

	// zipfS and zipfV give the skew: the first of a million keys gets about a twelfth of all accesses.
	zipfS, zipfV = 1.1, 1
)

// data is keys and values, all from one seed: key i has always the same name and, for one size, the same value, so that what is
// read can be compared with what was written, whoever wrote it last.
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

// key returns the name of key i. Their order is not that of i, and no two are equal: mixing is a bijection.
func (d *data) key(i int) string {
	var number [8]byte
	var text [keyBytes]byte
	binary.BigEndian.PutUint64(number[:], mix(uint64(i)+d.seed))
	hex.Encode(text[:], number[:])
	return string(text[:])
}

// groupKey names key i so that groupKeys of them each begin with the same prefix, which no others do.
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

// stream is a sequence of keys, prepared before the clock runs: names that follow each other in memory, so that what is measured is
// not how long the benchmark looks for them.
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

// inOrder is n keys in the order of their numbers, from first on. That says nothing about the order of their names.
func (d *data) inOrder(first, n int) *stream {
	index := make([]int, n)
	for i := range index {
		index[i] = first + i
	}
	return d.newStream(index)
}

// uniform is length keys out of n.
func (d *data) uniform(n, length int) *stream {
	random := d.rand(1)
	index := make([]int, length)
	for i := range index {
		index[i] = random.IntN(n)
	}
	return d.newStream(index)
}

// zipf is length keys out of n, some of them far more often than others.
func (d *data) zipf(n, length int) *stream {
	zipf := rand.NewZipf(d.rand(2), zipfS, zipfV, uint64(n-1))
	index := make([]int, length)
	for i := range index {
		index[i] = int(zipf.Uint64())
	}
	return d.newStream(index)
}

// start is where goroutine g of several begins in the stream.
func (s *stream) start(g, goroutines int) int { return g * (len(s.index) / goroutines) % len(s.index) }

// at is the position of step i from start on.
func (s *stream) at(start, i int) int { return (start + i) % len(s.index) }

// from returns the names one after the other, without a division for each.
func (s *stream) from(position int) (next func() string) {
	return func() string {
		key := s.keys[position]
		if position++; position == len(s.keys) {
			position = 0
		}
		return key
	}
}

// window returns n positions' keys in one piece, which at the end of the stream means from its beginning.
func (s *stream) window(position, n int) []string {
	if position+n > len(s.keys) {
		position = 0
	}
	return s.keys[position : position+n]
}

// load writes n keys in batches; key names them.
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
