package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// This file has the workload of volatile keys, which are keys with a deadline,
// and measures what happens when they fall due. volatile.go measures what they
// cost before.

const (
	volatileKeys = 1_000_000

	// volatileFor is how far ahead a deadline is that must not pass: a loaded
	// store is used in all rounds of a session.
	volatileFor = 7 * 24 * time.Hour

	// lagKeys fall due one after the other, one each lagStep.
	lagKeys = 1000
	lagStep = time.Millisecond

	// minLagLead is the time for setting these keys before the first of them is
	// due. It is longer if measurements are.
	minLagLead = 500 * time.Millisecond

	// lagPoll and sweepPoll are how often an engine is asked how many keys it
	// has deleted.
	lagPoll   = 500 * time.Microsecond
	sweepPoll = 2 * time.Millisecond

	// To find out how long loading takes, one key in trialShare is loaded
	// first. The others may take loadFactor times as long, and loadSlack.
	trialShare = 10
	loadFactor = 4
	loadSlack  = 500 * time.Millisecond

	// An engine may take patienceRuns times the duration of a measurement to
	// delete keys, and at least minPatience: BuntDB begins once a second.
	patienceRuns = 5
	minPatience  = 2 * time.Second

	dueValueBytes = 16
	plainKeys     = 100_000 // that the callers set

	caseIdle = "deletion of 1 M due keys, nobody calls"
)

// dueMillions are how many million keys fall due at once. The peers take part
// in the first case only.
var dueMillions = []int{1, 10}

var (
	lagCallers = []int{0, 16}
	dueCallers = []int{1, 64}
)

func lagCase(callers int) string {
	if callers == 0 {
		return "p99 from deadline to deletion, nobody calls"
	}
	return fmt.Sprintf("p99 from deadline to deletion, beside Set by %d", callers)
}

func dueCase(millions, callers int, what string) string {
	return fmt.Sprintf("%d M keys due at once, %s: %s", millions, setCase(callers, true), what)
}

// What dueCase measures.
const (
	dueBefore = "before"
	dueDuring = "meanwhile"
	dueSwept  = "keys deleted"
	dueRate   = "meanwhile beside before, rate"
	dueDelay  = "meanwhile beside before, p99"
)

func expiryWorkload() workload {
	w := workload{
		id: "expiry", title: "Keys that fall due", note: expiryNote(),
		joins: func(s spec) bool { return s.expires },
	}
	for _, callers := range lagCallers {
		w.parts = append(w.parts, lagPart(callers))
	}
	w.parts = append(w.parts, part{"idle", runIdle})
	for _, millions := range dueMillions {
		for _, callers := range dueCallers {
			w.parts = append(w.parts, duePart(millions, callers))
		}
	}
	w.parts = append(w.parts, volatileParts()...)
	return w
}

func expiryNote() string {
	return "A volatile key has a deadline. Every engine hides it from readers at the deadline, " +
		"but these figures are about the moment when it is deleted and its memory is free. " +
		"kvstore tells that by `Stats().Expiring`, Redis by the number of keys with a deadline (`INFO keyspace`), " +
		"and BuntDB by `Len`, which counts hidden keys too. " +
		"BuntDB deletes once a second, in one transaction; Redis runs with its default `hz 10`. " +
		"badger hides keys and drops them in compactions, at no moment of its own, so it has no such figures. " +
		"The p99 from deadline to deletion is that of 1000 keys, one due each millisecond, " +
		"beside 1 M other volatile keys. " +
		"The n-th key that an engine deletes counts for the n-th deadline, whichever key it is: " +
		"the true p99 of Redis is higher, because Redis deletes in no order. " +
		fmt.Sprintf("Engines have %d times `-time` to delete the keys, and at least %v. ", patienceRuns, minPatience) +
		"For the p99, a key that is still there counts as deleted at the end of that time. " +
		"Keys that are due at once have 16 B, and values of 16 B; only kvstore runs with 10 M of them. " +
		"Plain keys beside volatile ones: two open stores of kvstore in turns, with the same 2 M keys. " +
		"In one store half of them are volatile. Files that are opened are in the page cache. " +
		"The memory of a deadline is the difference in resident memory, for each key, " +
		"of two processes that have loaded 5 M keys; for Redis it is that in `used_memory`."
}

// keyRange is the keys from first to first+n-1.
type keyRange struct{ first, n int }

// inFuture returns a deadline for all keys, d from now.
func inFuture(d time.Duration) func(int) time.Time { return always(time.Now().Add(d)) }

func always(deadline time.Time) func(int) time.Time {
	return func(int) time.Time { return deadline }
}

