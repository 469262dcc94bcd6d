package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Transactions that read and write. Each adds one to two counters, so that the
// sum of all counters shows whether an update was lost.

const txKeys = 2 // of a transaction

// txContention are numbers of counters. With many counters, transactions seldom
// conflict.
var txContention = []int{100_000, 10}

func txCase(counters, goroutines int) string {
	of := fmt.Sprint(counters)
	if counters >= 1000 {
		of = fmt.Sprintf("%d k", counters/1000)
	}
	return fmt.Sprintf("2 of %s keys by %d", of, goroutines)
}

func transactionWorkload() workload {
	w := workload{
		id: "transactions", title: "Transactions", joins: roles(subject, peer, lonePeer),
		note: "Durable and serializable. A transaction reads two random keys and increments a counter in each; " +
			"in the end the sum of all counters must be right. " +
			"An operation is a commit; its latency includes all attempts. " +
			"bbolt (`Batch` and `Update`) and BuntDB run one transaction after the other. " +
			"kvstore, badger (`DetectConflicts: true`) and Redis (WATCH) repeat a transaction " +
			"if its reads were overwritten.",
	}
	for _, counters := range txContention {
		for _, goroutines := range []int{1, 64} {
			name := txCase(counters, goroutines)
			w.parts = append(w.parts, part{name, func(b *bench, s spec) ([]sample, error) {
				if s.noTransactions != "" {
					return []sample{{Case: name, Unit: unitOps, Note: s.noTransactions}}, nil
				}
				return one(b.transactions(s, name, min(counters, b.keys(counters)), goroutines))
			}})
		}
	}
	return w
}

func (b *bench) transactions(s spec, name string, counters, goroutines int) (out sample, err error) {
	if s.openTransactional != nil {
		s.open = s.openTransactional
	}
	names := b.inOrder(counters).keys
	err = b.empty(s, true, func(e engine) error {
		if err := loadCounters(e, names); err != nil {
			return err
		}
		retries := make([]int, goroutines)
		m, err := measure(e, load{goroutines: goroutines, worker: func(g int) step {
			random := b.data.rand(uint64(200 + g))
			keys := make([]string, txKeys)
			return func(int) (kind, error) {
				first := random.IntN(counters)
				keys[0], keys[1] = names[first], names[(first+1+random.IntN(counters-1))%counters]
				runs, err := e.(transactor).transact(keys, counterAfter)
				retries[g] += runs - 1
				return kindMain, err
			}
		}}, b.duration)
		if err != nil {
			return err
		}
		out = m.sample(name, s)
		sum := 0
		for _, n := range retries {
			sum += n
		}
		out.Retries = new(float64(sum) / float64(m.keys()))
		return checkCounters(e, names, uint64(m.keys()*txKeys))
	})
	return out, err
}

const (
	counterGoroutines = 64

	caseAdd     = "Add of one key by 64"
	caseAddRate = "Add of one key beside Set"
)

var caseAddSet = setCase(counterGoroutines, true)

func counterWorkload() workload {
	return workload{
		id: "counters", title: "A counter", joins: func(s spec) bool { return s.adds },
		note: "Durable. All goroutines add 1 to the same key: Add, or INCRBY of Redis. " +
			"Beside it they set 100 k keys. In the end the counter must be right.",
		parts: []part{{"Add", runAdd}},
	}
}

func runAdd(b *bench, s spec) ([]sample, error) {
	keys := b.inOrder(b.keys(plainKeys))
	set, err := b.sets(s, setting{
		name: caseAddSet, keys: keys, goroutines: counterGoroutines, size: valueBytes, durable: true,
	})
	if err != nil {
		return nil, err
	}
	add, err := b.adds(s)
	return []sample{set, add, rateOver(caseAddRate, add, set)}, err
}

func (b *bench) adds(s spec) (out sample, err error) {
	const key = "counter"
	err = b.empty(s, true, func(e engine) error {
		m, err := measure(e, load{goroutines: counterGoroutines, worker: func(int) step {
			return func(int) (kind, error) {
				_, err := e.(adder).add(key, 1)
				return kindMain, err
			}
		}}, b.duration)
		if err != nil {
			return err
		}
		out = m.sample(caseAdd, s)
		sum, err := e.(adder).add(key, 0)
		if sum != int64(m.keys()) {
			err = errors.Join(err, fmt.Errorf("the counter is %d instead of %d", sum, m.keys()))
		}
		return err
	})
	return out, err
}

// counterAfter returns the value with its counter, the first 8 bytes,
// incremented.
func counterAfter(value []byte) []byte {
	next := append(make([]byte, 0, len(value)), value...)
	binary.LittleEndian.PutUint64(next, binary.LittleEndian.Uint64(next)+1)
	return next
}

func loadCounters(e engine, names []string) error {
	values := make([][]byte, min(len(names), loadBatch))
	for i := range values {
		values[i] = make([]byte, valueBytes)
	}
	for at := 0; at < len(names); at += loadBatch {
		part := names[at:min(at+loadBatch, len(names))]
		if err := e.batch(part, values[:len(part)]); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	return nil
}

func checkCounters(e engine, names []string, want uint64) error {
	sum := uint64(0)
	for _, name := range names {
		value, err := e.get(name)
		if err != nil {
			return err
		}
		if len(value) != valueBytes {
			return errors.Join(errors.New("a counter is broken"), checkLength(len(value), valueBytes))
		}
		sum += binary.LittleEndian.Uint64(value)
	}
	if sum != want {
		return fmt.Errorf("the counters' sum is %d instead of %d", sum, want)
	}
	return nil
}
