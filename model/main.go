// Command model checks the recovery protocol of kvstore exhaustively, within
// bounds. See README.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"
)

func main() {
	os.Exit(run())
}

func run() int {
	isNext := flag.Bool("next", false, "check the design of what comes, not the protocol that the store follows")
	isFull := flag.Bool("full", false, "search the full bounds, and walk at random: minutes, not seconds")
	pattern := flag.String("variant", "", "only variants whose name matches this `regexp`, with their counterexamples")
	walks := flag.Int("walks", 2_000_000, "random `runs`, with -full")
	seed := flag.Uint64("seed", 1, "seed of the random runs")
	flag.Parse()
	wanted, err := regexp.Compile(*pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
		return 2
	}
	s, r := &present, &reporter{}
	if *isNext {
		s = &next
	}
	switch {
	case *pattern != "":
		r.counterexamples = true
	case *isFull:
		r.searchProtocol(s.full)
		r.walk(s, *walks, *seed)
	default:
		r.searchProtocol(s.small)
	}
	r.searchVariants(s.variants(), wanted)
	if r.failures > 0 {
		fmt.Printf("%d FAILURES\n", r.failures)
		return 1
	}
	return 0
}

// reporter prints results, and counts those that are not as expected.
type reporter struct {
	failures        int
	counterexamples bool // print them even if they are expected
}

// searchProtocol searches for a violation of the protocol, which has none.
func (r *reporter) searchProtocol(all []bounds) {
	fmt.Println("the protocol, exhaustively, within")
	for _, b := range all {
		r.report(search(rules{}, b), none, b.String())
	}
}

// walk goes beyond the bounds of a search, with the protocol and with its
// alternatives.
func (r *reporter) walk(s *suite, runs int, seed uint64) {
	fmt.Println("the protocol and its alternatives, at random")
	r.report(walk(rules{}, s.wide, runs, seed), none, s.wide.String())
	for _, v := range s.alternatives {
		r.report(walk(v.rules, s.wide, runs/10, seed), none, v.name)
	}
}

// searchVariants searches for the violation that each variant should have.
func (r *reporter) searchVariants(all []variant, wanted *regexp.Regexp) {
	fmt.Println("variants, exhaustively")
	for _, v := range all {
		if wanted.MatchString(v.name) {
			r.report(search(v.rules, v.bounds), v.breaks, v.name)
		}
	}
}

func (r *reporter) report(found result, expected fault, what string) {
	verdict := "holds"
	if found.found != nil {
		verdict = "refuted"
	}
	isExpected := found.fault() == expected
	if !isExpected {
		r.failures++
		verdict = "FAILURE"
	}
	fmt.Printf("%8s %8d states %9d runs %9d steps %8v  %s\n",
		verdict, found.states, found.runs, found.steps, found.took.Round(10*time.Millisecond), what)
	if found.found == nil || isExpected && !r.counterexamples {
		return
	}
	for _, line := range found.trace {
		fmt.Println("         ", line)
	}
	fmt.Println("          =>", found.found)
}