// loadUntil is load for volatile keys. deadline returns the deadline of a key,
// counted from the first.
func (d *data) loadUntil(e engine, keys keyRange, size int, deadline func(i int) time.Time) error {
	names, values := make([]string, 0, loadBatch), make([][]byte, 0, loadBatch)
	deadlines := make([]time.Time, 0, loadBatch)
	for i := range keys.n {
		k := keys.first + i
		names, values = append(names, d.key(k)), append(values, d.value(k, size))
		deadlines = append(deadlines, deadline(i))
		if len(names) < loadBatch && i+1 < keys.n {
			continue
		}
		if err := e.(expirer).batchUntil(names, values, deadlines); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		names, values, deadlines = names[:0], values[:0], deadlines[:0]
	}
	return nil
}

// sweep observes how an engine deletes keys that fall due.
type sweep struct {
	engine  sweeper
	keys    int
	before  int       // undeleted, before the first key was due
	last    time.Time // deadline of the last key
	giveUp  time.Time
	deleted int       // of the keys
	end     time.Time // when the last of them was found deleted, or giveUp
}

// sweepOf is for n keys that have been set and are not due yet.
func (b *bench) sweepOf(e engine, n int, last time.Time) (*sweep, error) {
	patience := max(minPatience, patienceRuns*b.duration)
	s := &sweep{engine: e.(sweeper), keys: n, last: last, giveUp: last.Add(patience)}
	var err error
	s.before, err = s.engine.undeleted()
	return s, err
}

// await asks the engine every interval, until all keys are deleted or it is
// time to give up. It passes to seen how many keys were deleted before and now;
// seen may be nil.
func (s *sweep) await(every time.Duration, seen func(from, to int, at time.Time)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	s.end = s.giveUp
	for s.deleted < s.keys && time.Now().Before(s.giveUp) {
		<-ticker.C
		left, err := s.engine.undeleted()
		if err != nil {
			return err
		}
		deleted, at := s.before-left, time.Now()
		if deleted > s.keys {
			return fmt.Errorf("%d keys were deleted instead of %d", deleted, s.keys)
		}
		if seen != nil && deleted > s.deleted {
			seen(s.deleted, deleted, at)
		}
		if s.deleted = deleted; deleted == s.keys {
			s.end = at
		}
	}
	return nil
}

// sample is the rate of deletions.
func (s *sweep) sample(name string) sample {
	took := s.end.Sub(s.last).Seconds()
	return sample{Case: name, Unit: unitKeys, Value: float64(s.deleted) / took, Ops: s.deleted, Seconds: took}
}

// fillVolatile returns the directory of a closed store of plain keys, followed
// by volatile ones.
func (b *bench) fillVolatile(s spec, plain, volatile int) (string, error) {
	name := fmt.Sprintf("volatile-%s-%d-%d", s.name, plain, volatile)
	return b.fillBy(s, name, func(e engine) error {
		if err := b.data.load(e, plain, loadBatch, b.data.key); err != nil {
			return err
		}
		return b.data.loadUntil(e, keyRange{plain, volatile}, valueBytes, inFuture(volatileFor))
	})
}

func lagPart(callers int) part {
	name := lagCase(callers)
	return part{name, func(b *bench, s spec) ([]sample, error) {
		if s.noSweep != "" {
			return []sample{{Case: name, Unit: unitMilli, Note: s.noSweep}}, nil
		}
		return one(b.lag(s, name, callers))
	}}
}

func (b *bench) lag(s spec, name string, callers int) (out sample, err error) {
	plain, volatile := b.keys(plainKeys), b.keys(volatileKeys)
	filled, err := b.fillVolatile(s, plain, volatile)
	if err != nil {
		return out, err
	}
	err = b.onCopy(s, filled, true, func(e engine) error {
		lags := newHistogram()
		observe := func() error { return b.observeLags(e, plain+volatile, lags) }
		if callers == 0 {
			runtime.GC()
			err = observe()
		} else {
			_, err = measureDuring(e, b.setLoad(e.set, b.inOrder(plain), callers), observe)
		}
		if err != nil {
			return err
		}
		found := latencyOf(lags)
		out = sample{Case: name, Unit: unitMilli, Value: found.P99 / 1e3, Ops: int(lags.TotalCount()), Latency: found}
		return b.readBack(e, plain, checkStride)
	})
	return out, err
}

