package kvstore_test

// This file is the model of a store: a map from keys to values and deadlines,
// which commits change. It knows no clock. What readers see of it depends on
// the moment at which they look.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kvstore"
)

// commit is one commit of the model.
type commit []write

// write is one write of the model; a nil value deletes, unless touch is set.
type write struct {
	key   string
	value value
	until int64 // the deadline, 0 for none
	touch bool  // changes the deadline of a key that is there, and nothing else
}

// value prints as its length and first byte.
type value []byte

func (v value) GoString() string {
	if len(v) == 0 {
		return fmt.Sprintf("value(%t)", v != nil)
	}
	return fmt.Sprintf("%d x %d", len(v), v[0])
}

// entry is what a key has.
type entry struct {
	value string
	until int64 // the deadline, 0 for none
}

// isDue reports whether no read shows the key at this moment.
func (e entry) isDue(now int64) bool { return e.until != 0 && e.until <= now }

// apply carries out the commit. A key that is due is there until it is deleted.
func (c commit) apply(state map[string]entry) {
	for _, w := range c {
		before, ok := state[w.key]
		switch {
		case w.touch && ok:
			state[w.key] = entry{before.value, w.until}
		case w.touch:
		case w.value == nil:
			delete(state, w.key)
		default:
			state[w.key] = entry{string(w.value), w.until}
		}
	}
}

// batch returns a batch of the commit's writes, which must touch nothing.
func (c commit) batch() *kvstore.Batch {
	b := new(kvstore.Batch)
	for _, w := range c {
		switch {
		case w.value == nil:
			b.Delete(w.key)
		case w.until != 0:
			b.SetUntil(w.key, w.value, moment(w.until))
		default:
			b.Set(w.key, w.value)
		}
	}
	return b
}

// visible returns what readers see of a state at a moment.
func visible(state map[string]entry, now int64) map[string]string {
	seen := map[string]string{}
	for key, e := range state {
		if !e.isDue(now) {
			seen[key] = e.value
		}
	}
	return seen
}

// dueAt returns the keys of a state that are due at a moment, in the order of
// their deadlines, and then of their names.
func dueAt(state map[string]entry, now int64) (due []string) {
	for _, key := range slices.Sorted(maps.Keys(state)) {
		if state[key].isDue(now) {
			due = append(due, key)
		}
	}
	slices.SortStableFunc(due, func(a, b string) int { return int(state[a].until - state[b].until) })
	return due
}

// withDeadlines returns what a store shows to Keys, Get and Deadline.
func withDeadlines(s *kvstore.Store) map[string]entry {
	all := map[string]entry{}
	for key, value := range state(s) {
		deadline, _ := s.Deadline(key)
		all[key] = entry{value, nanoseconds(deadline)}
	}
	return all
}

// moment returns the time of a deadline, the zero time for none.
func moment(until int64) time.Time {
	if until == 0 {
		return time.Time{}
	}
	return time.Unix(0, until)
}

// nanoseconds is the inverse of moment.
func nanoseconds(deadline time.Time) int64 {
	if deadline.IsZero() {
		return 0
	}
	return deadline.UnixNano()
}

// summary describes a state in a line.
func summary(state map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(state)) {
		fmt.Fprintf(&b, "%q=%#v ", key, value(state[key]))
	}
	return b.String()
}

// fullSummary is summary with deadlines, as durations from a moment.
func fullSummary(state map[string]entry, from int64) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(state)) {
		fmt.Fprintf(&b, "%q=%#v", key, value(state[key].value))
		if until := state[key].until; until != 0 {
			fmt.Fprintf(&b, " until %v", time.Duration(until-from))
		}
		b.WriteByte(' ')
	}
	return b.String()
}
