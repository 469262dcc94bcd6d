package kvstore

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"kvstore/internal/codec"
	"kvstore/internal/table"
)

// ahead is the state that a command meets in commit order: the table, and over
// it what the commands ahead of it in the group write. Nothing of the latter is
// durable or visible yet. The writer owns it; a function given to [Store.Do]
// reads it, in the writer's goroutine.
type ahead struct {
	serial *serial // immutable: runs functions
	clock  *clock  // immutable
	table  *table.Table

	now     int64 // the moment at which keys are due or not: the group's, or what SetNow has asked for
	stopped bool  // the clock stands still at the group's moment

	// held is the living keys of the table whose deadlines the commands move
	// that have looked at them first, with the new deadlines. Readers get it,
	// and then it is immutable.
	held map[string]int64

	ops     map[string]table.Op // what becomes of each key; they point into the commands' entries
	tracked int                 // of the group's writes, those in ops
	view    *table.View         // of table, for loops over it; nil until there is one
	keys    int                 // how many keys there are; valid if counted is set
	counted bool
}

// maxKeptKeys keeps a large map from being cleared for every group.
const maxKeptKeys = 1 << 10

// begin makes it the state that the first command of a group meets.
func (a *ahead) begin(t *table.Table) {
	*a = ahead{serial: a.serial, clock: a.clock, table: t, ops: a.ops}
	if a.ops == nil {
		a.ops = map[string]table.Op{}
	}
}

// stop fixes the group's moment, which the clock shows until start is called.
// Most groups have no command that asks what is ahead of it, and need none.
func (a *ahead) stop() {
	if !a.stopped {
		a.now, a.stopped = a.clock.stop(), true
	}
}

// start lets the clock go on.
func (a *ahead) start() {
	if a.stopped {
		a.clock.start()
		a.stopped = false
	}
}

// end forgets the commands of a group, which may be large.
func (a *ahead) end() {
	if len(a.ops) > maxKeptKeys {
		a.ops = nil
	}
	clear(a.ops)
}

// track adds the writes that were accepted since it was called last. Most
// groups have no command that asks what is ahead of it, and need no ops.
func (a *ahead) track(writes []*writeCommand) {
	for _, c := range writes[a.tracked:] {
		for op := range codec.Ops(c.list.entries) {
			key := string(op.Key)
			if op.Touch {
				a.touch(key, op)
				continue
			}
			if a.counted {
				a.keys += change(a.isThere(key), !op.Delete)
			}
			if _, changed := a.ops[key]; c.decide != nil && !op.Delete && !changed {
				a.hold(key, op.Deadline)
			}
			a.ops[key] = op
		}
	}
	a.tracked = len(writes)
}

// touch tracks the change of a deadline. What was ahead of it on the same key
// stays, but for the deadline.
func (a *ahead) touch(key string, op table.Op) {
	switch before, ok := a.ops[key]; {
	case ok && before.Delete:
		return
	case ok:
		before.Deadline = op.Deadline
		op = before
		if _, isHeld := a.held[key]; isHeld {
			a.held[key] = op.Deadline
		}
	case !isInTable(a.table, key):
		return
	default:
		a.hold(key, op.Deadline)
	}
	a.ops[key] = op
}

// hold notes a key whose deadline is moved, if it is alive. By the table it may
// fall due before readers see that, and would be gone and come back.
func (a *ahead) hold(key string, until int64) {
	if a.table.Expiring() == 0 {
		return
	}
	if deadline, alive := a.table.HasAt(a.now, key); !alive || deadline == 0 {
		return
	}
	if a.held == nil {
		a.held = map[string]int64{}
	}
	a.held[key] = until
}

// change returns by how much the number of keys changes with one key, which was
// there before or not, and is there afterwards or not.
func change(was, is bool) int {
	switch {
	case was && !is:
		return -1
	case !was && is:
		return 1
	default:
		return 0
	}
}

// keysAfter returns how many keys there are after these operations.
func (a *ahead) keysAfter(ops iter.Seq2[table.Op, int64]) int {
	if !a.counted {
		a.keys, a.counted = a.table.Size(), true
		for key, op := range a.ops {
			a.keys += change(isInTable(a.table, key), !op.Delete)
		}
	}
	keys, present := a.keys, map[string]bool{}
	for op := range ops {
		if op.Touch {
			continue
		}
		was, known := present[string(op.Key)]
		if !known {
			was = a.isThere(string(op.Key))
		}
		present[string(op.Key)] = !op.Delete
		keys += change(was, !op.Delete)
	}
	return keys
}

// always is a moment at which no key is due.
const always = math.MinInt64

// isInTable reports whether the table has key, due or not.
func isInTable(t *table.Table, key string) bool {
	_, ok := t.HasAt(always, key)
	return ok
}

// isThere reports whether the command finds key there, due or not.
func (a *ahead) isThere(key string) bool {
	if op, ok := a.ops[key]; ok {
		return !op.Delete
	}
	return isInTable(a.table, key)
}

