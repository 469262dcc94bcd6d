package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// Workloads that read in order.

const (
	prefixKeys = 10_000_000

	// newKeysPart: a store of n keys gets n/newKeysPart new ones.
	newKeysPart = 2
	newKeyBatch = 1000

	caseFirstScan   = "first scan of 1 M keys"
	caseFullScan    = "full scan of 1 M keys on one core"
	caseFirstPrefix = "first scan of 10 M keys"
	caseIndexMemory = "memory of the index of 10 M keys"
	casePrefixScan  = "prefix scan of 100 pairs of 10 M keys"
	caseKeyBefore   = "a new key before the first scan"
	caseKeyAfter    = "a new key after the first scan"
	caseKeyIndex    = "what the index adds to a new key"

	// In kvstore's snapshots pairs are in key order if the store had an index.
	caseOpenUnordered = "open of 10 M keys, snapshot in no order"
	caseOpenOrdered   = "open of 10 M keys, snapshot in key order"
	caseFirstOrdered  = "first scan of 10 M keys, snapshot in key order"

	caseUsualGet = "95 % Get by 64: Get, usually"
	caseUsualSet = "95 % Get by 64: Set, usually"
	caseIndexGet = "95 % Get by 64: Get, during the first scan of 10 M keys"
	caseIndexSet = "95 % Get by 64: Set, during the first scan of 10 M keys"
	caseBusyScan = "first scan of 10 M keys, beside that load"
)

func scanWorkload() workload {
	return workload{
		id: "scans", title: "Ordered scans", joins: roles(subject, peer),
		note: "One goroutine. Keys and values are copies that belong to the caller: " +
			"the benchmark makes them for the peers, many in one piece of memory. " +
			"The first scan reads one pair of a store that was just opened: kvstore sorts its keys then. " +
			"The full scan runs with GOMAXPROCS 1, so that collector and helpers share its core. " +
			"In a prefix scan an operation is 100 pairs; the store is larger than some caches. " +
			"New keys are set in batches of 1000, unsynced, in a store of 1 M keys. " +
			"kvstore writes a snapshot in key order if the store has been scanned. " +
			"Opening such a snapshot builds the index. " +
			"Files of 10 M keys are opened in turns, and they are in the page cache. " +
			"The load during the first scan is that of F6: 95 % Get, 5 % durable Set.",
		parts: []part{
			{"full scan", runFullScan},
			{"prefix scan", runPrefixScan},
			{"new keys", runNewKeys},
			{"ordered snapshot", runOrderedOpen},
			{"load during the first scan", runBusyScan},
		},
	}
}

// counted counts the pairs of a scan and the bytes of their values.
type counted struct{ pairs, bytes int }

// countPairs only counts, because a full check would slow down what is
// measured. checkOrder and checkGroup check the pairs before.
func countPairs(e engine, within span) (seen counted, err error) {
	err = e.(scanner).scan(within, func(_ string, value []byte) {
		seen.pairs++
		seen.bytes += len(value)
	})
	return seen, err
}

func (c counted) check(pairs int) error {
	if c.pairs != pairs {
		return fmt.Errorf("scanned %d pairs instead of %d", c.pairs, pairs)
	}
	return checkLength(c.bytes, pairs*valueBytes)
}

// firstScan measures the time to the store's first pair.
func firstScan(e engine, name string) (sample, error) {
	runtime.GC()
	began := time.Now()
	seen, err := countPairs(e, span{limit: 1})
	took := time.Since(began)
	out := sample{Case: name, Unit: unitMilli, Value: millis(took), Seconds: took.Seconds()}
	return out, errors.Join(err, seen.check(1))
}

func runFullScan(b *bench, s spec) (samples []sample, err error) {
	if s.noScans != "" {
		return []sample{
			{Case: caseFirstScan, Unit: unitMilli, Note: s.noScans},
			{Case: caseFullScan, Unit: unitPairs, Note: s.noScans},
		}, nil
	}
	n := b.keys(manyKeys)
	err = b.full(s, n, false, false, func(e engine) error {
		first, err := firstScan(e, caseFirstScan)
		if err != nil {
			return err
		}
		if err := checkOrder(e, n); err != nil {
			return err
		}
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		m, err := measure(e, load{goroutines: 1, units: n, worker: func(int) step {
			return func(int) (kind, error) {
				seen, err := countPairs(e, span{})
				return kindMain, errors.Join(err, seen.check(n))
			}
		}}, b.duration)
		if err != nil {
			return err
		}
		full := m.sample(caseFullScan, s)
		full.Unit = unitPairs
		samples = []sample{first, full}
		return nil
	})
	return samples, err
}

