package kvstore

import (
	"iter"
	"runtime"

	"kvstore/internal/table"
)

// Range says which keys a scan shows, and in which order. All bounds apply
// together. The zero Range is all keys in rising order. Keys are compared byte
// by byte.
type Range struct {
	From    string // the lowest key, also if Reverse
	To      string // all keys are below it; "" is no bound
	Prefix  string // all keys begin with it
	Reverse bool   // from the highest key to the lowest
	Limit   int    // the largest number of keys; 0 or less is no limit
}

// Prefix returns the range of all keys that begin with p.
func Prefix(p string) Range { return Range{Prefix: p} }

// Scan iterates over keys and values within r, in order, as they are when the
// loop starts. Later writes, also those of the loop's body, do not show. Key
// and value belong to the caller. Small values may share memory, which is freed
// when none of them is in use any more. If the store is closed, Scan shows
// nothing; a loop that is under way when the store is closed goes on to its
// end.
//
// The first scan of a store builds an index of its keys, which takes about a
// second for a few million keys. From then on each new key costs about a
// microsecond more. A store without scans has no such cost.
func (s *Store) Scan(r Range) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		v, err := s.openView()
		if err != nil {
			return
		}
		defer func() { _ = v.Close() }() // it returns nil
		v.Scan(r)(yield)
	}
}

// Scan is [Store.Scan] over the view. The loop ends when the view is closed:
// see [View.Close].
func (v *View) Scan(r Range) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		defer runtime.KeepAlive(v)
		shown := 0
		for key, value := range v.view.Scan(r.bounds(), r.Reverse) {
			if !yield(key, value) {
				return
			}
			if shown++; shown == r.Limit {
				return
			}
		}
	}
}

// bounds returns the range as a single interval.
func (r *Range) bounds() table.Bounds {
	b := table.Bounds{Low: r.From, High: r.To, Bounded: r.To != ""}
	b.Narrow(r.Prefix)
	return b
}