// Find implements [txState].
func (a *ahead) Find(dst []byte, key string) (value []byte, deadline int64, ok bool) {
	op, changed := a.ops[key]
	switch {
	case !changed:
		return a.table.GetAt(a.now, dst, key)
	case op.Delete || isDue(op.Deadline, a.now):
		return dst, 0, false
	case op.Touch:
		value, _, ok = a.table.GetAt(always, dst, key)
		return value, op.Deadline, ok
	default:
		if dst == nil {
			dst = []byte{} // an empty value is not nil
		}
		return append(dst, op.Value...), op.Deadline, true
	}
}

// Look implements [txState].
func (a *ahead) Deadline(key string) (deadline int64, ok bool) {
	op, changed := a.ops[key]
	switch {
	case !changed:
		return a.table.HasAt(a.now, key)
	case op.Delete || isDue(op.Deadline, a.now):
		return 0, false
	default:
		return op.Deadline, true
	}
}

// isDue reports whether key is there and due.
func (a *ahead) isDue(key string) bool {
	_, alive := a.Deadline(key)
	return !alive && a.isThere(key)
}

// Scan implements [txState]. Values that are ahead in the group show in a loop
// over keys, too.
func (a *ahead) Scan(b table.Bounds, l table.Loop) iter.Seq2[string, []byte] {
	return overlay(a.opened().Scan(b, l), a.within(b, l.Reverse), l.Reverse)
}

// within returns what the commands ahead write within bounds, in the order of a
// loop.
func (a *ahead) within(b table.Bounds, reverse bool) (own []written) {
	for key := range a.ops {
		if b.Has(key) {
			own = append(own, a.written(key))
		}
	}
	sortWritten(own, reverse)
	return own
}

// written returns what a key becomes that is in ops. The value is not a copy.
func (a *ahead) written(key string) written {
	op := a.ops[key]
	w := written{key: key, value: op.Value, deadline: op.Deadline, deleted: op.Delete || isDue(op.Deadline, a.now)}
	if op.Touch && !w.deleted {
		w.value, _, _ = a.table.GetAt(always, nil, key)
	}
	return w
}

// Pairs implements [txState].
func (a *ahead) Pairs(soonest *int64) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for key, value := range a.opened().Pairs(soonest) {
			if _, changed := a.ops[key]; !changed && !yield(key, value) {
				return
			}
		}
		for key := range a.ops {
			if w := a.written(key); !w.deleted && !yield(key, cloneValue(w.value)) {
				return
			}
		}
	}
}

// unchanged reports whether neither the table's commits nor those ahead have
// written any of the keys since v was opened, and none that v shows has fallen
// due.
func (a *ahead) unchanged(v *table.View, keys []string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool {
		_, ok := a.ops[key]
		return ok
	}) && isUnchanged(v, keys, a.now)
}

// isUnchanged reports whether no commit has written any of the keys since v was
// opened, and none that v shows is due now.
func isUnchanged(v *table.View, keys []string, now int64) bool {
	return !slices.ContainsFunc(keys, func(key string) bool {
		deadline, ok := v.Deadline(key)
		return ok && isDue(deadline, now)
	}) && v.Unchanged(keys, nil)
}

// opened returns a view of the table.
func (a *ahead) opened() *table.View {
	if a.view == nil {
		a.view = a.table.View()
	}
	a.view.SetNow(a.now)
	return a.view
}

// closeView ends all loops.
func (a *ahead) closeView() {
	if a.view != nil {
		a.view.Close()
		a.view = nil
	}
}

// written is a pair that lies over a state, or a deletion.
type written struct {
	key      string
	value    []byte
	deadline int64 // 0 for none
	deleted  bool
	touched  bool // only the deadline was changed, and the value is that of the state
	due      bool // deleted because its deadline has passed
}

// sortWritten sorts pairs in the order of a loop.
func sortWritten(own []written, reverse bool) {
	slices.SortFunc(own, func(a, b written) int { return cmp.Compare(a.key, b.key) })
	if reverse {
		slices.Reverse(own)
	}
}

// overlay iterates over a state's pairs with own over them. Both must be in the
// loop's order.
func overlay(state iter.Seq2[string, []byte], own []written, reverse bool) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		own := own // the caller may run the same loop again
		// showOwn shows the own pairs that come before a key, or at it.
		showOwn := func(isDue func(key string) bool) bool {
			for len(own) > 0 && isDue(own[0].key) {
				next := own[0]
				own = own[1:]
				if !next.deleted && !yield(next.key, cloneValue(next.value)) {
					return false
				}
			}
			return true
		}
		for key, value := range state {
			replaced := false
			if !showOwn(func(own string) bool {
				replaced = replaced || own == key
				return own == key || own < key != reverse
			}) {
				return
			}
			if !replaced && !yield(key, value) {
				return
			}
		}
		showOwn(func(string) bool { return true })
	}
}

// cloneValue returns a copy for the caller to keep. It is never nil.
func cloneValue(value []byte) []byte { return append([]byte{}, value...) }
