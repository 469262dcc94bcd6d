package kvstore

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"kvstore/internal/table"
)

// Tx is a transaction: what the function passed to [Store.Update] or [Store.Do]
// reads and writes. Only that function may use it, in one goroutine. It has no
// effect after the function has returned.
type Tx struct {
	state  txState            // what it reads, without its own writes
	reads  *readSet           // what it has read of state; nil in Do, which needs no check
	writes map[string]written // the last one of each key
	now    int64              // see Now

	version int64  // what SetVersion asked for
	isBound bool   // whether it did
	err     error  // the first limit that was broken
	ahead   *ahead // immutable: state in Do; nil in an Update
	used    bool   // it has read or written
	ended   bool
}

// txState is a state of the store. Values that it returns are copies.
type txState interface {
	// Find appends key's value to dst, as [Store.AppendGet] does, and returns
	// its deadline. Deadline does without the value.
	Find(dst []byte, key string) (value []byte, deadline int64, ok bool)
	Deadline(key string) (deadline int64, ok bool)
	// Scan iterates over the pairs within bounds in order, and Pairs over all
	// pairs in no order. It lowers soonest, which may be nil, to the earliest
	// deadline of the pairs that it has shown.
	Scan(b table.Bounds, l table.Loop) iter.Seq2[string, []byte]
	Pairs(soonest *int64) iter.Seq2[string, []byte]
}

// Get returns a copy of key's value: as this transaction has written it, or
// else as it is in the state that the transaction reads. If key is absent, it
// returns nil and false.
func (tx *Tx) Get(key string) (value []byte, ok bool) {
	if tx.ended {
		return nil, false
	}
	if w, written := tx.read(key); written && !w.touched {
		if w.deleted {
			return nil, false
		}
		return cloneValue(w.value), true
	}
	value, deadline, ok := tx.state.Find(nil, key)
	tx.sawDeadline(deadline)
	return value, ok
}

// Has reports whether key is present, as [Tx.Get] does, without a copy of its
// value. It counts as a read: if others change the key before the commit of an
// Update, to another value too, or its deadline passes, the transaction runs
// again.
func (tx *Tx) Has(key string) bool {
	_, ok := tx.look(key)
	return ok
}

// Deadline returns when key is gone, as [Store.Deadline] does. It counts as a
// read, like Has.
func (tx *Tx) Deadline(key string) (deadline time.Time, ok bool) {
	until, ok := tx.look(key)
	return moment(until), ok
}

// look returns key's deadline, and reports whether key is there.
func (tx *Tx) look(key string) (until int64, ok bool) {
	if tx.ended {
		return 0, false
	}
	if w, written := tx.read(key); written {
		return w.deadline, !w.deleted
	}
	until, ok = tx.state.Deadline(key)
	tx.sawDeadline(until)
	return until, ok
}

// sawDeadline notes the deadline of a key that the transaction has found in the
// state. At that time it would not find it.
func (tx *Tx) sawDeadline(until int64) {
	if tx.reads != nil && until != 0 {
		tx.reads.soonest = min(tx.reads.soonest, until)
	}
}

// read returns what the transaction has written under key. If it has written
// nothing, the key is to be looked up in the state, and counts as read.
func (tx *Tx) read(key string) (w written, ok bool) {
	tx.used = true
	if w, ok := tx.writes[key]; ok {
		return w, true
	}
	if tx.reads != nil {
		tx.reads.keys[key] = struct{}{}
	}
	return written{}, false
}

// Set has the transaction set key to a copy of value. Update or Do reports a
// limit that is broken.
func (tx *Tx) Set(key string, value []byte) { tx.set(key, value, 0) }

// SetUntil is [Tx.Set] of a key that is gone at deadline, as [Store.SetUntil]
// does. If deadline is not after Now, it deletes the key. Update or Do reports
// a deadline that is impossible.
func (tx *Tx) SetUntil(key string, value []byte, deadline time.Time) {
	until, err := nanoseconds(deadline)
	switch {
	case err != nil:
		tx.refuse(err, key)
	case isDue(until, tx.now):
		tx.Delete(key)
	default:
		tx.set(key, value, until)
	}
}

