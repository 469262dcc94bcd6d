package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// batch is some tests of one package, and how they are run.
type batch struct {
	dir     string // the package's, relative to the root
	module  string // the module's, likewise
	tests   []string
	layer   layer
	timeout time.Duration
}

// batch returns the tests that must notice a fault.
func (p *planted) batch() batch {
	return batch{
		dir:     p.pkg.dir,
		module:  p.pkg.module,
		tests:   p.tests,
		layer:   p.layer,
		timeout: cmp.Or(p.timeout, p.layer.timeout, defaultTimeout),
	}
}

// pattern returns the value of -run for the tests. Each level of a subtest's
// name is a pattern of its own.
func (b batch) pattern() string {
	var patterns []string
	for _, name := range b.tests {
		var levels []string
		for level := range strings.SplitSeq(name, "/") {
			levels = append(levels, "^"+regexp.QuoteMeta(level)+"$")
		}
		patterns = append(patterns, strings.Join(levels, "/"))
	}
	return strings.Join(patterns, "|")
}

// worker plants faults in its copy of the repository, one after the other.
type worker struct {
	*runner
	dir string // the copy
	tmp string // for the files of tests
}

// baseline runs a batch without a fault: each test must run and pass.
func (w *worker) baseline(b batch) error {
	if out, err := w.build(b); err != nil {
		return fmt.Errorf("%s: %w\n%s", b.dir, err, tail(out))
	}
	out, err := w.test(b)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(b.tests, "|"), err, tail(out))
	}
	for _, name := range b.tests {
		if !regexp.MustCompile(`(?m)^ *--- PASS: ` + regexp.QuoteMeta(name) + ` `).Match(out) {
			return fmt.Errorf("%s did not run, or was skipped\n%s", name, tail(out))
		}
	}
	return nil
}

// plant plants a fault, runs its tests, and takes the fault out again. An error
// means that the copy may still have the fault.
func (w *worker) plant(p *planted) (err error) {
	for _, s := range p.sources {
		path := filepath.Join(w.dir, filepath.FromSlash(s.path))
		defer func() { err = errors.Join(err, os.WriteFile(path, s.text, 0o600)) }()
		if err := os.WriteFile(path, p.broken[s.path], 0o600); err != nil {
			return err
		}
	}
	b := p.batch()
	switch out, err := w.build(b); {
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case err != nil:
		w.report(p, failed, "does not compile", 0, out)
		return nil
	}
	started := time.Now()
	for n := range w.times {
		out, err := w.test(b)
		took := time.Since(started)
		how, ok := symptom(out)
		switch {
		case w.ctx.Err() != nil:
			return w.ctx.Err()
		case err == nil:
			w.report(p, survived, fmt.Sprintf("run %d of %d", n+1, w.times), took, out)
			return nil
		case !ok:
			w.report(p, failed, err.Error(), took, out)
			return nil
		case n == w.times-1:
			w.report(p, killed, how, took, out)
		}
	}
	return nil
}

func (w *worker) binary() string { return filepath.Join(w.tmp, "test.exe") }

// build compiles the tests of a batch in their module. Compiling is most of the
// time, so it leaves out optimizations and symbols, which takes two thirds.
func (w *worker) build(b batch) ([]byte, error) {
	args := []string{"test", "-c", "-vet=off", "-gcflags=-N -l", "-ldflags=-s", "-o", w.binary()}
	if b.layer.race {
		args = append(args, "-race")
	}
	pkg, err := filepath.Rel(filepath.FromSlash(b.module), filepath.FromSlash(b.dir))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(w.ctx, "go", append(args, "./"+filepath.ToSlash(pkg))...)
	cmd.Dir = filepath.Join(w.dir, filepath.FromSlash(b.module))
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOGC=400") // the compiler is short-lived: collecting does not pay
	return cmd.CombinedOutput()
}

// test runs the tests of a batch. The process has a timeout besides that of the
// tests, in case it hangs before it gets to them.
func (w *worker) test(b batch) ([]byte, error) {
	ctx, cancel := context.WithTimeout(w.ctx, b.timeout+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.binary(),
		"-test.v", "-test.failfast", "-test.run="+b.pattern(), "-test.timeout="+b.timeout.String())
	cmd.Dir = filepath.Join(w.dir, filepath.FromSlash(b.dir))
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+w.tmp, "GOTRACEBACK=single")
	if b.layer.env != "" {
		cmd.Env = append(cmd.Env, b.layer.env)
	}
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil && w.ctx.Err() == nil {
		out = append(out, "\npanic: test timed out, and did not notice"...)
	}
	return out, err
}
