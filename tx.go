package kvstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"kvstore/internal/format"
	"kvstore/internal/table"
)

// This file is transactions with optimistic concurrency control (Kung and
// Robinson, 1981). A transaction reads from a view. When it commits, the writer
// checks whether anything that it has read was changed since.

// Tx is a transaction: what the function passed to [Store.Update] reads and
// writes. Only that function may use it, in one goroutine. It has no effect
// after the function has returned.
type Tx struct {
	view   *table.View
	reads  map[string]struct{} // keys that were looked up in view, absent ones too
	ranges []table.Bounds      // that were scanned
	writes map[string]txWrite  // the last one of each key
	err    error               // the first limit that was broken
	ended  bool
}

// txWrite is what a transaction writes to a key.
type txWrite struct {
	value   []byte
	deleted bool
}

// Update runs fn in a transaction and commits what it has written as one
// commit: all of it or nothing. Transactions are serializable: the result is as
// if they had run one after the other, each at the moment of its commit.
//
// fn reads the state at its beginning, and its own writes. If something that it
// has read is changed by others before the commit, nothing happens and fn runs
// again, until it succeeds. A key that was absent counts as read, and so does a
// range as far as the scan went. So fn should have no other effects. A
// transaction repeats only because another commit has succeeded. A long one may
// still lose against many short ones again and again. If ctx ends first, the
// error Is ErrConflict and ctx.Err(). If fn returns an error, Update returns it
// unchanged and commits nothing. If fn panics, nothing is committed either. A
// transaction that only reads commits nothing and runs once.
//
// fn may call the store's other methods. They are not part of the transaction.
// With them, fn must not write to a key or a range that it has read in the
// transaction: it would conflict with itself until ctx ends.
//
// If ctx has ended before the call, nothing happens. If it ends while Update
// waits for the commit, Update returns ctx.Err() at once, and the outcome is
// unknown. Other errors are those of Apply, and ErrReadOnly only if fn has
// written.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	if s.table.Load() == nil {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	conflicted := false
	for {
		err := s.tryUpdate(ctx, fn)
		if err != errAgain && err != errExpired { //nolint:errorlint // never wrapped, and fn may return anything
			return err
		}
		conflicted = conflicted || err == errAgain //nolint:errorlint // as above
		switch ended := ctx.Err(); {
		case ended != nil && conflicted:
			return fmt.Errorf("%w: %w", ErrConflict, ended)
		case ended != nil:
			return ended
		}
	}
}

// Results of a transaction that was not committed. No fn can return them.
var (
	errAgain   = errors.New("kvstore: what the transaction has read was changed")
	errExpired = errors.New("kvstore: the context has ended before the commit was queued")
)

// tryUpdate runs a transaction once.
func (s *Store) tryUpdate(ctx context.Context, fn func(tx *Tx) error) error {
	view, err := s.openView()
	if err != nil {
		return err
	}
	defer func() { _ = view.Close() }() // it returns nil
	tx := &Tx{view: view.view, reads: map[string]struct{}{}, writes: map[string]txWrite{}}
	defer func() { tx.ended = true }()
	if err := fn(tx); err != nil {
		return err
	}
	tx.ended = true
	if tx.err != nil || len(tx.writes) == 0 {
		return tx.err
	}
	return s.commitTx(ctx, tx)
}

// commitTx has the writer commit a transaction if its reads still hold.
func (s *Store) commitTx(ctx context.Context, tx *Tx) error {
	b := tx.batch()
	read := &readSet{view: tx.view, keys: slices.Collect(maps.Keys(tx.reads)), ranges: tx.ranges}
	var c *writeCommand
	err := s.checkBatch(ctx, b)
	if err == nil {
		c, err = s.newCommand(ctx, len(b.list.entries)+read.bytes(), ctx.Done() == nil)
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return errExpired
	case err != nil:
		return err
	}
	c.list = b.list // no copy: the batch is the transaction's own
	only := &condition{requirement: read}
	c.condition = only
	if err := s.commit(ctx, c); err != nil {
		return err
	}
	if !only.met {
		return errAgain
	}
	return nil
}

// batch returns what the transaction writes: one operation for each key, in the
// order of keys.
func (tx *Tx) batch() *Batch {
	b, size := new(Batch), 0
	for key, w := range tx.writes {
		size += format.EntryOverhead + len(key) + len(w.value)
	}
	if size <= MaxBatchBytes { // beyond that, accept refuses the batch
		b.grow(size)
	}
	for _, key := range slices.Sorted(maps.Keys(tx.writes)) {
		if w := tx.writes[key]; w.deleted {
			b.Delete(key)
		} else {
			b.Set(key, w.value)
		}
	}
	return b
}

// Get returns a copy of key's value: as this transaction has written it, or
// else as it was when the transaction began. If key is absent, it returns nil
// and false.
func (tx *Tx) Get(key string) (value []byte, ok bool) {
	if tx.ended {
		return nil, false
	}
	if w, written := tx.read(key); written {
		return w.copy(), !w.deleted
	}
	return tx.view.Get(nil, key)
}