func (tx *Tx) set(key string, value []byte, until int64) {
	if tx.accept(key, value) {
		tx.writes[key] = written{key: key, value: slices.Clone(value), deadline: until}
	}
}

// Expire has the transaction change key's deadline, and reports whether the key
// is there, as [Store.Expire] does. If deadline is not after Now, it deletes
// the key.
func (tx *Tx) Expire(key string, deadline time.Time) (found bool) {
	until, err := nanoseconds(deadline)
	if err != nil {
		tx.refuse(err, key)
		return false
	}
	if _, found = tx.look(key); !found || !tx.accept(key, nil) {
		return found
	}
	if isDue(until, tx.now) {
		tx.Delete(key)
		return true
	}
	w, written := tx.writes[key]
	if !written {
		w.key, w.touched = key, true
	}
	w.deadline = until
	tx.writes[key] = w
	return true
}

// DeleteDue has the transaction delete those of the keys whose deadline has
// passed by Now, and returns how many they are. It is for a store whose
// commits come from a log elsewhere: see Config.Replicated. It panics in an
// Update. A transaction that calls it must delete nothing else, or Do returns
// an error.
func (tx *Tx) DeleteDue(keys ...string) (n int) {
	if tx.ahead == nil {
		panic("kvstore: Tx.DeleteDue in an Update")
	}
	tx.used = true
	for _, key := range keys {
		if _, written := tx.writes[key]; written || !tx.ahead.isDue(key) || !tx.accept(key, nil) {
			continue
		}
		tx.writes[key] = written{key: key, deleted: true, due: true}
		n++
	}
	return n
}

// Delete has the transaction delete key, which need not exist.
func (tx *Tx) Delete(key string) {
	if tx.accept(key, nil) {
		tx.writes[key] = written{key: key, deleted: true}
	}
}

func (tx *Tx) accept(key string, value []byte) bool {
	tx.used = true
	if tx.err == nil {
		tx.refuse(checkLimits(key, value), key)
	}
	return tx.err == nil && !tx.ended
}

// refuse notes what is wrong with a write, nil for nothing.
func (tx *Tx) refuse(err error, key string) {
	if err != nil && tx.err == nil {
		tx.err = fmt.Errorf("%w (key %.40q)", err, key)
	}
}

// SetVersion asks that the transaction's commit gets version v, as
// [Batch.SetVersion] does.
func (tx *Tx) SetVersion(v int64) { tx.version, tx.isBound = v, true }

// Now returns the time of the transaction by the store's clock. It stands still
// while the transaction runs: in Do at the time of the group that it is
// committed with, in Update at that of its view. A key whose deadline is not
// after Now is absent.
func (tx *Tx) Now() time.Time { return time.Unix(0, tx.now) }

// SetNow sets what Now returns. It is for a store that follows another one, and
// must do at each moment what that one did. It panics in an Update, and in Do
// after the first read or write.
func (tx *Tx) SetNow(t time.Time) {
	if tx.ahead == nil || tx.used {
		panic("kvstore: Tx.SetNow in an Update, or after a read or a write")
	}
	tx.now = t.UnixNano()
	tx.ahead.now = tx.now // until the function has returned
}

// Unchanged reports whether no commit has written any of the keys since v was
// opened, and no key that v shows has come to its deadline by Now. The same
// value again counts as a change, and so does another deadline; a closed view
// counts as a change of everything. In Do, the commits are all those ahead of
// this transaction. In an Update they are those up to now, and true is a read:
// if it is not true any more when the transaction is to be committed, fn runs
// again. v must be a view of the transaction's store.
func (tx *Tx) Unchanged(v *View, keys ...string) bool {
	tx.used = true
	switch {
	case tx.ended:
		return false
	case tx.reads == nil:
		return tx.ahead.unchanged(v.view, keys)
	case !isUnchanged(v.view, keys, tx.now):
		return false
	default:
		tx.reads.unchanged = append(tx.reads.unchanged, unchangedKeys{v, slices.Clone(keys)})
		return true
	}
}

