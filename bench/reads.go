package main

import "fmt"

// Workloads that read from a full store.

const (
	multiGetKeys = 64

	// readEvery is more than 1 because reading the clock takes a tenth of the
	// time of a Get.
	readEvery = 16

	mixedGoroutines = 64
	mixedEvery      = 4
	mixedSetEvery   = 20 // one operation in 20 is a Set: 5 %
)

func readWorkloads() []workload {
	return []workload{
		{
			id: "F5", title: "Get of 1 M keys", joins: roles(subject, peer, memoryFloor),
			note: "Random keys, copied values; an operation is a key. Each engine first reads an eighth of the keys. " +
				"MultiGet is one call for 64 keys: a transaction, or MGET.",
			parts: []part{{"Get", runGets}},
		},
		{
			id: "F6", title: "95 % Get, 5 % durable Set by 64 goroutines", joins: roles(subject, peer),
			note:  "Random keys out of 1 M. The latencies in the first table are those of Get.",
			parts: []part{{"mixed", runMixed}},
		},
	}
}

const (
	caseGet       = "Get"
	caseAppendGet = "AppendGet"
	caseMultiGet  = "MultiGet of 64"
)

func by(name string, goroutines int) string { return fmt.Sprintf("%s by %d", name, goroutines) }

// runGets measures each way of reading that the engine has.
func runGets(b *bench, s spec) (samples []sample, err error) {
	n := b.keys(manyKeys)
	keys := b.uniform(n)
	err = b.full(s, n, false, false, func(e engine) error {
		if err := b.readBack(e, n, warmStride); err != nil {
			return err
		}
		for _, goroutines := range []int{1, 2} {
			for _, l := range []struct {
				name string
				load load
				can  bool
			}{
				{caseGet, getLoad(e, keys, goroutines), true},
				{caseAppendGet, appendGetLoad(e, keys, goroutines), is[appendGetter](e)},
				{caseMultiGet, multiGetLoad(e, keys, goroutines), is[multiGetter](e)},
			} {
				if !l.can {
					continue
				}
				m, err := measure(e, l.load, b.duration)
				if err != nil {
					return err
				}
				samples = append(samples, m.sample(by(l.name, goroutines), s))
			}
		}
		return nil
	})
	return samples, err
}

func is[T any](e engine) bool {
	_, ok := e.(T)
	return ok
}

// checkLength is the only check that is cheap enough for each read. Because of
// it the compiler cannot leave out a read.
func checkLength(got, want int) error {
	if got != want {
		return fmt.Errorf("read %d bytes instead of %d", got, want)
	}
	return nil
}

func getLoad(e engine, keys *stream, goroutines int) load {
	return load{goroutines: goroutines, every: readEvery, worker: func(g int) step {
		next := keys.from(keys.start(g, goroutines))
		return func(int) (kind, error) {
			value, err := e.get(next())
			if err != nil {
				return kindMain, err
			}
			return kindMain, checkLength(len(value), valueBytes)
		}
	}}
}

func appendGetLoad(e engine, keys *stream, goroutines int) load {
	return load{goroutines: goroutines, every: readEvery, worker: func(g int) step {
		next := keys.from(keys.start(g, goroutines))
		buffer := make([]byte, 0, valueBytes)
		reader := e.(appendGetter)
		return func(int) (kind, error) {
			value, err := reader.appendGet(buffer, next())
			if err != nil {
				return kindMain, err
			}
			return kindMain, checkLength(len(value), valueBytes)
		}
	}}
}

func multiGetLoad(e engine, keys *stream, goroutines int) load {
	return load{goroutines: goroutines, units: multiGetKeys, worker: func(g int) step {
		at := keys.start(g, goroutines)
		reader := e.(multiGetter)
		return func(i int) (kind, error) {
			values, err := reader.multiGet(keys.window(keys.at(at, i*multiGetKeys), multiGetKeys))
			if err != nil {
				return kindMain, err
			}
			total := 0
			for _, value := range values {
				total += len(value)
			}
			return kindMain, checkLength(total, multiGetKeys*valueBytes)
		}
	}}
}

const (
	caseMixed    = "95 % Get, 5 % durable Set by 64"
	caseMixedSet = "the Sets in it"
)

func runMixed(b *bench, s spec) (samples []sample, err error) {
	n := b.keys(manyKeys)
	keys := b.uniform(n)
	err = b.full(s, n, true, true, func(e engine) error {
		if err := b.readBack(e, n, warmStride); err != nil {
			return err
		}
		m, err := measure(e, b.mixedLoad(e, keys), b.duration)
		if err != nil {
			return err
		}
		samples = append(samples, m.sample(caseMixed, s))
		if m.sides > 0 {
			samples = append(samples, m.sidesSample(caseMixedSet))
		}
		return b.readBack(e, n, checkStride) // a Set writes the value that the key already has
	})
	return samples, err
}

// mixedLoad lets the goroutines begin at different points of the cycle, so that
// they do not all write at once.
func (b *bench) mixedLoad(e engine, keys *stream) load {
	return load{goroutines: mixedGoroutines, every: mixedEvery, worker: func(g int) step {
		start := keys.start(g, mixedGoroutines)
		return func(i int) (kind, error) {
			p := keys.at(start, i)
			if (i+g)%mixedSetEvery == 0 {
				return kindSide, e.set(keys.keys[p], b.data.value(keys.index[p], valueBytes))
			}
			value, err := e.get(keys.keys[p])
			if err != nil {
				return kindMain, err
			}
			return kindMain, checkLength(len(value), valueBytes)
		}
	}}
}

const (
	caseZipfGet = "Get by 2, Zipf keys"
	caseZipfSet = "durable Set by 64, Zipf keys"
)

func zipfWorkload() workload {
	return workload{
		id: "zipf", title: "Skewed keys", joins: roles(subject, peer),
		note: fmt.Sprintf("1 M keys, Zipf distribution with s = %v.", zipfS),
		parts: []part{
			{caseZipfGet, func(b *bench, s spec) ([]sample, error) {
				return one(b.zipfGets(s))
			}},
			{caseZipfSet, func(b *bench, s spec) ([]sample, error) {
				return one(b.sets(s, setting{
					name: caseZipfSet, keys: b.zipf(b.keys(manyKeys)), goroutines: 64, size: valueBytes, durable: true,
				}))
			}},
		},
	}
}

func (b *bench) zipfGets(s spec) (out sample, err error) {
	n := b.keys(manyKeys)
	err = b.full(s, n, false, false, func(e engine) error {
		if err := b.readBack(e, n, warmStride); err != nil {
			return err
		}
		m, err := measure(e, getLoad(e, b.zipf(n), 2), b.duration)
		out = m.sample(caseZipfGet, s)
		return err
	})
	return out, err
}
