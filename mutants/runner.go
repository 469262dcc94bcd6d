package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// runner plants a list of faults. Its workers share the counts and the
// terminal.
type runner struct {
	ctx     context.Context
	root    string
	verbose bool
	times   int // that a test must notice its fault
	wanted  *regexp.Regexp
	faults  []*fault

	programs *programs // for run

	mu     sync.Mutex // guards the fields below, and the terminal
	counts map[outcome]int
	bad    []string // reports of faults that were not killed, which are repeated at the end
}

// check finds all faults in the source, and type-checks the packages with them.
func (r *runner) check() error {
	list, err := r.locate(r.root)
	if err != nil {
		return err
	}
	var modules []string
	for _, p := range list {
		for _, s := range p.sources {
			if !slices.Contains(modules, s.module) {
				modules = append(modules, s.module)
			}
		}
	}
	types, err := newTypeChecker(r.root, modules)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range list {
		errs = append(errs, types.check(p))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("%d faults are in the source once, compile, and have their tests\n", len(list))
	return nil
}

// locate finds the wanted faults in the source below a directory.
func (r *runner) locate(dir string) ([]*planted, error) {
	t, err := readTree(dir)
	if err != nil {
		return nil, err
	}
	var list []*planted
	var errs []error
	for _, f := range r.faults {
		p, err := t.locate(f)
		switch {
		case !r.wants(f, p):
		case err != nil:
			errs = append(errs, err)
		default:
			list = append(list, p)
		}
	}
	if len(list) == 0 && errs == nil {
		return nil, errors.New("no fault matches")
	}
	return list, errors.Join(errs...)
}

// wants reports whether the flag -run selects a fault; p is nil if it was not
// found in the source.
func (r *runner) wants(f *fault, p *planted) bool {
	words := []string{f.name, filepath.Base(f.file), f.promise, f.layer.name, strings.Join(f.tests, "|")}
	for _, e := range f.edits {
		words = append(words, e.in)
	}
	if p != nil {
		words = append(words, p.paths())
	}
	return r.wanted.MatchString(strings.Join(words, " "))
}

// run plants all wanted faults, some at a time.
func (r *runner) run(jobs int) error {
	started := time.Now()
	r.counts = map[outcome]int{}
	tmp, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	list, err := r.prepare(tmp)
	if err != nil {
		return err
	}
	workers, err := r.newWorkers(tmp, jobs+1)
	if err != nil {
		return err
	}
	batches := baselines(list)
	err = share(r.ctx, workers[:jobs], len(batches), func(w *worker, i int) error { return w.baseline(batches[i]) })
	if err != nil {
		return fmt.Errorf("without any fault: %w", err)
	}
	fmt.Printf("without a fault: %d batches of tests pass in %.0fs\n", len(batches), time.Since(started).Seconds())
	err = r.judgeAll(workers, list)
	return errors.Join(err, r.sum(len(list), time.Since(started)))
}

// judgeAll judges all faults. Those that name a timeout may hang, which takes
// time and no processor: the last worker waits for them while the others work.
func (r *runner) judgeAll(workers []*worker, list []*planted) error {
	var hanging, others []*planted
	for _, p := range list {
		if p.timeout > 0 {
			hanging = append(hanging, p)
		} else {
			others = append(others, p)
		}
	}
	judge := func(workers []*worker, list []*planted) error {
		return share(r.ctx, workers, len(list), func(w *worker, i int) error { return w.judge(list[i]) })
	}
	last := len(workers) - 1
	waited := make(chan error, 1)
	go func() { waited <- judge(workers[last:], hanging) }()
	return errors.Join(judge(workers[:last], others), <-waited)
}

// newWorkers returns some workers, each with a directory of its own below tmp.
func (r *runner) newWorkers(tmp string, jobs int) ([]*worker, error) {
	var workers []*worker
	for i := range jobs {
		w := &worker{runner: r, tmp: filepath.Join(tmp, fmt.Sprint("worker", i))}
		if err := os.MkdirAll(w.tmp, 0o700); err != nil {
			return nil, err
		}
		workers = append(workers, w)
	}
	return workers, nil
}

// prepare writes the schema, and returns the faults in it.
func (r *runner) prepare(tmp string) ([]*planted, error) {
	r.programs = &programs{
		schema: filepath.Join(tmp, "schema"),
		dir:    filepath.Join(tmp, "programs"),
		built:  map[program]func() (string, error){},
	}
	err := errors.Join(copyTree(r.programs.schema, r.root), os.MkdirAll(r.programs.dir, 0o700))
	if err != nil {
		return nil, err
	}
	list, err := r.locate(r.programs.schema)
	if err != nil {
		return nil, err
	}
	return list, writeSchema(r.programs.schema, list)
}

// share lets the workers do n things, until all are done or one is an error.
func share(ctx context.Context, workers []*worker, n int, do func(w *worker, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			for i := range next {
				if err := do(w, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// baselines returns the tests of all faults in batches: those that are built
// and run alike are in one.
func baselines(list []*planted) []batch {
	var all []batch
	for _, p := range list {
		b := p.batch()
		b.layer.env = cmp.Or(b.layer.sound, b.layer.env)
		i := slices.IndexFunc(all, func(a batch) bool {
			return a.dir == b.dir && a.layer.race == b.layer.race && a.layer.env == b.layer.env
		})
		if i < 0 {
			i = len(all)
			all = append(all, batch{dir: b.dir, module: b.module, layer: b.layer, timeout: 5 * time.Minute})
		}
		for _, name := range b.tests {
			if !slices.Contains(all[i].tests, name) {
				all[i].tests = append(all[i].tests, name)
			}
		}
	}
	return all
}
