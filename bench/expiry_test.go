package main

import (
	"errors"
	"math"
	"testing"
	"time"
)

// TestVolatileKeys checks for every engine that a key is gone at its deadline
// and then deleted, and that other keys stay.
func TestVolatileKeys(t *testing.T) {
	specs, _, err := chooseSpecs("")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		if !s.expires {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := &bench{dir: t.TempDir(), data: newData(7), duration: time.Second}
			err := b.empty(s, false, func(e engine) error {
				if is[sweeper](e) != (s.noSweep == "") || is[toucher](e) != (s.noTouch == "") {
					t.Error("the spec and the engine differ")
				}
				return expireSome(b, e)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// expireSome sets four keys. Two of them fall due.
func expireSome(b *bench, e engine) error {
	deadline := time.Now().Add(1500 * time.Millisecond).Truncate(time.Millisecond)
	gone, touched := keyRange{0, 1}, b.data.key(1)
	err := errors.Join(
		b.data.loadUntil(e, gone, valueBytes, always(deadline)),
		b.data.loadUntil(e, keyRange{1, 1}, valueBytes, always(deadline)),
		e.(expirer).setFor(b.data.key(2), b.data.value(2, valueBytes), time.Hour),
		e.set(b.data.key(3), b.data.value(3, valueBytes)),
	)
	due := 2
	if mover, ok := e.(toucher); ok {
		err = errors.Join(err, mover.expire(touched, deadline.Add(time.Hour)))
		due = 1
	}
	if err != nil {
		return err
	}
	if is[sweeper](e) {
		s, err := b.sweepOf(e, due, deadline)
		if err = errors.Join(err, s.await(time.Millisecond, nil)); err != nil {
			return err
		}
		if s.deleted != due || s.end.Before(deadline) {
			return errors.New("the keys were not deleted, or too early")
		}
	}
	<-time.After(time.Until(deadline))
	if _, err := e.get(b.data.key(0)); !errors.Is(err, errAbsent) {
		return errors.Join(errors.New("a key is there after its deadline"), err)
	}
	if due == 1 {
		err = b.compare(e, 1, touched, valueBytes)
	}
	return errors.Join(err, b.compare(e, 2, b.data.key(2), valueBytes), b.compare(e, 3, b.data.key(3), valueBytes))
}

// slowSweeper deletes one key each time that it is asked.
type slowSweeper struct{ left, stop int }

func (s *slowSweeper) undeleted() (int, error) {
	s.left = max(s.left-1, s.stop)
	return s.left, nil
}

func TestSweep(t *testing.T) {
	last := time.Now()
	var seen []int
	record := func(from, to int, _ time.Time) { seen = append(seen, from, to) }
	all := &sweep{
		engine: &slowSweeper{left: 12, stop: 10}, keys: 2, before: 12, last: last, giveUp: last.Add(time.Hour),
	}
	if err := all.await(time.Microsecond, record); err != nil {
		t.Fatal(err)
	}
	if all.deleted != 2 || all.end.Equal(all.giveUp) || len(seen) != 4 || seen[1] != 1 || seen[2] != 1 || seen[3] != 2 {
		t.Errorf("all were deleted: %+v, seen %v", all, seen)
	}
	some := &sweep{
		engine: &slowSweeper{left: 12, stop: 11}, keys: 2, before: 12, last: last,
		giveUp: last.Add(100 * time.Millisecond),
	}
	if err := some.await(time.Microsecond, nil); err != nil {
		t.Fatal(err)
	}
	if m := some.sample("some"); some.deleted != 1 || !some.end.Equal(some.giveUp) || m.Value != 10 {
		t.Errorf("one was deleted: %+v, %v", some, m.Value)
	}
	many := &sweep{engine: &slowSweeper{left: 5}, keys: 2, before: 12, giveUp: last.Add(time.Hour)}
	if err := many.await(time.Microsecond, nil); err == nil {
		t.Error("more keys were deleted than there are, and no error")
	}
}

func TestLatenciesArePaired(t *testing.T) {
	r := &results{}
	for round, p := range []float64{10, 40, 90} {
		at := func(engine, name string, value float64) sample {
			return sample{Workload: "w", Engine: engine, Case: name, Round: round, Latency: &latency{P99: value}}
		}
		r.Samples = append(r.Samples,
			at(subjectName, "busy", 2*p), at(subjectName, "usual", p), at("bbolt", "busy", 4*p))
	}
	value, beside, ok := latencyOver("w", "busy", "usual", p99)(r)
	if !ok || math.Abs(value-2) > 1e-9 || beside != "usual" {
		t.Errorf("two cases: %v beside %q, %t", value, beside, ok)
	}
	value, beside, ok = latencyOverPeer("w", "busy", "bbolt", p99)(r)
	if !ok || math.Abs(value-0.5) > 1e-9 || beside != "bbolt" {
		t.Errorf("two engines: %v beside %q, %t", value, beside, ok)
	}
	if _, _, ok := latencyOverPeer("w", "busy", "redis", p99)(r); ok {
		t.Error("an engine without samples has a ratio")
	}
}
