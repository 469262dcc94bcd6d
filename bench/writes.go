package main

import "fmt"

// Workloads that write to an empty store.

// relaxedEvery is more than 1 because reading the clock for each unsynced Set
// would be a tenth of its cost.
const relaxedEvery = 8

var manyWriters = []int{16, 64, 256, 1024}

func writeWorkloads() []workload {
	f2 := workload{
		id: "F2", title: "Durable Set by many goroutines", joins: roles(subject, peer, diskFloor, handoverFloor),
		note: "Each goroutine waits until its write is on disk before it makes the next one. " +
			"The disk floor writes and syncs the writes of all goroutines at once, and does nothing else: " +
			"an engine can be faster only if it starts to write before it syncs. " +
			"The hand-over floor is callers and one writer goroutine that does the same for them.",
	}
	for _, n := range manyWriters {
		f2.parts = append(f2.parts, setPart(n, true))
	}
	return []workload{
		{
			id: "F1", title: "Durable Set by one goroutine",
			joins: roles(subject, peer, lonePeer, diskFloor, handoverFloor),
			note:  "The disk floor overwrites and syncs 4 KiB in the same directory.",
			parts: []part{setPart(1, true)},
		},
		f2,
		{
			id: "F3", title: "Durable batches", joins: roles(subject, peer, diskFloor, handoverFloor),
			note: "A batch is one commit. An operation is a key, but latencies are those of batches. " +
				"The disk floor writes the batches of all goroutines at once.",
			parts: []part{batchPart(100, 1), batchPart(1000, 4)},
		},
		{
			id: "F4", title: "Unsynced Set", joins: roles(subject, peer),
			note: "A write of pebble may still be in the process when it returns; " +
				"the writes of the others have reached the operating system.",
			parts: []part{setPart(1, false), setPart(16, false)},
		},
	}
}

func setCase(goroutines int, durable bool) string {
	if durable {
		return fmt.Sprintf("durable Set by %d", goroutines)
	}
	return fmt.Sprintf("unsynced Set by %d", goroutines)
}

func setPart(goroutines int, durable bool) part {
	name := setCase(goroutines, durable)
	return part{name, func(b *bench, s spec) ([]sample, error) {
		if s.role == diskFloor && goroutines > 1 {
			return one(b.batches(s, name, goroutines, 1))
		}
		keys := b.inOrder(b.keys(manyKeys))
		return one(b.sets(s, setting{
			name: name, keys: keys, goroutines: goroutines, size: valueBytes, durable: durable,
		}))
	}}
}

// setting has the parameters of a run of sets.
type setting struct {
	name             string
	keys             *stream
	goroutines, size int
	durable          bool
}

// sets measures single writes to an empty store. The goroutines begin at
// different places of the stream. A goroutine that reaches its end starts over
// and overwrites.
func (b *bench) sets(s spec, t setting) (out sample, err error) {
	every := 1
	if !t.durable {
		every = relaxedEvery
	}
	err = b.empty(s, t.durable, func(e engine) error {
		m, err := measure(e, load{goroutines: t.goroutines, every: every, worker: func(g int) step {
			return b.setStep(e.set, t.keys, t.keys.start(g, t.goroutines), t.size)
		}}, b.duration)
		if err != nil {
			return err
		}
		out = m.sample(t.name, s)
		if !s.readable() {
			return nil
		}
		return b.verify(e, t.keys, m, t.size, func(g, i int) int {
			return t.keys.at(t.keys.start(g, t.goroutines), i)
		})
	})
	return out, err
}

// setter sets a key in some way.
type setter func(key string, value []byte) error

// setLoad sets keys to the values that they already have.
func (b *bench) setLoad(set setter, keys *stream, goroutines int) load {
	return load{goroutines: goroutines, worker: func(g int) step {
		return b.setStep(set, keys, keys.start(g, goroutines), valueBytes)
	}}
}

func (b *bench) setStep(set setter, keys *stream, start, size int) step {
	return func(i int) (kind, error) {
		p := keys.at(start, i)
		return kindMain, set(keys.keys[p], b.data.value(keys.index[p], size))
	}
}

func batchPart(size, goroutines int) part {
	name := batchCase(size, goroutines)
	return part{name, func(b *bench, s spec) ([]sample, error) {
		return one(b.batches(s, name, size, goroutines))
	}}
}

func batchCase(size, goroutines int) string {
	return fmt.Sprintf("durable batches of %d by %d", size, goroutines)
}

func (b *bench) batches(s spec, name string, size, goroutines int) (out sample, err error) {
	if s.role == diskFloor {
		size, goroutines = size*goroutines, 1
	}
	keys := b.inOrder(max(b.keys(manyKeys), size*goroutines))
	size = min(size, len(keys.keys))
	position := func(g, i int) int {
		p := keys.at(keys.start(g, goroutines), i*size)
		if p+size > len(keys.keys) {
			return 0
		}
		return p
	}
	err = b.empty(s, true, func(e engine) error {
		m, err := measure(e, load{goroutines: goroutines, units: size, worker: func(g int) step {
			values := make([][]byte, size)
			return func(i int) (kind, error) {
				p := position(g, i)
				for k := range values {
					values[k] = b.data.value(keys.index[p+k], valueBytes)
				}
				return kindMain, e.batch(keys.keys[p:p+size], values)
			}
		}}, b.duration)
		if err != nil {
			return err
		}
		out = m.sample(name, s)
		if !s.readable() {
			return nil
		}
		return b.verify(e, keys, m, valueBytes, position)
	})
	return out, err
}

// syncWorkload repeats two parts of F1 and F2, so that -only can select it
// alone.
func syncWorkload() workload {
	return workload{
		id: "F9", title: "Syncs per write", note: "Only engines whose syncs can be counted.",
		joins: func(s spec) bool { return s.countsSyncs },
		parts: []part{setPart(1, true), setPart(64, true)},
	}
}

// sizeTotal limits the bytes of all distinct values of a run with large values.
const sizeTotal = 256 << 20

var valueSizes = []int{16, 128, 1 << 10, 16 << 10, 64 << 10}

func sizeCase(size int) string {
	if size < 1<<10 {
		return fmt.Sprintf("values of %d B", size)
	}
	return fmt.Sprintf("values of %d KiB", size>>10)
}

func sizeWorkload() workload {
	w := workload{
		id: "sizes", title: "Value sizes", joins: roles(subject, peer),
		note: "Durable Set by 64 goroutines.",
	}
	for _, size := range valueSizes {
		w.parts = append(w.parts, part{sizeCase(size), func(b *bench, s spec) ([]sample, error) {
			keys := b.inOrder(min(b.keys(manyKeys), b.keys(sizeTotal/size)))
			return one(b.sets(s, setting{name: sizeCase(size), keys: keys, goroutines: 64, size: size, durable: true}))
		}})
	}
	return w
}
