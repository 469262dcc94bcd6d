package main

import (
	"cmp"
	"context"
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

// worker judges faults, one after the other.
type worker struct {
	*runner
	tmp string // for its program, and for the files of tests
}

// baseline runs a batch without a fault: each test must run and pass.
func (w *worker) baseline(b batch) error {
	program, err := w.programs.get(w.ctx, b)
	if err != nil {
		return err
	}
	out, err := w.test(program, b)
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

// judge runs the tests of a fault and reports what became of it.
func (w *worker) judge(p *planted) error {
	b := p.batch()
	program := filepath.Join(w.tmp, "test.exe")
	if p.alone {
		if out, err := w.programs.buildAlone(w.ctx, program, p); err != nil {
			w.report(p, failed, "cannot be built: "+err.Error(), 0, out)
			return w.ctx.Err()
		}
	} else if err := w.programs.choose(w.ctx, program, b, p.number); err != nil {
		return err
	}
	started := time.Now()
	for n := range w.times {
		out, err := w.test(program, b, seeds(n+1)...)
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

// seeds returns the environment variables that give a test the nth of its
// seeds: a fault meets the same choices in every run of the runner.
func seeds(n int) []string {
	return []string{fmt.Sprint("RAPID_SEED=", n), fmt.Sprint("KVSTORE_SEED=", n)}
}

// test runs the tests of a batch. The process has a timeout besides that of the
// tests, in case it hangs before it gets to them.
func (w *worker) test(program string, b batch, env ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(w.ctx, b.timeout+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program,
		"-test.v", "-test.failfast", "-test.run="+b.pattern(), "-test.timeout="+b.timeout.String())
	cmd.Dir = filepath.Join(w.programs.schema, filepath.FromSlash(b.dir))
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+w.tmp, "GOTRACEBACK=single", "GORACE=halt_on_error=1",
		"RAPID_NOFAILFILE=1") // the tests of the next fault would begin with the failure of this one
	cmd.Env = append(cmd.Env, env...)
	if b.layer.env != "" {
		cmd.Env = append(cmd.Env, b.layer.env)
	}
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil && w.ctx.Err() == nil {
		out = append(out, "\npanic: test timed out, and did not notice"...)
	}
	return out, err
}
