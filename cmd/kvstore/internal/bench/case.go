package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// maxStoreBytes bounds the values of a store: large ones get fewer keys.
	maxStoreBytes = 256 << 20

	// getsPerCall reads are timed together, since reading the clock takes about
	// as long as a part of one.
	getsPerCall = 16
)

// benchCase is something to measure: a call that several goroutines repeat.
type benchCase struct {
	name    string
	relaxed bool // SyncWrites false
	keys    int  // that a call writes
	reads   int  // keys that a call reads
	loaded  bool // the store has all keys at the start
	call    func(w *worker) error
}

var cases = []benchCase{
	{name: "set", keys: 1, call: (*worker).set},
	{name: "set relaxed", relaxed: true, keys: 1, call: (*worker).set},
	{name: "batch", keys: BatchWrites, call: (*worker).batch},
	{name: "get", reads: getsPerCall, loaded: true, call: (*worker).get},
	{name: "mixed", keys: 1, loaded: true, call: (*worker).mixed},
}

// worker is the state of one of the goroutines of a case, which owns it. Its
// random numbers have a fixed seed.
type worker struct {
	store     *kvstore.Store
	random    *rand.Rand
	keys      []string
	value     []byte
	writes    kvstore.Batch
	histogram *hdrhistogram.Histogram
	calls     uint64
}

func (w *worker) key() string { return w.keys[w.random.IntN(len(w.keys))] }

func (w *worker) set() error { return w.store.Set(w.key(), w.value) }

func (w *worker) batch() error {
	w.writes.Reset()
	for range BatchWrites {
		w.writes.Set(w.key(), w.value)
	}
	return w.store.Apply(context.Background(), &w.writes)
}

func (w *worker) get() error {
	for range getsPerCall {
		if err := w.getOne(); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) getOne() error {
	value, ok := w.store.AppendGet(w.value[:0], w.key())
	if !ok {
		return errors.New("bench: a key is missing")
	}
	w.value = value
	return nil
}

// mixed reads or writes, with equal chances.
func (w *worker) mixed() error {
	if w.random.IntN(2) == 0 {
		return w.set()
	}
	return w.getOne()
}

// repeat repeats call until ctx ends.
func (w *worker) repeat(ctx context.Context, call func(w *worker) error) error {
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

// load is what a case is measured with.
type load struct {
	writers  int
	keys     []string // used in random order
	value    []byte
	duration time.Duration
}

// measure runs a case in a new store in dir, and removes the store.
func (c *benchCase) measure(ctx context.Context, dir string, l load) (_ *Result, err error) {
	config := kvstore.DefaultConfig(filepath.Join(dir, "store"))
	config.SyncWrites = !c.relaxed
	config.Logger = slog.New(slog.DiscardHandler) // the case says that it is relaxed
	store, err := kvstore.OpenWithConfig(config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close(), os.RemoveAll(config.DataDir)) }()
	workers := make([]*worker, l.writers)
	for i := range workers {
		workers[i] = &worker{
			store: store, random: rand.New(rand.NewPCG(uint64(i), 1)), keys: l.keys, value: slices.Clone(l.value),
			histogram: newHistogram(),
		}
	}
	if c.loaded {
		if err := fill(ctx, store, l); err != nil {
			return nil, err
		}
	}
	return c.run(ctx, store, workers, l.duration)
}

// run has all workers repeat the call at the same time.
func (c *benchCase) run(
	ctx context.Context, store *kvstore.Store, workers []*worker, duration time.Duration,
) (*Result, error) {
	limited, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(workers))
	syncs, started := store.Stats().Syncs, time.Now()
	for i, w := range workers {
		wg.Go(func() { errs[i] = w.repeat(limited, c.call) })
	}
	wg.Wait()
	r := &Result{
		Case: c.name, Writers: len(workers), Fsyncs: store.Stats().Syncs - syncs,
		took: time.Since(started), histogram: newHistogram(),
	}
	for _, w := range workers {
		r.histogram.Merge(w.histogram)
		r.Operations += w.calls * uint64(c.keys+c.reads)
	}
	return r, errors.Join(errs...)
}

// fill sets all keys.
func fill(ctx context.Context, store *kvstore.Store, l load) error {
	var b kvstore.Batch
	for i, key := range l.keys {
		b.Set(key, l.value)
		if (i+1)%BatchWrites != 0 && i+1 < len(l.keys) {
			continue
		}
		if err := store.Apply(ctx, &b); err != nil {
			return err
		}
		b.Reset()
	}
	return nil
}

// makeKeys returns count keys of 16 bytes, or as many as fit into maxStoreBytes
// with values of valueBytes.
func makeKeys(count, valueBytes int) []string {
	keys := make([]string, min(count, max(1, maxStoreBytes/max(1, valueBytes))))
	for i := range keys {
		keys[i] = fmt.Sprintf("user:%011d", i)
	}
	return keys
}

// makeValue returns size random bytes, which no disk can compress.
func makeValue(size int) []byte {
	value := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(value) // never fails
	return value
}