// checkOrder scans everything and checks that the keys rise and that all are
// there.
func checkOrder(e engine, n int) error {
	var seen counted
	last := ""
	rising := true
	err := e.(scanner).scan(span{}, func(key string, value []byte) {
		rising = rising && key > last && len(key) == keyBytes
		last = key
		seen.pairs++
		seen.bytes += len(value)
	})
	if !rising {
		err = errors.Join(err, errors.New("a scan was not in order"))
	}
	return errors.Join(err, seen.check(n))
}

func runPrefixScan(b *bench, s spec) (samples []sample, err error) {
	if s.noScans != "" {
		return []sample{
			{Case: caseFirstPrefix, Unit: unitMilli, Note: s.noScans},
			{Case: casePrefixScan, Unit: unitOps, Note: s.noScans},
		}, nil
	}
	dir, groups, err := b.fillGroups(s)
	if err != nil {
		return nil, err
	}
	err = b.opened(s, dir, true, func(e engine) error {
		debug.FreeOSMemory()
		before, unknown := residentBytes()
		first, err := firstScan(e, caseFirstPrefix)
		if err != nil {
			return err
		}
		samples = append(samples, first)
		debug.FreeOSMemory()
		if after, err := residentBytes(); s.role == subject && err == nil && unknown == nil {
			index := float64(after-min(after, before)) / float64(groups*groupKeys)
			samples = append(samples, sample{Case: caseIndexMemory, Unit: unitBytes, Value: index})
		}
		for group := 0; group < groups; group += warmStride {
			if err := b.checkGroup(e, group); err != nil {
				return err
			}
		}
		m, err := measure(e, b.prefixScans(e, groups), b.duration)
		samples = append(samples, m.sample(casePrefixScan, s))
		return err
	})
	return samples, err
}

// fillGroups returns the directory of a closed store that has never been
// scanned, and the number of its groups.
func (b *bench) fillGroups(s spec) (dir string, groups int, err error) {
	groups = b.keys(prefixKeys) / groupKeys
	dir, err = b.fillWith(s, "groups-"+s.name, groups*groupKeys, b.data.groupKey)
	return dir, groups, err
}

func (b *bench) prefixScans(e engine, groups int) load {
	prefixes := make([]string, 1<<16)
	random := b.data.rand(3)
	for i := range prefixes {
		prefixes[i] = b.data.groupPrefix(random.IntN(groups))
	}
	return load{goroutines: 1, worker: func(int) step {
		return func(i int) (kind, error) {
			seen, err := countPairs(e, span{prefix: prefixes[i%len(prefixes)]})
			return kindMain, errors.Join(err, seen.check(groupKeys))
		}
	}}
}

// checkGroup compares all pairs of a group.
func (b *bench) checkGroup(e engine, group int) error {
	at := group * groupKeys
	wrong := 0
	err := e.(scanner).scan(span{prefix: b.data.groupPrefix(group)}, func(key string, value []byte) {
		if key != b.data.groupKey(at) || string(value) != string(b.data.value(at, valueBytes)) {
			wrong++
		}
		at++
	})
	if seen := at - group*groupKeys; wrong > 0 || seen != groupKeys {
		err = errors.Join(err, fmt.Errorf("prefix scan: %d pairs, %d of them wrong", seen, wrong))
	}
	return err
}

// runNewKeys compares the cost of a new key without an index to the cost with
// one.
func runNewKeys(b *bench, s spec) ([]sample, error) {
	if s.role != subject {
		return nil, nil
	}
	before, err := b.newKeys(s, caseKeyBefore, false)
	if err != nil {
		return nil, err
	}
	after, err := b.newKeys(s, caseKeyAfter, true)
	if err != nil {
		return nil, err
	}
	return []sample{before, after, {Case: caseKeyIndex, Unit: unitMicro, Value: after.Value - before.Value}}, nil
}

