package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// outcome is what became of a fault.
type outcome string

const (
	killed   outcome = "killed"
	survived outcome = "SURVIVED"
	failed   outcome = "ERROR" // of the fault's description or of the machine: nothing is proven
)

// symptom names how a test failed; ok is false if something else failed.
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

// paths names the files that a fault changes.
func (p *planted) paths() string {
	var all []string
	for _, s := range p.sources {
		all = append(all, s.path)
	}
	return strings.Join(all, ", ")
}

// report prints what became of a fault.
func (r *runner) report(p *planted, o outcome, detail string, took time.Duration, out []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[o]++
	line := fmt.Sprintf("%-8s by %-22s in %4.1fs  %-4s %s", o, p.layer.name, took.Seconds(), p.promise, p.name)
	if detail != "" && detail != "test failure" {
		line += " (" + detail + ")"
	}
	if o != killed {
		line += fmt.Sprintf("\n         %s, in %s", p.place(), p.paths())
		if o == survived {
			line += fmt.Sprintf(": %s does not notice", strings.Join(p.tests, "|"))
		}
		r.bad = append(r.bad, line)
	}
	fmt.Println(line)
	if r.verbose || o == failed {
		fmt.Printf("%s\n", tail(out))
	}
}

// sum prints the counts, and first once more all faults that were not killed: a
// CI log may show the end alone. It is an error if there is such a fault.
func (r *runner) sum(n int, took time.Duration) error {
	for _, line := range r.bad {
		fmt.Println(line)
	}
	fmt.Printf("%d killed, %d survived, %d errors, in %.0fs\n",
		r.counts[killed], r.counts[survived], r.counts[failed], took.Seconds())
	fmt.Printf("%d passed, %d failed\n", r.counts[killed], len(r.bad))
	switch {
	case r.counts[killed]+len(r.bad) < n:
		return errors.New("interrupted")
	case len(r.bad) > 0:
		return errors.New("a test does not notice the fault that it must notice, or a fault is described wrongly")
	}
	return nil
}
