// Command mutants proves that the tests of kvstore can fail: it breaks a copy of the module in one place at a time, and wants the
// test that is named for it to notice. See README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	os.Exit(run())
}

func run() int {
	pattern := flag.String("run", "", "only mutations whose name, file, promise or layer matches this `regexp`")
	verbose := flag.Bool("v", false, "show what the tests print")
	jobs := flag.Int("j", 2, "mutations at a time")
	times := flag.Int("times", 1, "run each test `n` times; it has to notice every time, for a test that notices by chance fails some day")
	root := flag.String("root", "..", "directory of the module `kvstore`")
	flag.Parse()
	wanted, err := regexp.Compile(*pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var list []mutation
	for _, m := range mutations() {
		if wanted.MatchString(strings.Join([]string{m.name, m.file, m.promise, m.layer.name, m.layer.tests}, " ")) {
			list = append(list, m)
		}
	}
	r := &runner{ctx: ctx, root: *root, verbose: *verbose, times: max(1, *times)}
	if err := r.run(list, max(1, *jobs)); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 1
	}
	return 0
}

// mutation is one planted fault.
type mutation struct {
	name    string // what the store does wrong with it
	file    string // in the module's root
	old     string // is in the file exactly once
	new     string
	promise string // that is broken: P1 to P13 of docs
	layer   layer  // that has to notice
}

// layer is a test, and how it is run.
type layer struct {
	name    string // that of docs/RELIABILITY.md, L0 to L9, and what it is
	tests   string // names of tests, with | between them
	pkg     string // its directory in the root; "" is the root itself
	race    bool
	env     string        // KEY=value, "" for none
	timeout time.Duration // 0 means defaultTimeout
}

// defaultTimeout ends a test that a mutation has made hang. That counts as noticed; a race detector's slowness must not.
const defaultTimeout = 90 * time.Second

// outcome is what became of a mutation.
type outcome string

const (
	killed   outcome = "killed"
	survived outcome = "SURVIVED"
	failed   outcome = "ERROR" // of the list, or of the machine: nothing is proven
)

// runner runs a list of mutations. Its workers share the counts and the terminal; each has a copy of the module for itself.
type runner struct {
	ctx     context.Context
	root    string
	verbose bool
	times   int // that each fault has to be noticed

	mu     sync.Mutex // guards what follows, and the terminal
	counts map[outcome]int
	bad    []string // reports of what survived or failed, which are repeated at the end: a CI log may show that alone
}

func (r *runner) run(list []mutation, jobs int) error {
	started := time.Now()
	r.counts = map[outcome]int{}
	tmp, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	var workers []*worker
	for i := range jobs {
		w := &worker{runner: r, dir: filepath.Join(tmp, fmt.Sprint("copy", i)), tmp: filepath.Join(tmp, fmt.Sprint("tmp", i))}
		if err := errors.Join(copyModule(w.dir, r.root), os.MkdirAll(w.tmp, 0o700)); err != nil {
			return err
		}
		workers = append(workers, w)
	}
	if err := checkList(list, workers[0].dir); err != nil {
		return err
	}
	baseline := baselines(list)
	if err := share(r.ctx, workers, len(baseline), func(w *worker, i int) error { return w.baseline(baseline[i]) }); err != nil {
		return fmt.Errorf("without any mutation: %w", err)
	}
	fmt.Printf("without a mutation: %d layers pass in %.0fs\n", len(baseline), time.Since(started).Seconds())
	err = share(r.ctx, workers, len(list), func(w *worker, i int) error { return w.mutate(&list[i]) })
	for _, line := range r.bad {
		fmt.Println(line)
	}
	fmt.Printf("%d killed, %d survived, %d errors, in %.0fs\n",
		r.counts[killed], r.counts[survived], r.counts[failed], time.Since(started).Seconds())
	fmt.Printf("%d passed, %d failed\n", r.counts[killed], len(r.bad))
	switch {
	case err != nil:
		return err
	case r.counts[killed]+len(r.bad) < len(list):
		return errors.New("interrupted")
	case len(r.bad) > 0:
		return errors.New("a test that must notice a fault does not, or the list is wrong")
	}
	return nil
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

// checkList wants each mutation to change one place of the copied module, and its layer to be a test of it.
func checkList(list []mutation, dir string) error {
	if len(list) == 0 {
		return errors.New("no mutation matches")
	}
	var errs []error
	names := map[string]bool{}
	for _, m := range list {
		tests, err := testFiles(filepath.Join(dir, filepath.FromSlash(m.layer.pkg)))
		if err != nil {
			return err
		}
		for name := range strings.SplitSeq(m.layer.tests, "|") {
			if !bytes.Contains(tests, []byte("\nfunc "+name+"(")) {
				errs = append(errs, fmt.Errorf("%s: there is no %q", m.name, name))
			}
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(m.file)))
		switch n := bytes.Count(data, []byte(m.old)); {
		case err != nil:
			errs = append(errs, err)
		case n != 1:
			errs = append(errs, fmt.Errorf("%s: the old text is in %s %d times", m.name, m.file, n))
		case m.old == m.new:
			errs = append(errs, fmt.Errorf("%s: changes nothing", m.name))
		case names[m.name]:
			errs = append(errs, fmt.Errorf("%s: there twice", m.name))
		case m.promise == "":
			errs = append(errs, fmt.Errorf("%s: breaks no promise", m.name))
		}
		names[m.name] = true
	}
	return errors.Join(errs...)
}

// testFiles returns the test files of a package, one behind the other.
func testFiles(dir string) ([]byte, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(append(all, '\n'), b...)
	}
	return all, nil
}

