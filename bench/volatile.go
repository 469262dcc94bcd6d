package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// This file measures what deadlines cost before keys fall due.

const (
	volatileOpenKeys = 10_000_000

	setForGoroutines = 64
	setForTTL        = time.Hour

	// besideShare is what plain keys must keep of their rate beside volatile
	// ones: no cost can be told from the noise.
	besideShare = 0.95

	caseVolatileOpen = "open of 10 M volatile keys"
	casePlainOpen    = "open of 10 M plain keys"
	caseDeadline     = "memory of a deadline"
	caseSetForRate   = "SetFor beside Set"
	caseExpireRate   = "Expire beside Set"
)

// inTurns are measurements of a store without volatile keys (false) and of one
// that has them. The order is so that a slow change of the machine's speed
// affects both alike.
var inTurns = []bool{false, true, true, false}

func volatileParts() []part {
	return []part{
		{"SetFor", runSetFor},
		{"Get and Set beside volatile keys", runBeside(false)},
		{"durable Set beside volatile keys", runBeside(true)},
		{"open", runVolatileOpen},
		{"memory", runDeadlineMemory},
	}
}

func volatileSetCase(name string) string {
	return fmt.Sprintf("durable %s by %d", name, setForGoroutines)
}

// runSetFor measures each kind of write on a new store of the same keys.
func runSetFor(b *bench, s spec) (samples []sample, err error) {
	set, err := b.overwrites(s, "Set", func(e engine) setter { return e.set })
	if err != nil {
		return nil, err
	}
	setFor, err := b.overwrites(s, "SetFor", func(e engine) setter {
		return func(key string, value []byte) error { return e.(expirer).setFor(key, value, setForTTL) }
	})
	if err != nil {
		return nil, err
	}
	samples = []sample{set, setFor, rateOver(caseSetForRate, setFor, set)}
	if s.noTouch != "" {
		return append(samples, sample{Case: volatileSetCase("Expire"), Unit: unitOps, Note: s.noTouch}), nil
	}
	expire, err := b.overwrites(s, "Expire", func(e engine) setter {
		return func(key string, _ []byte) error { return e.(toucher).expire(key, time.Now().Add(setForTTL)) }
	})
	return append(samples, expire, rateOver(caseExpireRate, expire, set)), err
}

// rateOver is the ratio of the rates of two cases.
func rateOver(name string, a, b sample) sample {
	return sample{Case: name, Unit: unitRate, Value: a.Value / b.Value}
}

// overwrites measures durable writes to plain keys.
func (b *bench) overwrites(s spec, name string, of func(e engine) setter) (out sample, err error) {
	keys := b.inOrder(b.keys(plainKeys))
	err = b.empty(s, true, func(e engine) error {
		if err := b.data.load(e, len(keys.keys), loadBatch, b.data.key); err != nil {
			return err
		}
		m, err := measure(e, b.setLoad(of(e), keys, setForGoroutines), b.duration)
		if err != nil {
			return err
		}
		out = m.sample(volatileSetCase(name), s)
		return b.readBack(e, len(keys.keys), checkStride)
	})
	return out, err
}

func besideCase(what string, volatile bool) string {
	if volatile {
		return what + ", 1 M plain and 1 M volatile keys"
	}
	return what + ", 2 M plain keys"
}

// runBeside measures plain keys of a store that has volatile ones beside those
// of a store that has none.
func runBeside(durable bool) func(*bench, spec) ([]sample, error) {
	return func(b *bench, s spec) (samples []sample, err error) {
		if s.role != subject {
			return nil, nil
		}
		n := b.keys(volatileKeys)
		filled, err := b.fillVolatile(s, n, n)
		if err != nil {
			return nil, err
		}
		err = b.full(s, 2*n, durable, true, func(plain engine) error {
			return b.onCopy(s, filled, durable, func(volatile engine) error {
				samples, err = b.beside(s, n, durable, plain, volatile)
				return err
			})
		})
		return samples, err
	}
}

func (b *bench) beside(s spec, n int, durable bool, plain, volatile engine) (samples []sample, err error) {
	for _, e := range []engine{plain, volatile} {
		if err := b.readBack(e, n, warmStride); err != nil {
			return nil, err
		}
	}
	for _, what := range besideLoads(durable) {
		for _, hasVolatile := range inTurns {
			e := plain
			if hasVolatile {
				e = volatile
			}
			m, err := measure(e, what.load(b, e, b.uniform(n)), b.duration/2)
			if err != nil {
				return nil, err
			}
			samples = append(samples, m.sample(besideCase(what.name, hasVolatile), s))
		}
	}
	return samples, errors.Join(b.readBack(plain, n, checkStride), b.readBack(volatile, n, checkStride))
}

// besideLoad is a load on plain keys.
type besideLoad struct {
	name string
	load func(b *bench, e engine, keys *stream) load
}

// besideDurable is the name of the only load on a durable store.
var besideDurable = setCase(64, true)

var besideRelaxed = []string{by(caseGet, 1), setCase(1, false)}

func besideLoads(durable bool) []besideLoad {
	if durable {
		return []besideLoad{{besideDurable, func(b *bench, e engine, keys *stream) load {
			return b.setLoad(e.set, keys, 64)
		}}}
	}
	return []besideLoad{
		{besideRelaxed[0], func(_ *bench, e engine, keys *stream) load { return getLoad(e, keys, 1) }},
		{besideRelaxed[1], func(b *bench, e engine, keys *stream) load {
			l := b.setLoad(e.set, keys, 1)
			l.every = relaxedEvery
			return l
		}},
	}
}

func runVolatileOpen(b *bench, s spec) (samples []sample, err error) {
	if s.role != subject {
		return nil, nil
	}
	n := b.keys(volatileOpenKeys)
	plain, err := b.fill(s, n)
	if err != nil {
		return nil, err
	}
	volatile, err := b.fillBy(s, fmt.Sprintf("all-volatile-%s-%d", s.name, n), func(e engine) error {
		return b.data.loadUntil(e, keyRange{0, n}, valueBytes, inFuture(volatileFor))
	})
	if err != nil {
		return nil, err
	}
	for _, isVolatile := range inTurns {
		dir, name := plain, casePlainOpen
		if isVolatile {
			dir, name = volatile, caseVolatileOpen
		}
		opened, err := b.open(s, dir, n, name, "")
		if err != nil {
			return nil, err
		}
		samples = append(samples, opened...)
		runtime.GC()
	}
	return samples, nil
}

// runDeadlineMemory compares two processes.
func runDeadlineMemory(b *bench, s spec) ([]sample, error) {
	if s.noSweep != "" {
		return []sample{{Case: caseDeadline, Unit: unitBytes, Note: "keeps its keys in files"}}, nil
	}
	n := b.keys(memoryKeys)
	plain, _, err := b.memory(childJob{Engine: s.name, Keys: n})
	if err != nil {
		return nil, err
	}
	volatile, _, err := b.memory(childJob{Engine: s.name, Keys: n, Volatile: true})
	return []sample{{Case: caseDeadline, Unit: unitBytes, Value: volatile - plain}}, err
}
