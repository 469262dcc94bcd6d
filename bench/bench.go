package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"
)

const (
	manyKeys  = 1_000_000 // of a workload that begins with a full store
	loadBatch = 10_000

	// warmStride: before reads are measured, one key in warmStride is read.
	// That brings most blocks of the engines that read from files into their
	// caches.
	warmStride = 8

	// checkStride: to check that a store has kept its keys, one key in
	// checkStride is read.
	checkStride = 256

	verifySteps = 16 // of each goroutine are read back after a run of writes
)

// bench is a session. It has what all workloads need.
type bench struct {
	ctx      context.Context // ends with an interrupt; checked between runs
	dir      string          // has all stores
	duration time.Duration
	rounds   int
	scale    float64
	data     *data
	progress *log.Logger

	filled  map[string]string  // directories of loaded stores, by engine and number of keys
	streams map[string]*stream // by description; they are large
}

// keys scales a number of keys to this session.
func (b *bench) keys(n int) int { return max(256, int(float64(n)*b.scale)) }

// run runs the parts of a workload one after the other. A part has rounds, and
// in a round each engine runs once.
func (b *bench) run(w workload, specs []spec, out *results) error {
	for _, p := range w.parts {
		for round := range b.rounds {
			for _, s := range specs {
				if !w.joins(s) {
					continue
				}
				if b.ctx.Err() != nil {
					return context.Cause(b.ctx)
				}
				began := time.Now()
				samples, err := p.run(b, s)
				if err != nil {
					samples = nil // no figure of a run with an error can be trusted
					out.Failures = append(out.Failures, fmt.Sprintf("%s, %s, %s: %v", w.id, p.name, s.name, err))
				}
				for _, m := range samples {
					m.Workload, m.Engine, m.Round = w.id, s.name, round
					out.Samples = append(out.Samples, m)
				}
				b.progress.Printf("%s: %s: round %d of %d: %s: %.1f s%s",
					w.id, p.name, round+1, b.rounds, s.name, time.Since(began).Seconds(), failure(err))
			}
		}
	}
	return nil
}

func failure(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// stream returns the stream with that name. If there is none yet, make creates
// it.
func (b *bench) stream(name string, make func() *stream) *stream {
	if b.streams[name] == nil {
		b.streams[name] = make()
	}
	return b.streams[name]
}

func (b *bench) inOrder(n int) *stream {
	return b.stream(fmt.Sprint("in order ", n), func() *stream { return b.data.inOrder(0, n) })
}

func (b *bench) uniform(n int) *stream {
	return b.stream(fmt.Sprint("uniform ", n), func() *stream { return b.data.uniform(n, min(n, b.keys(manyKeys))) })
}

func (b *bench) zipf(n int) *stream {
	return b.stream(fmt.Sprint("zipf ", n), func() *stream { return b.data.zipf(n, n) })
}

// empty runs do on a new store and removes it.
func (b *bench) empty(s spec, durable bool, do func(engine) error) error {
	return b.inFreshDir(func(dir string) error { return b.opened(s, dir, durable, do) })
}

func (b *bench) inFreshDir(do func(dir string) error) error {
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		return err
	}
	err = do(dir)
	return errors.Join(err, os.RemoveAll(dir))
}

func (b *bench) opened(s spec, dir string, durable bool, do func(engine) error) error {
	e, err := s.open(dir, durable)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = do(e)
	err = errors.Join(err, e.close())
	debug.FreeOSMemory() // the next engine must not pay for this one's memory
	return err
}

// full runs do on a store of n keys. If do writes, it gets a copy of the store,
// which is removed afterwards.
func (b *bench) full(s spec, n int, durable, writes bool, do func(engine) error) error {
	if s.volatile {
		return b.empty(s, durable, func(e engine) error {
			if err := b.data.load(e, n, loadBatch, b.data.key); err != nil {
				return err
			}
			return do(e)
		})
	}
	filled, err := b.fill(s, n)
	if err != nil {
		return err
	}
	if !writes {
		return b.opened(s, filled, durable, do)
	}
	return b.onCopy(s, filled, durable, do)
}

// onCopy runs do on a copy of a loaded store and removes the copy.
func (b *bench) onCopy(s spec, filled string, durable bool, do func(engine) error) error {
	return b.inFreshDir(func(dir string) error {
		if err := copyTree(dir, filled); err != nil {
			return err
		}
		return b.opened(s, dir, durable, do)
	})
}

// fill returns the directory of a closed store of n keys. A session loads the
// store once.
func (b *bench) fill(s spec, n int) (string, error) {
	return b.fillWith(s, fmt.Sprintf("full-%s-%d", s.name, n), n, b.data.key)
}

// fillWith is fill with other names for the keys.
func (b *bench) fillWith(s spec, name string, n int, key func(i int) string) (string, error) {
	return b.fillBy(s, name, func(e engine) error { return b.data.load(e, n, loadBatch, key) })
}

// fillBy is fill for a store that load has loaded.
func (b *bench) fillBy(s spec, name string, load func(e engine) error) (string, error) {
	if dir, ok := b.filled[name]; ok {
		return dir, nil
	}
	dir := filepath.Join(b.dir, name)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return "", err
	}
	err := b.opened(s, dir, false, load)
	if err := errors.Join(err, syncTree(dir)); err != nil {
		return "", err
	}
	b.filled[name] = dir
	return dir, nil
}

// readBack reads one in stride of the first n keys and compares the values.
func (b *bench) readBack(e engine, n, stride int) error {
	for i := 0; i < n; i += stride {
		if err := b.compare(e, i, b.data.key(i), valueBytes); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) compare(e engine, i int, key string, size int) error {
	got, err := e.get(key)
	if err != nil {
		return fmt.Errorf("key %d: %w", i, err)
	}
	if !bytes.Equal(got, b.data.value(i, size)) {
		return fmt.Errorf("key %d: its %d bytes are not what was written", i, len(got))
	}
	return nil
}

// verify reads back some writes of every goroutine of a run. position returns
// where in s the i-th step of goroutine g was.
func (b *bench) verify(e engine, s *stream, m measured, size int, position func(g, i int) int) error {
	for g, n := range m.steps {
		for k := range min(n, verifySteps) {
			p := position(g, k*n/min(n, verifySteps))
			if err := b.compare(e, s.index[p], s.keys[p], size); err != nil {
				return fmt.Errorf("read back: %w", err)
			}
		}
	}
	return nil
}

// copyTree copies the files of a store and syncs them, because writing them
// back later would disturb the measurement.
func copyTree(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy of a loaded store: %w", err)
	}
	return syncTree(to)
}

func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