// baselines returns the layers of a list, those that differ in their tests alone as one.
func baselines(list []mutation) []layer {
	var all []layer
	for _, m := range list {
		l := m.layer
		i := slices.IndexFunc(all, func(a layer) bool { return a.pkg == l.pkg && a.race == l.race && a.env == l.env })
		if i < 0 {
			all = append(all, layer{pkg: l.pkg, race: l.race, env: l.env, timeout: 5 * time.Minute})
			i = len(all) - 1
		}
		for name := range strings.SplitSeq(l.tests, "|") {
			if !slices.Contains(strings.Split(all[i].tests, "|"), name) {
				all[i].tests = strings.TrimPrefix(all[i].tests+"|"+name, "|")
			}
		}
	}
	return all
}

// worker breaks its copy of the module, again and again.
type worker struct {
	*runner
	dir string // the copy
	tmp string // for what the tests leave
}

// baseline wants a layer to pass, and each of its tests to run.
func (w *worker) baseline(l layer) error {
	if out, err := w.build(l); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(out))
	}
	out, err := w.test(l)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", l.tests, err, tail(out))
	}
	for name := range strings.SplitSeq(l.tests, "|") {
		if !regexp.MustCompile(`(?m)^--- PASS: ` + regexp.QuoteMeta(name) + ` `).Match(out) {
			return fmt.Errorf("%s did not run, or was skipped\n%s", name, tail(out))
		}
	}
	return nil
}

// mutate plants one fault, runs its layer, and takes the fault out again. An error means that the copy is not whole any more.
func (w *worker) mutate(m *mutation) (err error) {
	path := filepath.Join(w.dir, filepath.FromSlash(m.file))
	whole, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	broken := strings.Replace(string(whole), m.old, m.new, 1)
	if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, whole, 0o600)) }()
	if out, err := w.build(m.layer); err != nil {
		w.report(m, failed, "does not compile", 0, out)
		return w.ctx.Err()
	}
	started := time.Now()
	for n := range w.times {
		out, err := w.test(m.layer)
		took := time.Since(started)
		how, ok := symptom(out)
		switch {
		case w.ctx.Err() != nil:
			return w.ctx.Err()
		case err == nil:
			w.report(m, survived, fmt.Sprintf("run %d of %d", n+1, w.times), took, out)
			return nil
		case !ok:
			w.report(m, failed, err.Error(), took, out)
			return nil
		case n == w.times-1:
			w.report(m, killed, how, took, out)
		}
	}
	return nil
}

// symptom names how a test that ended badly did so; ok is false if it was not the test's own doing.
func symptom(out []byte) (how string, ok bool) {
	for _, s := range []struct{ text, how string }{
		{"panic: test timed out", "timeout"},
		{"WARNING: DATA RACE", "data race"},
		{"panic: deadlock", "deadlock"},
		{"fatal error: all goroutines are asleep", "deadlock"},
		{"fatal error: ", "fatal error"},
		{"panic: ", "panic"},
		{"goleak: Errors", "goroutine leak"},
		{"--- FAIL: ", "test failure"},
	} {
		if bytes.Contains(out, []byte(s.text)) {
			return s.how, true
		}
	}
	return "", false
}

// tail returns the end of what a test has printed.
func tail(out []byte) []byte { return out[max(0, len(out)-3000):] }

// report prints what became of a mutation.
func (w *worker) report(m *mutation, o outcome, detail string, took time.Duration, out []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[o]++
	line := fmt.Sprintf("%-8s by %-22s in %4.1fs  %-4s %s", o, m.layer.name, took.Seconds(), m.promise, m.name)
	if detail != "" && detail != "test failure" {
		line += " (" + detail + ")"
	}
	if o == survived {
		line += fmt.Sprintf("\n         %s: %s does not notice", m.file, m.layer.tests)
	}
	if o != killed {
		w.bad = append(w.bad, line)
	}
	fmt.Println(line)
	if w.verbose || o == failed {
		fmt.Printf("%s\n", tail(out))
	}
}

func (w *worker) binary() string { return filepath.Join(w.tmp, "test.exe") }

// build compiles a layer's tests. That is most of the time, so it goes without optimizations and symbols, which takes two thirds.
func (w *worker) build(l layer) ([]byte, error) {
	args := []string{"test", "-c", "-vet=off", "-gcflags=-N -l", "-ldflags=-s", "-o", w.binary()}
	if l.race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(w.ctx, "go", append(args, "./"+l.pkg)...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOGC=400") // the compiler has more to do than to collect
	return cmd.CombinedOutput()
}

// test runs a layer's tests. Beside their own timeout there is one of ours, for a process that does not even get to that.
func (w *worker) test(l layer) ([]byte, error) {
	timeout := l.timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(w.ctx, timeout+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.binary(), "-test.v", "-test.failfast", "-test.run=^("+l.tests+")$", "-test.timeout="+timeout.String())
	cmd.Dir = filepath.Join(w.dir, filepath.FromSlash(l.pkg))
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+w.tmp, "GOTRACEBACK=single")
	if l.env != "" {
		cmd.Env = append(cmd.Env, l.env)
	}
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil && w.ctx.Err() == nil {
		out = append(out, "\npanic: test timed out, and did not notice"...)
	}
	return out, err
}

// copyModule copies what the tests of the module need: Go files, go.mod and go.sum, testdata, and the pages that tests read. Other
// modules in it are left out.
func copyModule(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, noModule := os.Stat(filepath.Join(path, "go.mod"))
			if rel != "." && (noModule == nil || strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data := strings.Contains(filepath.ToSlash(rel), "testdata/")
		if ext := filepath.Ext(rel); !data && ext != ".go" && ext != ".mod" && ext != ".sum" && ext != ".md" || !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
}
