package kvstore

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"kvstore/internal/table"
)

// readSet is what a transaction has read. It holds as long as none of it has
// changed. The transaction owns it; while its command is with the writer, the
// writer reads it.
//
// A transaction with few reads is checked read by read. For one with many, that
// would keep the writer from its work for as long as the caller likes. Then the
// caller looks first, in its own goroutine, whether anything was changed up to
// a newer view, the base. The writer looks at what was changed since the base.
// If that is too much as well, the caller looks again.
type readSet struct {
	view   *table.View
	keys   map[string]struct{} // looked up in view, absent ones too
	ranges []table.Bounds      // that were scanned; in order and apart once prepared
	pairs  int                 // that the scans have found, without regard to the transaction's own writes

	soonest int64 // the earliest deadline of the keys found: at that moment they are not found

	unchanged []unchangedKeys // what Tx.Unchanged has answered with true

	list []string // keys, once prepared
	base *View    // nil if there are few reads
}

// unchangedKeys are keys that were not written since a view was opened.
type unchangedKeys struct {
	view *View // the caller's, who may close it
	keys []string
}

const (
	// maxDirectReads is how many reads the writer checks one by one, in some
	// 100 µs.
	maxDirectReads = 512
	tooMany        = maxDirectReads + 1

	// maxChanges is how many changes since the base the writer looks at.
	maxChanges = 2 << 10
)

// verdict is what a check of a readSet finds.
type verdict int

const (
	holds   verdict = iota // nothing of it was changed
	changed                // something was
	unknown                // too much has changed since the base
)

func newReadSet(v *table.View) *readSet {
	return &readSet{view: v, keys: map[string]struct{}{}, soonest: math.MaxInt64}
}

// bytes returns about how much memory the set takes.
func (r *readSet) bytes() (n int) {
	const each = 16
	for key := range r.keys {
		n += len(key) + each
	}
	for _, b := range r.ranges {
		n += len(b.Low) + len(b.High) + 2*each
	}
	for _, u := range r.unchanged {
		n += (len(u.keys) + 1) * each
	}
	return n
}

// has reports whether key was read. The set must be prepared.
func (r *readSet) has(key string) bool {
	if _, ok := r.keys[key]; ok {
		return true
	}
	// The last range that begins at key or below.
	i, found := slices.BinarySearchFunc(r.ranges, key, func(b table.Bounds, key string) int {
		return cmp.Compare(b.Low, key)
	})
	if !found {
		i--
	}
	return i >= 0 && r.ranges[i].Has(key)
}

// prepare makes the set ready for the writer. It returns false if something was
// changed already. It may be called again, after the verdict unknown.
func (r *readSet) prepare(s *Store) (stillHolds bool, err error) {
	if r.list == nil {
		r.ranges = apart(r.ranges)
		r.list = slices.AppendSeq(make([]string, 0, len(r.keys)), maps.Keys(r.keys))
	}
	if len(r.list)+r.pairs <= maxDirectReads {
		return true, nil
	}
	base, err := s.openView()
	if err != nil {
		return false, err
	}
	since := r.view
	if r.base != nil {
		since = r.base.view
	}
	found, _ := since.AnyChange(base.view.Version(), r.has, 0)
	r.close()
	r.base = base
	return !found, nil
}

// close closes the base. If ctx has ended, the writer may be about to look at
// it, and finds nothing in it.
func (r *readSet) close() {
	if r.base != nil {
		_ = r.base.Close() // it returns nil
	}
}

// check looks whether the set holds for a command that meets this state.
func (r *readSet) check(a *ahead) verdict {
	if r.soonest <= a.now || r.isAhead(a) || slices.ContainsFunc(r.unchanged, func(u unchangedKeys) bool {
		return !a.unchanged(u.view.view, u.keys)
	}) {
		return changed
	}
	if r.base == nil {
		if r.view.Unchanged(r.list, r.ranges) {
			return holds
		}
		return changed
	}
	found, complete := r.base.view.AnyChange(a.table.Version(), r.has, maxChanges)
	switch {
	case found:
		return changed
	case !complete:
		return unknown
	default:
		return holds
	}
}

// isAhead reports whether a command ahead in the group changes something of the
// set.
func (r *readSet) isAhead(a *ahead) bool {
	if len(r.ranges) == 0 && len(r.list) < len(a.ops) {
		return slices.ContainsFunc(r.list, func(key string) bool {
			_, ok := a.ops[key]
			return ok
		})
	}
	for key := range a.ops {
		if r.has(key) {
			return true
		}
	}
	return false
}

// apart returns bounds with the same keys, in order, no two of which overlap.
func apart(bounds []table.Bounds) []table.Bounds {
	slices.SortFunc(bounds, func(a, b table.Bounds) int { return cmp.Compare(a.Low, b.Low) })
	var merged []table.Bounds
	for _, b := range bounds {
		n := len(merged)
		if n == 0 || merged[n-1].Bounded && merged[n-1].High < b.Low {
			merged = append(merged, b)
			continue
		}
		last := &merged[n-1]
		switch {
		case !last.Bounded:
		case !b.Bounded:
			last.Bounded = false
		default:
			last.High = max(last.High, b.High)
		}
	}
	return merged
}
