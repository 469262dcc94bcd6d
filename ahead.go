package kvstore

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"kvstore/internal/codec"
	"kvstore/internal/table"
)

// ahead is the state that a command meets in commit order: the table, and over
// it what the commands ahead of it in the group write. Nothing of the latter is
// durable or visible yet. The writer owns it; a function given to [Store.Do]
// reads it, in the writer's goroutine.
type ahead struct {
	serial *serial // immutable: runs functions
	table  *table.Table
	now    time.Time // the group's moment, by the store's clock

	ops     map[string]table.Op // the last operation on each key; they point into the commands' entries
	tracked int                 // of the group's writes, those in ops
	view    *table.View         // of table, for loops over it; nil until there is one
	keys    int                 // how many keys there are; valid if counted is set
	counted bool
}

// maxKeptKeys keeps a large map from being cleared for every group.
const maxKeptKeys = 1 << 10

// begin makes it the state that the first command of a group meets.
func (a *ahead) begin(t *table.Table, now time.Time) {
	*a = ahead{serial: a.serial, table: t, now: now, ops: a.ops}
	if a.ops == nil {
		a.ops = map[string]table.Op{}
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
			if a.counted {
				a.keys += change(a.Has(string(op.Key)), !op.Delete)
			}
			a.ops[string(op.Key)] = op
		}
	}
	a.tracked = len(writes)
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
		a.keys, a.counted = a.table.Len(), true
		for key, op := range a.ops {
			a.keys += change(a.table.Has(key), !op.Delete)
		}
	}
	keys, present := a.keys, map[string]bool{}
	for op := range ops {
		was, known := present[string(op.Key)]
		if !known {
			was = a.Has(string(op.Key))
		}
		present[string(op.Key)] = !op.Delete
		keys += change(was, !op.Delete)
	}
	return keys
}

// Get implements [txState].
func (a *ahead) Get(dst []byte, key string) ([]byte, bool) {
	op, ok := a.ops[key]
	switch {
	case !ok:
		return a.table.Get(dst, key)
	case op.Delete:
		return dst, false
	default:
		if dst == nil {
			dst = []byte{} // an empty value is not nil
		}
		return append(dst, op.Value...), true
	}
}

// Has implements [txState].
func (a *ahead) Has(key string) bool {
	if op, ok := a.ops[key]; ok {
		return !op.Delete
	}
	return a.table.Has(key)
}

// Scan implements [txState].
func (a *ahead) Scan(b table.Bounds, l table.Loop) iter.Seq2[string, []byte] {
	return overlay(a.opened().Scan(b, l), a.within(b, l.Reverse), l.Reverse)
}

// within returns what the commands ahead write within bounds, in the order of a
// loop.
func (a *ahead) within(b table.Bounds, reverse bool) (own []written) {
	for key, op := range a.ops {
		if b.Has(key) {
			own = append(own, written{key, op.Value, op.Delete})
		}
	}
	sortWritten(own, reverse)
	return own
}

// Pairs implements [txState].
func (a *ahead) Pairs(soonest *int64) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for key, value := range a.opened().Pairs(soonest) {
			if _, changed := a.ops[key]; !changed && !yield(key, value) {
				return
			}
		}
		for key, op := range a.ops {
			if !op.Delete && !yield(key, cloneValue(op.Value)) {
				return
			}
		}
	}
}

// unchanged reports whether neither the table's commits nor those ahead have
// written any of the keys since v was opened.
func (a *ahead) unchanged(v *table.View, keys []string) bool {
	isAhead := func(key string) bool {
		_, ok := a.ops[key]
		return ok
	}
	return !slices.ContainsFunc(keys, isAhead) && v.Unchanged(keys, nil)
}

// opened returns a view of the table.
func (a *ahead) opened() *table.View {
	if a.view == nil {
		a.view = a.table.View()
	}
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
	key     string
	value   []byte
	deleted bool
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
