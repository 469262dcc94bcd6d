package kvstore

import (
	"context"
	"fmt"
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

	// KeysOnly makes all values nil. It saves the time and the memory of their
	// copies.
	KeysOnly bool
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
// microsecond more. A store without scans has no such cost. A store that has
// the index writes its snapshots in the order of keys, and an Open that loads
// such a snapshot, of 1,024 keys or more, has the index at once. A log behind
// the snapshot that is long in proportion to the store takes it away again. See
// Config.Ordered.
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
		for key, value := range v.view.Scan(r.bounds(), r.loop(nil)) {
			if !yield(key, value) {
				return
			}
			if shown++; shown == r.Limit {
				return
			}
		}
	}
}

// Count returns how many keys are within r, at one moment: at most r.Limit, if
// that is set. It takes the time of a [Store.Scan] with KeysOnly, or none if r
// is the range of all keys. If the store is closed, Count returns 0.
func (s *Store) Count(r Range) int {
	v, err := s.openView()
	if err != nil {
		return 0
	}
	defer func() { _ = v.Close() }() // it returns nil
	return v.Count(r)
}

// Count is [Store.Count] over the view. If the view is closed meanwhile, it
// returns how many keys it had counted.
func (v *View) Count(r Range) (n int) {
	if r.bounds() == (table.Bounds{}) {
		n = v.Len()
		if r.Limit > 0 {
			n = min(n, r.Limit)
		}
		return n
	}
	r.KeysOnly = true
	for range v.Scan(r) {
		n++
	}
	return n
}

// DeleteRange deletes the keys within r in one transaction, and returns how
// many there were. With a Limit, it deletes that many at most, the lowest ones,
// or with Reverse the highest ones. Errors are those of [Store.Update], among
// them ErrBatchTooLarge: then delete in several calls, with a Limit.
func (s *Store) DeleteRange(ctx context.Context, r Range) (n int, err error) {
	r.KeysOnly = true
	err = s.Update(ctx, func(tx *Tx) error {
		n = 0
		for key := range tx.Scan(r) {
			tx.Delete(key)
			n++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Walk returns about n keys, in no order, and the cursor for the next call.
// Begin with the cursor 0. A next of 0 says that the walk is over. Every key
// that is in the store during the whole walk is returned at least once; one
// that comes or goes meanwhile may be, and may be twice. Unlike [Store.Scan],
// Walk needs no index, and nothing is kept between two calls. So it suits a
// client that asks for keys from time to time.
//
// Errors: ErrCursor if the cursor is not of this session, and ErrClosed.
func (s *Store) Walk(cursor uint64, n int) (keys []string, next uint64, err error) {
	t := s.table.Load()
	if t == nil {
		return nil, 0, ErrClosed
	}
	id, place := cursor>>table.WalkBits, cursor&(1<<table.WalkBits-1)
	if cursor != 0 && id != uint64(t.ID()) {
		return nil, 0, fmt.Errorf("%w: %d", ErrCursor, cursor)
	}
	keys, place = t.Walk(place, n)
	if place == table.WalkEnd {
		return keys, 0, nil
	}
	return keys, uint64(t.ID())<<table.WalkBits | place, nil
}

// loop returns how a loop goes over the pairs within r, without its limit.
func (r *Range) loop(soonest *int64) table.Loop {
	return table.Loop{Reverse: r.Reverse, KeysOnly: r.KeysOnly, Soonest: soonest}
}

// bounds returns the range as a single interval.
func (r *Range) bounds() table.Bounds {
	b := table.Bounds{Low: r.From, High: r.To, Bounded: r.To != ""}
	b.Narrow(r.Prefix)
	return b
}
