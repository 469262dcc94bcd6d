package main

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"time"
)

// The protocol is straight code that asks the adversary wherever something may
// happen. A run is one sequence of answers. The search tries all sequences,
// depth first: it runs the model from the beginning, repeats the answers up to
// the last one that has an alternative, and takes that. A run that comes to a
// state which was seen before ends there.

// errSync is the only error that the disk returns. errChanged is the error of
// an Open that reads other bytes than it has judged.
var (
	errSync    = errors.New("fsync failed")
	errChanged = errors.New("a second reading differs")
)

// crash is the panic that unwinds a process that dies.
type crash struct{}

// pruned is the panic that ends a run in which nothing new can happen.
type pruned struct{}

// decision is one answer.
type decision struct{ answer, of int }

// chooser answers questions: first with the answers of a path, then with the
// first possible answer to each question, or with a random one.
type chooser struct {
	path []decision
	used int // number of answers of path that were given

	walks bool       // path is that of a walk, not of a search
	rnd   *rand.Rand // nil: no random answers
}

// choose returns a number below n.
func (c *chooser) choose(n int) int {
	if n <= 1 {
		return 0
	}
	return c.answer(n, func() int { return c.rnd.IntN(n) })
}

// flip returns false first, then true.
func (c *chooser) flip() bool { return c.choose(2) == 1 }

// rarely is flip, but true once in n times at random.
func (c *chooser) rarely(n int) bool {
	return c.answer(2, func() int { return int(bit(c.rnd.IntN(n) == 0)) }) == 1
}

func (c *chooser) answer(n int, random func() int) int {
	if c.used == len(c.path) {
		d := decision{of: n}
		if c.rnd != nil {
			d.answer = random()
		}
		c.path = append(c.path, d)
	}
	c.used++
	return c.path[c.used-1].answer
}

// advance makes path the next one in the order of the search. It returns false
// after the last one.
func (c *chooser) advance() bool {
	c.path = c.path[:c.used]
	for n := len(c.path); n > 0; n-- {
		if last := &c.path[n-1]; last.answer+1 < last.of {
			last.answer++
			c.path = c.path[:n]
			return true
		}
	}
	return false
}

// adversary decides what goes wrong, within bounds.
type adversary struct {
	*chooser
	rules rules
	left  bounds // what may still happen
	steps int

	// At random, the process dies in one step of so many, and one fsync of so
	// many fails.
	crashOdds, failureOdds int

	tracing bool
	trace   []string
}

// happens reports whether something happens that has a bound, and counts it.
func (a *adversary) happens(left *int, odds int) bool {
	if *left == 0 || !a.rarely(odds) {
		return false
	}
	*left--
	return true
}

// step comes before each system call, and where else a process may die.
func (a *adversary) step() {
	a.steps++
	if a.happens(&a.left.crashes, a.crashOdds) {
		a.say("  *** the process dies")
		panic(crash{})
	}
}

func (a *adversary) syncFails() bool { return a.happens(&a.left.syncFailures, a.failureOdds) }

// say adds a line to the trace of a run that is repeated in order to be shown.
func (a *adversary) say(format string, args ...any) {
	if a.tracing {
		a.trace = append(a.trace, fmt.Sprintf(format, args...))
	}
}

// explorer runs one variant of the protocol within bounds.
type explorer struct {
	rules   rules
	bounds  bounds
	chooser chooser
	visited map[hash]struct{} // nil: no run is pruned
	key     []byte
	runs    int
	steps   int
}

// hash stands for a state. At 128 bits, no two states of a search are to be
// expected to share one.
type hash [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// run makes one run along the chooser's path.
func (x *explorer) run(tracing bool) (found *violation, trace []string) {
	x.chooser.used = 0
	a := &adversary{
		chooser: &x.chooser, rules: x.rules, left: x.bounds, tracing: tracing, crashOdds: 10, failureOdds: 2,
	}
	if x.chooser.rnd != nil {
		a.crashOdds, a.failureOdds = 10+x.chooser.rnd.IntN(60), 2+x.chooser.rnd.IntN(8)
	}
	w := newWorld(a)
	repeated := len(x.chooser.path)
	w.visit = func(tag byte, s *session) {
		// As long as a run repeats the one before, its states were seen.
		if x.visited == nil || tracing || x.chooser.used < repeated {
			return
		}
		x.visitState(w.appendKey(append(x.key[:0], tag), s))
	}
	defer func() {
		x.runs++
		x.steps += a.steps
		trace = a.trace
		switch r := recover().(type) {
		case nil, pruned:
		case *violation:
			found = r
		default:
			panic(r)
		}
	}()
	w.run()
	return nil, nil
}

// visitState ends the run if the state was seen before.
func (x *explorer) visitState(key []byte) {
	x.key = key
	h := hash{maphash.Bytes(seeds[0], key), maphash.Bytes(seeds[1], key)}
	if _, ok := x.visited[h]; ok {
		panic(pruned{})
	}
	x.visited[h] = struct{}{}
}

// result is what a search or a walk has found.
type result struct {
	states int // different ones; 0 after a walk
	runs   int
	steps  int // that the protocol took
	took   time.Duration
	found  *violation // nil if there is none
	trace  []string   // of the run that leads to it
}

// search makes every run that there is within bounds, and ends with the first
// violation. It is deterministic.
func search(r rules, b bounds) result {
	x := &explorer{rules: r, bounds: b, visited: map[hash]struct{}{}}
	started := time.Now()
	for {
		found, _ := x.run(false)
		if found != nil || !x.chooser.advance() {
			return x.result(started, found)
		}
	}
}

// walk makes random runs within bounds that are too wide for a search.
func walk(r rules, b bounds, runs int, seed uint64) result {
	x := &explorer{rules: r, bounds: b, chooser: chooser{walks: true, rnd: rand.New(rand.NewPCG(seed, seed))}}
	started := time.Now()
	for range runs {
		x.chooser.path = x.chooser.path[:0]
		if found, _ := x.run(false); found != nil {
			return x.result(started, found)
		}
	}
	return x.result(started, nil)
}

// result returns what was found, with the trace of the violation that the last
// run has found.
func (x *explorer) result(started time.Time, found *violation) result {
	r := result{states: len(x.visited), runs: x.runs, steps: x.steps, took: time.Since(started), found: found}
	if found != nil {
		x.chooser.rnd = nil
		_, r.trace = x.run(true)
	}
	return r
}

// fault returns what was found, none if nothing was.
func (r *result) fault() fault {
	if r.found == nil {
		return none
	}
	return r.found.fault
}

// lines returns the trace as text.
func (r *result) lines() string { return strings.Join(r.trace, "\n") }