// Has reports whether key is present, as [Tx.Get] does, without a copy of its
// value. It counts as a read: if others change the key before the commit, to
// another value too, the transaction runs again.
func (tx *Tx) Has(key string) bool {
	if tx.ended {
		return false
	}
	if w, written := tx.read(key); written {
		return !w.deleted
	}
	return tx.view.Has(key)
}

// read returns what the transaction has written under key. If it has written
// nothing, the key is to be looked up in the view, and counts as read.
func (tx *Tx) read(key string) (w txWrite, written bool) {
	if w, written := tx.writes[key]; written {
		return w, true
	}
	tx.reads[key] = struct{}{}
	return txWrite{}, false
}

// copy returns the value for the caller to keep, nil if it was deleted.
func (w txWrite) copy() []byte {
	if w.deleted {
		return nil
	}
	return append([]byte{}, w.value...)
}

// Set has the transaction set key to a copy of value. Update reports a limit
// that is broken.
func (tx *Tx) Set(key string, value []byte) {
	if tx.accept(key, value) {
		tx.writes[key] = txWrite{value: slices.Clone(value)}
	}
}

// Delete has the transaction delete key, which need not exist.
func (tx *Tx) Delete(key string) {
	if tx.accept(key, nil) {
		tx.writes[key] = txWrite{deleted: true}
	}
}

func (tx *Tx) accept(key string, value []byte) bool {
	if tx.err == nil {
		if tx.err = checkLimits(key, value); tx.err != nil {
			tx.err = fmt.Errorf("%w (key %.40q)", tx.err, key)
		}
	}
	return tx.err == nil && !tx.ended
}

// Scan iterates over keys and values within r as [Store.Scan] does: as they
// were when the transaction began, with what it has written before the loop
// began. What the loop's body writes shows in later loops.
func (tx *Tx) Scan(r Range) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if tx.ended {
			return
		}
		bounds := r.bounds()
		at := len(tx.ranges)
		tx.ranges = append(tx.ranges, bounds) // all of it: fn may go on after a panic of the body
		loop := txScan{tx: tx, own: tx.written(bounds, r.Reverse), reverse: r.Reverse, limit: r.Limit, yield: yield}
		if loop.run(bounds) || tx.ended {
			return
		}
		// It went as far as the last key that was shown.
		if r.Reverse {
			tx.ranges[at].Low = loop.last
		} else {
			tx.ranges[at].High, tx.ranges[at].Bounded = loop.last+"\x00", true
		}
	}
}

// written returns the keys within bounds that the transaction has written, in
// order.
func (tx *Tx) written(b table.Bounds, reverse bool) (keys []string) {
	for key := range tx.writes {
		if b.Has(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if reverse {
		slices.Reverse(keys)
	}
	return keys
}

// txScan is a loop over a view's pairs merged with the transaction's own.
type txScan struct {
	tx      *Tx
	own     []string // written keys that are still to come, in the loop's order
	reverse bool
	limit   int
	shown   int
	last    string // the last key that was shown
	yield   func(string, []byte) bool
}

// run shows the pairs within bounds. It reports whether it came to the end.
func (l *txScan) run(bounds table.Bounds) bool {
	written := maps.Clone(l.tx.writes) // the body may write
	for key, value := range l.tx.view.Scan(bounds, l.reverse) {
		if !l.showOwn(written, func(own string) bool { return own < key != l.reverse && own != key }) {
			return false
		}
		if len(l.own) > 0 && l.own[0] == key {
			continue // it comes with its own value next
		}
		if !l.show(key, value) {
			return false
		}
	}
	return l.showOwn(written, func(string) bool { return true })
}

// showOwn shows the transaction's own pairs as long as due says that they come
// next.
func (l *txScan) showOwn(written map[string]txWrite, due func(key string) bool) bool {
	for len(l.own) > 0 && due(l.own[0]) {
		key := l.own[0]
		l.own = l.own[1:]
		if w := written[key]; !w.deleted && !l.show(key, w.copy()) {
			return false
		}
	}
	return true
}

func (l *txScan) show(key string, value []byte) bool {
	l.last = key
	l.shown++
	return l.yield(key, value) && l.shown != l.limit
}

// readSet is what a transaction has read. It holds as long as none of it has
// changed.
type readSet struct {
	view   *table.View // the view that was read; if it is closed meanwhile, no caller waits for the answer
	keys   []string
	ranges []table.Bounds
}

// bytes returns about how much memory the set takes.
func (r *readSet) bytes() (n int) {
	const each = 16
	for _, key := range r.keys {
		n += len(key) + each
	}
	for _, b := range r.ranges {
		n += len(b.Low) + len(b.High) + 2*each
	}
	return n
}

func (r *readSet) holds(_ *table.Table, pending pendingOps) bool {
	for _, key := range r.keys {
		if _, changed := pending[key]; changed {
			return false
		}
	}
	if len(r.ranges) > 0 {
		for key := range pending {
			if slices.ContainsFunc(r.ranges, func(b table.Bounds) bool { return b.Has(key) }) {
				return false
			}
		}
	}
	return r.view.Unchanged(r.keys, r.ranges)
}
