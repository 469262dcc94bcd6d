package main

import (
	"reflect"
	"slices"
	"testing"
)

// Within small bounds, the protocol has no counterexample.
func TestProtocolHolds(t *testing.T) {
	for _, s := range []suite{present, next} {
		for _, b := range s.small {
			if r := search(rules{}, b); r.found != nil {
				t.Errorf("%v: %v\n%s", b, r.found, r.lines())
			}
		}
	}
}

// Beyond the bounds of a search, random runs find none either.
func TestProtocolHoldsAtRandom(t *testing.T) {
	for _, s := range []suite{present, next} {
		if r := walk(rules{}, s.wide, 20_000, 1); r.found != nil {
			t.Errorf("%v: %v\n%s", s.wide, r.found, r.lines())
		}
	}
}

// Each mistake is refuted within its bounds, and not within any smaller ones:
// the search finds it, and the bounds say what it takes.
func TestMistakesAreRefuted(t *testing.T) {
	for _, v := range slices.Concat(present.mistakes, next.mistakes) {
		t.Run(v.name, func(t *testing.T) {
			r := search(v.rules, v.bounds)
			if r.fault() != v.breaks {
				t.Fatalf("found %v, want %q\n%s", r.found, v.breaks, r.lines())
			}
			for _, b := range v.bounds.smaller() {
				if r := search(v.rules, b); r.found != nil {
					t.Errorf("smaller bounds will do: %v: %v", b, r.found)
				}
			}
		})
	}
}

// Alternatives have no counterexample within their bounds.
func TestAlternativesHold(t *testing.T) {
	for _, v := range slices.Concat(present.alternatives, next.alternatives) {
		if r := search(v.rules, v.bounds); r.found != nil {
			t.Errorf("%s: %v\n%s", v.name, r.found, r.lines())
		}
	}
}

// A rule that no variant has is not checked by anything.
func TestEveryRuleIsTried(t *testing.T) {
	tried := map[string]bool{}
	for _, v := range slices.Concat(present.variants(), next.variants()) {
		set := reflect.ValueOf(v.rules)
		for i := range set.NumField() {
			if set.Field(i).Bool() {
				tried[set.Type().Field(i).Name] = true
			}
		}
	}
	all := reflect.TypeFor[rules]()
	for i := range all.NumField() {
		if name := all.Field(i).Name; !tried[name] {
			t.Errorf("no variant has the rule %s", name)
		}
	}
}

// What a search finds does not depend on the seeds of the hashes, and the
// repeated run leads to the violation again.
func TestSearchIsDeterministic(t *testing.T) {
	for _, v := range present.mistakes {
		first := search(v.rules, v.bounds)
		seeds[0], seeds[1] = seeds[1], seeds[0]
		second := search(v.rules, v.bounds)
		if first.states != second.states || first.runs != second.runs || !slices.Equal(first.trace, second.trace) {
			t.Errorf("%s: %d states in %d runs, then %d in %d",
				v.name, first.states, first.runs, second.states, second.runs)
		}
		if len(first.trace) == 0 {
			t.Errorf("%s: no trace", v.name)
		}
	}
}

// Pruning hides nothing: a search that visits states again finds no violation
// where the other one finds none.
func TestPruningHidesNothing(t *testing.T) {
	for _, v := range slices.Concat(present.mistakes, next.mistakes) {
		for _, b := range append(v.bounds.smaller(), v.bounds) {
			x := &explorer{rules: v.rules, bounds: b}
			found, _ := x.run(false)
			for found == nil && x.runs < 20_000 && x.chooser.advance() {
				found, _ = x.run(false)
			}
			if pruned := search(v.rules, b); found != nil && pruned.found == nil {
				t.Errorf("%s, %v: pruning hides %v", v.name, b, found)
			}
		}
	}
}
