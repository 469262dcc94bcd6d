package commands

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"kvstore"
)

const (
	benchStoreBytes = 256 << 20 // of values at most: large values get fewer keys
	benchBatch      = 1000      // writes in a batch
	getsAtOnce      = 16        // are timed together: a look at the clock takes as long as a part of one
)

// benchCase is something to measure: what one of several goroutines does again and again.
type benchCase struct {
	name    string
	relaxed bool // SyncWrites false
	keys    int  // written by a call, for the rate; 0 for reads, see reads
	reads   int  // keys read by a call
	loaded  bool // all keys are there in the beginning
	call    func(w *benchWorker) error
}

var benchCases = []benchCase{
	{name: "set", keys: 1, call: (*benchWorker).set},
	{name: "set relaxed", relaxed: true, keys: 1, call: (*benchWorker).set},
	{name: "batch", keys: benchBatch, call: (*benchWorker).batch},
	{name: "get", reads: getsAtOnce, loaded: true, call: (*benchWorker).get},
	{name: "mixed", keys: 1, loaded: true, call: (*benchWorker).mixed},
}

// benchWorker is one of the goroutines of a case. Each has a source of numbers of its own, with a fixed seed.
type benchWorker struct {
	store     *kvstore.Store
	random    *rand.Rand
	keys      []string
	value     []byte
	writes    kvstore.Batch
	histogram *hdrhistogram.Histogram
	calls     uint64
}

func (w *benchWorker) key() string { return w.keys[w.random.IntN(len(w.keys))] }

func (w *benchWorker) set() error { return w.store.Set(w.key(), w.value) }

func (w *benchWorker) batch() error {
	w.writes.Reset()
	for range benchBatch {
		w.writes.Set(w.key(), w.value)
	}
	return w.store.Apply(context.Background(), &w.writes)
}

func (w *benchWorker) get() error {
	for range getsAtOnce {
		value, ok := w.store.AppendGet(w.value[:0], w.key())
		if !ok {
			return errors.New("bench: a key is missing")
		}
		w.value = value
	}
	return nil
}

// mixed reads and writes by turns.
func (w *benchWorker) mixed() error {
	if w.random.IntN(2) == 0 {
		return w.set()
	}
	value, ok := w.store.AppendGet(w.value[:0], w.key())
	if !ok {
		return errors.New("bench: a key is missing")
	}
	w.value = value
	return nil
}

// work calls until the time is over.
func (w *benchWorker) work(ctx context.Context, call func(w *benchWorker) error) error {
	for ctx.Err() == nil {
		before := time.Now()
		if err := call(w); err != nil {
			return err
		}
		if err := w.histogram.RecordValue(time.Since(before).Nanoseconds()); err != nil {
			return err
		}
		w.calls++
	}
	return nil
}

// benchLoad is what a case is measured with.
type benchLoad struct {
	writers  int
	keys     []string // used in any order
	value    []byte
	duration time.Duration
}

// measure runs a case in a store of its own in dir.
func (c *benchCase) measure(ctx context.Context, dir string, load benchLoad) (_ *benchResult, err error) {
	config := kvstore.DefaultConfig(filepath.Join(dir, "store"))
	config.SyncWrites = !c.relaxed
	store, err := kvstore.OpenWithConfig(config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close(), os.RemoveAll(config.DataDir)) }()
	workers := make([]*benchWorker, load.writers)
	for i := range workers {
		workers[i] = &benchWorker{store: store, keys: load.keys, random: rand.New(rand.NewPCG(uint64(i), 1)), value: slices.Clone(load.value), histogram: newHistogram()}
	}
	if c.loaded {
		if err := fillStore(ctx, store, load); err != nil {
			return nil, err
		}
	}
	return c.share(ctx, store, workers, load.duration)
}

// share has the workers work at the same time.
func (c *benchCase) share(ctx context.Context, store *kvstore.Store, workers []*benchWorker, duration time.Duration) (*benchResult, error) {
	limited, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(workers))
	syncs, started := store.Stats().Syncs, time.Now()
	for i, w := range workers {
		wg.Go(func() { errs[i] = w.work(limited, c.call) })
	}
	wg.Wait()
	r := &benchResult{
		Case: c.name, Writers: len(workers), took: time.Since(started), Fsyncs: store.Stats().Syncs - syncs, histogram: newHistogram(),
	}
	for _, w := range workers {
		r.histogram.Merge(w.histogram)
		r.Operations += w.calls * uint64(c.keys+c.reads)
	}
	return r, errors.Join(errs...)
}

func fillStore(ctx context.Context, store *kvstore.Store, load benchLoad) error {
	var b kvstore.Batch
	for i, key := range load.keys {
		b.Set(key, load.value)
		if (i+1)%benchBatch != 0 && i+1 < len(load.keys) {
			continue
		}
		if err := store.Apply(ctx, &b); err != nil {
			if ctx.Err() != nil {
				return errInterrupted
			}
			return err
		}
		b.Reset()
	}
	return nil
}

// makeKeys returns so many keys of 16 bytes, or as many as fit with values of this size.
func makeKeys(count, valueBytes int) []string {
	keys := make([]string, min(count, max(1, benchStoreBytes/max(1, valueBytes))))
	for i := range keys {
		keys[i] = fmt.Sprintf("user:%011d", i)
	}
	return keys
}

// makeValue returns bytes that no disk can compress.
func makeValue(size int) []byte {
	value := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(value) // never fails
	return value
}