// observeLags sets keys that fall due one after the other, from key first on,
// and records how long after its deadline each of them is deleted.
func (b *bench) observeLags(e engine, first int, lags *hdrhistogram.Histogram) error {
	n := b.keys(lagKeys)
	begin := time.Now().Add(max(minLagLead, b.duration)).Truncate(time.Millisecond)
	due := func(i int) time.Time { return begin.Add(time.Duration(i) * lagStep) }
	if err := b.data.loadUntil(e, keyRange{first, n}, valueBytes, due); err != nil {
		return err
	}
	s, err := b.sweepOf(e, n, due(n-1))
	if err != nil {
		return err
	}
	if err := notYet(begin); err != nil {
		return err
	}
	record := func(from, to int, at time.Time) {
		for i := from; i < to; i++ {
			err = errors.Join(err, lags.RecordValue(max(0, at.Sub(due(i))).Nanoseconds()))
		}
	}
	err = errors.Join(s.await(lagPoll, record), err)
	record(s.deleted, n, s.giveUp)
	return err
}

// notYet returns an error if the deadline has passed, because keys may have
// been deleted before they were counted.
func notYet(deadline time.Time) error {
	if late := time.Since(deadline); late >= 0 {
		return fmt.Errorf("setting the keys took %v longer than planned", late)
	}
	return nil
}

// loadDue loads n keys that all fall due at once, and not before the time d is
// over after they are loaded. It overwrites those keys with which it has tried
// out how long loading takes.
func (b *bench) loadDue(e engine, keys keyRange, d time.Duration) (deadline time.Time, err error) {
	began := time.Now()
	trial := keyRange{keys.first, max(1, keys.n/trialShare)}
	if err := b.data.loadUntil(e, trial, dueValueBytes, inFuture(volatileFor)); err != nil {
		return deadline, err
	}
	takes := loadFactor * trialShare * time.Since(began)
	deadline = time.Now().Add(takes + loadSlack + d).Truncate(time.Millisecond)
	return deadline, b.data.loadUntil(e, keys, dueValueBytes, always(deadline))
}

func runIdle(b *bench, s spec) ([]sample, error) {
	if s.noSweep != "" {
		return []sample{{Case: caseIdle, Unit: unitKeys, Note: s.noSweep}}, nil
	}
	return one(b.idle(s))
}

func (b *bench) idle(s spec) (out sample, err error) {
	err = b.empty(s, true, func(e engine) error {
		keys := keyRange{0, b.keys(volatileKeys)}
		deadline, err := b.loadDue(e, keys, 0)
		if err != nil {
			return err
		}
		sweep, err := b.sweepOf(e, keys.n, deadline)
		if err != nil {
			return err
		}
		runtime.GC()
		if err := notYet(deadline); err != nil {
			return err
		}
		time.Sleep(time.Until(deadline))
		err = sweep.await(sweepPoll, nil)
		out = sweep.sample(caseIdle)
		return err
	})
	return out, err
}

func duePart(millions, callers int) part {
	name := fmt.Sprintf("%d M due at once, %d callers", millions, callers)
	return part{name, func(b *bench, s spec) (samples []sample, err error) {
		switch {
		case millions > dueMillions[0] && s.role != subject:
			return nil, nil
		case s.noSweep != "":
			return []sample{{Case: dueCase(millions, callers, dueRate), Unit: unitRate, Note: s.noSweep}}, nil
		}
		err = b.empty(s, true, func(e engine) error {
			samples, err = b.manyDue(e, s, millions, callers)
			return err
		})
		return samples, err
	}}
}

// manyDue measures durable Set before keys are due and while they are deleted.
func (b *bench) manyDue(e engine, s spec, millions, callers int) ([]sample, error) {
	plain := b.inOrder(b.keys(plainKeys))
	if err := b.data.load(e, len(plain.keys), loadBatch, b.data.key); err != nil {
		return nil, err
	}
	due := keyRange{len(plain.keys), b.keys(millions * 1_000_000)}
	deadline, err := b.loadDue(e, due, b.duration)
	if err != nil {
		return nil, err
	}
	sweep, err := b.sweepOf(e, due.n, deadline)
	if err != nil {
		return nil, err
	}
	sets := b.setLoad(e.set, plain, callers)
	usual, err := measure(e, sets, b.duration)
	if err = errors.Join(err, notYet(deadline)); err != nil {
		return nil, err
	}
	time.Sleep(time.Until(deadline))
	busy, err := measureDuring(e, sets, func() error { return sweep.await(sweepPoll, nil) })
	if err != nil {
		return nil, err
	}
	before := usual.sample(dueCase(millions, callers, dueBefore), s)
	during := busy.sample(dueCase(millions, callers, dueDuring), s)
	return []sample{
		before, during, sweep.sample(dueCase(millions, callers, dueSwept)),
		{Case: dueCase(millions, callers, dueRate), Unit: unitRate, Value: during.Value / before.Value},
		{Case: dueCase(millions, callers, dueDelay), Unit: unitDelay, Value: during.Latency.P99 / before.Latency.P99},
	}, b.readBack(e, len(plain.keys), checkStride)
}