// Scan iterates over keys and values within r as [Store.Scan] does: as they are
// in the state that the transaction reads, with what it has written before the
// loop began. What the loop's body writes shows in later loops.
func (tx *Tx) Scan(r Range) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if tx.ended {
			return
		}
		bounds, found, shown := r.bounds(), 0, 0
		narrow := tx.readAll(bounds) // all of it: fn may go on after a panic of the body
		state := counted(tx.state.Scan(bounds, r.loop(tx.soonest())), &found)
		for key, value := range overlay(state, tx.written(bounds, r.Reverse), r.Reverse) {
			if r.KeysOnly {
				value = nil
			}
			shown++
			if !yield(key, value) || shown == r.Limit {
				narrow(key, r.Reverse, found) // it went as far as the last key that was shown
				return
			}
		}
		narrow("", true, found)
	}
}

// counted iterates over pairs, and adds their number to n.
func counted(pairs iter.Seq2[string, []byte], n *int) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for key, value := range pairs {
			if *n++; !yield(key, value) {
				return
			}
		}
	}
}

// All iterates over all pairs in no order, as [Store.Keys] has them, and as
// [Tx.Scan] otherwise. It needs no index, so that it is the loop for Do.
func (tx *Tx) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if tx.ended {
			return
		}
		tx.readAll(table.Bounds{})
		own := maps.Clone(tx.writes) // the body may write
		for key, value := range tx.state.Pairs(tx.soonest()) {
			if w, written := own[key]; written && !w.touched {
				continue
			}
			if !yield(key, value) {
				return
			}
		}
		for key, w := range own {
			if !w.deleted && !w.touched && !yield(key, cloneValue(w.value)) {
				return
			}
		}
	}
}

// soonest returns where a loop over the state notes the earliest deadline, nil
// if nobody needs it.
func (tx *Tx) soonest() *int64 {
	if tx.reads == nil {
		return nil
	}
	return &tx.reads.soonest
}

// readAll counts all keys within bounds as read, and as too many for the writer
// to look at. The function that it returns says what a scan of them has found:
// so many pairs, the last one with key last.
func (tx *Tx) readAll(b table.Bounds) (narrow func(last string, reverse bool, found int)) {
	tx.used = true
	if tx.reads == nil {
		return func(string, bool, int) {}
	}
	at := len(tx.reads.ranges)
	tx.reads.ranges = append(tx.reads.ranges, b)
	tx.reads.pairs += tooMany
	return func(last string, reverse bool, found int) {
		tx.reads.pairs += found + 1 - tooMany // a range that has none costs a look too
		switch r := &tx.reads.ranges[at]; {
		case tx.ended:
		case reverse:
			r.Low = max(r.Low, last)
		default:
			r.High, r.Bounded = last+"\x00", true
		}
	}
}

// written returns what the transaction has written within bounds, in the order
// of a loop.
func (tx *Tx) written(b table.Bounds, reverse bool) (own []written) {
	for key, w := range tx.writes {
		if b.Has(key) && !w.touched {
			own = append(own, w)
		}
	}
	sortWritten(own, reverse)
	return own
}

// batch returns what the transaction writes: one operation for each key, in the
// order of keys, but expirations first.
func (tx *Tx) batch() *Batch {
	b, size := &Batch{version: tx.version, isBound: tx.isBound}, causeEntryBytes
	var due []string
	for key, w := range tx.writes {
		size += entryBytes(key, w.value, w.deadline)
		if w.due {
			due = append(due, key)
		}
	}
	if size <= MaxBatchBytes { // beyond that, accept refuses the batch
		b.grow(size)
	}
	slices.Sort(due)
	for _, key := range due {
		b.deleteDue(key)
	}
	for _, key := range slices.Sorted(maps.Keys(tx.writes)) {
		switch w := tx.writes[key]; {
		case w.due:
		case w.deleted && len(due) > 0:
			b.err = fmt.Errorf("kvstore: a transaction with DeleteDue deletes another key (%.40q)", key)
		case w.deleted:
			b.Delete(key)
		case w.touched:
			b.expire(key, w.deadline)
		default:
			b.set(key, w.value, w.deadline)
		}
	}
	return b
}