func (b *bench) newKeys(s spec, name string, scanned bool) (out sample, err error) {
	n := b.keys(manyKeys)
	added := b.stream("new keys", func() *stream {
		return b.data.inOrder(n, max(1, n/newKeysPart/newKeyBatch)*newKeyBatch)
	})
	values := make([][]byte, len(added.keys))
	for i, index := range added.index {
		values[i] = b.data.value(index, valueBytes)
	}
	err = b.full(s, n, false, true, func(e engine) error {
		if scanned {
			if _, err := firstScan(e, ""); err != nil {
				return err
			}
		}
		runtime.GC()
		cpu, hasCPU := cpuTime()
		began := time.Now()
		for at := 0; at < len(added.keys); at += newKeyBatch {
			if err := e.batch(added.keys[at:at+newKeyBatch], values[at:at+newKeyBatch]); err != nil {
				return err
			}
		}
		took := time.Since(began)
		after, _ := cpuTime()
		out = sample{
			Case: name, Unit: unitMicro, Value: micros(took) / float64(len(added.keys)),
			Ops: len(added.keys), Seconds: took.Seconds(),
		}
		if hasCPU {
			out.CPU = new(micros(after-cpu) / float64(len(added.keys)))
		}
		if scanned {
			return checkOrder(e, n+len(added.keys))
		}
		return b.readBack(e, n, checkStride)
	})
	return out, err
}

// runOrderedOpen compares a store whose snapshot was written with an index to
// one whose snapshot was written without.
func runOrderedOpen(b *bench, s spec) (samples []sample, err error) {
	if s.role != subject {
		return nil, nil
	}
	unordered, groups, err := b.fillGroups(s)
	if err != nil {
		return nil, err
	}
	ordered, err := b.fillBy(s, "ordered-"+s.name, func(e engine) error {
		if err := b.data.load(e, groups*groupKeys, loadBatch, b.data.groupKey); err != nil {
			return err
		}
		_, err := firstScan(e, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, isOrdered := range inTurns {
		var found []sample
		if isOrdered {
			found, err = b.openAndScan(s, ordered, groups, caseOpenOrdered, caseFirstOrdered)
		} else {
			found, err = b.openAndScan(s, unordered, groups, caseOpenUnordered, "")
		}
		samples = append(samples, found...)
		if err != nil {
			return samples, err
		}
	}
	return samples, nil
}

// openAndScan measures the time to open a store of groups and, if first names a
// case, the first scan after that.
func (b *bench) openAndScan(s spec, dir string, groups int, name, first string) (samples []sample, err error) {
	runtime.GC()
	began := time.Now()
	err = b.opened(s, dir, true, func(e engine) error {
		took := time.Since(began)
		samples = []sample{{Case: name, Unit: unitMilli, Value: millis(took), Seconds: took.Seconds()}}
		if first != "" {
			m, err := firstScan(e, first)
			if err != nil {
				return err
			}
			samples = append(samples, m)
		}
		return b.checkGroup(e, groups-1)
	})
	return samples, err
}

// runBusyScan measures reads and writes alone, and then while the first scan
// builds the index.
func runBusyScan(b *bench, s spec) (samples []sample, err error) {
	if s.role != subject {
		return nil, nil
	}
	dir, groups, err := b.fillGroups(s)
	if err != nil {
		return nil, err
	}
	err = b.onCopy(s, dir, true, func(e engine) error {
		l := b.mixedLoad(e, b.groupStream(groups*groupKeys))
		usual, err := measure(e, l, b.duration)
		if err != nil {
			return err
		}
		var scan sample
		busy, err := measureDuring(e, l, func() error {
			scan, err = firstScan(e, caseBusyScan)
			return err
		})
		if err != nil {
			return err
		}
		samples = []sample{
			usual.mainsSample(caseUsualGet), usual.sidesSample(caseUsualSet),
			busy.mainsSample(caseIndexGet), busy.sidesSample(caseIndexSet), scan,
		}
		return b.checkGroup(e, groups-1)
	})
	return samples, err
}

// groupStream is random keys of the first n in groups.
func (b *bench) groupStream(n int) *stream {
	return b.stream("groups", func() *stream {
		random := b.data.rand(4)
		s := &stream{index: make([]int, b.keys(manyKeys))}
		s.keys = make([]string, len(s.index))
		for i := range s.index {
			s.index[i] = random.IntN(n)
			s.keys[i] = b.data.groupKey(s.index[i])
		}
		return s
	})
}
