// Command mutants proves that the tests of kvstore can fail. It plants one
// fault at a time in a copy of the repository and runs the test that the fault
// names: that test must fail. README.md describes how a fault is written.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
)

func main() {
	os.Exit(run())
}

func run() int {
	pattern := flag.String("run", "", "only faults whose name, file, promise, layer, test or function matches `regexp`")
	check := flag.Bool("check", false, "find every fault and every test in the source, and type-check it; run nothing")
	verbose := flag.Bool("v", false, "show what the tests print")
	jobs := flag.Int("j", 2, "choose `n` faults at a time, besides one that may hang")
	times := flag.Int("times", 1, "run each test `n` times: it must fail every time")
	root := flag.String("root", "..", "`directory` of the repository")
	flag.Usage = usage
	flag.Parse()
	wanted, err := regexp.Compile(*pattern)
	if err == nil {
		var faults []*fault
		if faults, err = readFaults(flag.Args(), *root); err == nil {
			r := &runner{root: *root, verbose: *verbose, times: max(1, *times), wanted: wanted, faults: faults}
			err = start(r, *check, max(1, *jobs))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 1
	}
	return 0
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: go run . [flags] [file.fault...]")
	flag.PrintDefaults()
}

// start checks the faults of a runner, or plants them.
func start(r *runner, check bool, jobs int) error {
	if check {
		return r.check()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r.ctx = ctx
	return r.run(jobs)
}

// readFaults reads the files it is given or, without any, all files in
// mutants/faults.
func readFaults(files []string, root string) ([]*fault, error) {
	if len(files) == 0 {
		var err error
		dir := filepath.Join(root, "mutants", "faults")
		if files, err = filepath.Glob(filepath.Join(dir, "*.fault")); err != nil || len(files) == 0 {
			return nil, cmp.Or(err, fmt.Errorf("there is no .fault file in %s", dir))
		}
	}
	var all []*fault
	var errs []error
	first := map[string]*fault{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		faults, err := parseFaults(name, string(text))
		errs = append(errs, err)
		for _, f := range faults {
			if other := first[f.name]; other != nil {
				errs = append(errs, f.errorf("%s has this name too", other.place()))
			} else {
				first[f.name] = f
			}
		}
		all = append(all, faults...)
	}
	return all, errors.Join(errs...)
}
