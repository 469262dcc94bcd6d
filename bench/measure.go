package main

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// kind distinguishes the operations of a mixed workload, because each kind has
// latencies of its own.
type kind int

const (
	kindMain kind = iota
	kindSide
	kinds
)

// step runs the i-th operation of a goroutine.
type step func(i int) (kind, error)

// load is the work of goroutines until the time is over.
type load struct {
	goroutines int
	units      int           // keys in a step; 0 means 1
	pause      time.Duration // after each step, and not in its latency
	worker     func(g int) step

	// every: the latency of one step in every is measured, because reading the
	// clock costs as much as a fast Get. It is a power of two; 0 means 1.
	every int
}

// measured is the result of a run, as counted.
type measured struct {
	steps        []int // by goroutine
	sides        int   // steps of kindSide
	units        int
	elapsed, cpu time.Duration
	hasCPU       bool
	syncs        uint64
	hasSyncs     bool
	latency      [kinds]*hdrhistogram.Histogram // nanoseconds
}

// measure runs l on e for the time d.
func measure(e engine, l load, d time.Duration) (measured, error) {
	return measureDuring(e, l, func() error {
		time.Sleep(d)
		return nil
	})
}

// measureDuring runs l on e until meanwhile returns. The goroutines share only
// the flag that stops them, which is written once.
func measureDuring(e engine, l load, meanwhile func() error) (measured, error) {
	if c, ok := e.(crowdPreparer); ok {
		if err := c.prepareCrowd(l.goroutines); err != nil {
			return measured{}, err
		}
	}
	var stop atomic.Bool
	workers := make([]*worker, l.goroutines)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for g := range workers {
		w := &worker{step: l.worker(g), mask: max(1, l.every) - 1, pause: l.pause}
		w.latency[kindMain] = newHistogram() // here, so that no first step has to allocate it
		workers[g] = w
		wg.Go(func() {
			<-start
			w.run(&stop)
		})
	}
	runtime.GC() // the garbage of earlier measurements must not be collected during this one
	syncs, hasSyncs := syncsOf(e)
	cpu, hasCPU := cpuTime()
	began := time.Now()
	close(start)
	failed := meanwhile()
	stop.Store(true)
	wg.Wait()
	m := measured{elapsed: time.Since(began), units: max(1, l.units), hasCPU: hasCPU, hasSyncs: hasSyncs}
	after, _ := cpuTime()
	m.cpu = after - cpu
	now, _ := syncsOf(e)
	m.syncs = now - syncs
	return m, errors.Join(failed, m.gather(workers))
}

// gather adds up the goroutines' counts and joins their errors.
func (m *measured) gather(workers []*worker) error {
	var failed []error
	for _, w := range workers {
		m.steps = append(m.steps, w.done[kindMain]+w.done[kindSide])
		m.sides += w.done[kindSide]
		failed = append(failed, w.err)
		for k, h := range w.latency {
			if h == nil {
				continue
			}
			if m.latency[k] == nil {
				m.latency[k] = newHistogram()
			}
			m.latency[k].Merge(h)
		}
	}
	return errors.Join(failed...)
}

func syncsOf(e engine) (uint64, bool) {
	if c, ok := e.(syncCounter); ok {
		return c.syncs(), true
	}
	return 0, false
}

// worker is one goroutine's part of a measurement. Only that goroutine uses it
// until it has ended.
type worker struct {
	step    step
	mask    int // the latency of step i is measured if i&mask is 0
	pause   time.Duration
	done    [kinds]int
	err     error
	latency [kinds]*hdrhistogram.Histogram // nanoseconds
}

// run makes at least one step, and goes on until stop is set. After an error it
// sets stop itself, so that the other goroutines end too.
func (w *worker) run(stop *atomic.Bool) {
	for i := 0; i == 0 || !stop.Load(); i++ {
		if i&w.mask != 0 {
			k, err := w.step(i)
			if err != nil {
				w.fail(stop, err)
				return
			}
			w.done[k]++
			continue
		}
		began := time.Now()
		k, err := w.step(i)
		took := time.Since(began)
		if err != nil {
			w.fail(stop, err)
			return
		}
		w.done[k]++
		if w.latency[k] == nil {
			w.latency[k] = newHistogram()
		}
		if err := w.latency[k].RecordValue(took.Nanoseconds()); err != nil {
			w.fail(stop, err)
			return
		}
		if w.pause > 0 {
			time.Sleep(w.pause)
		}
	}
}

func (w *worker) fail(stop *atomic.Bool, err error) {
	w.err = err
	stop.Store(true)
}

// keys is the number of keys that were read or written.
func (m measured) keys() int {
	sum := 0
	for _, n := range m.steps {
		sum += n
	}
	return sum * m.units
}

// sample returns m for the report.
func (m measured) sample(name string, s spec) sample {
	ops := m.keys()
	seconds := m.elapsed.Seconds()
	out := sample{Case: name, Unit: unitOps, Value: float64(ops) / seconds, Ops: ops, Seconds: seconds}
	if ops == 0 {
		return out
	}
	if m.hasCPU && !s.otherProcess {
		out.CPU = new(float64(m.cpu.Microseconds()) / float64(ops))
	}
	if m.hasSyncs {
		out.Syncs = new(float64(m.syncs) / float64(ops))
	}
	out.Latency = latencyOf(m.latency[kindMain])
	return out
}

// sidesSample has only the operations of kindSide, mainsSample only the others.
func (m measured) sidesSample(name string) sample { return m.kindSample(name, kindSide, m.sides) }

func (m measured) mainsSample(name string) sample {
	return m.kindSample(name, kindMain, m.keys()-m.sides*m.units)
}

func (m measured) kindSample(name string, k kind, ops int) sample {
	return sample{
		Case: name, Unit: unitOps, Value: float64(ops) / m.elapsed.Seconds(), Ops: ops, Seconds: m.elapsed.Seconds(),
		Latency: latencyOf(m.latency[k]),
	}
}

// newHistogram is for nanoseconds up to an hour. Its values are at most 1 % too
// high.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Hour.Nanoseconds(), 2) }

func latencyOf(h *hdrhistogram.Histogram) *latency {
	if h == nil || h.TotalCount() == 0 {
		return nil
	}
	at := func(percentile float64) float64 { return micros(time.Duration(h.ValueAtPercentile(percentile))) }
	return &latency{P50: at(50), P99: at(99), P999: at(99.9), Max: micros(time.Duration(h.Max()))}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
