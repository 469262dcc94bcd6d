package kvstore

import (
	"fmt"
	"io"
	"iter"
	"log/slog"
	"runtime"

	"kvstore/internal/format"
	"kvstore/internal/table"
)

// View is a frozen state of the store: that after one commit (MVCC, snapshot
// isolation). Its methods may be called from any number of goroutines. They
// wait for no write, only for the microseconds in which a commit is published,
// and no writer waits for a view. A view works on a store that has failed,
// while a disk hangs, and after the store was closed.
//
// The store's clock stands still in a view: it shows the keys whose deadline
// was not reached when it was opened, and goes on showing them.
//
// While a view is open, the store keeps in memory every value that later
// commits replace. So close it. Stats says how many views are open, how old the
// oldest is, and what they hold.
type View struct {
	view   *table.View // immutable
	header viewHeader  // immutable

	forgotten runtime.Cleanup // immutable; closes the view if the caller forgets to
}

// viewHeader is what a snapshot file of the view says about the store.
type viewHeader struct {
	id        format.StoreID
	lastGroup uint64
}

// View opens a view of the state after the last visible commit. It takes
// microseconds, whatever the size of the store, and does no I/O. If a view is
// garbage collected before it was closed, the store closes it and logs a
// warning.
//
// Errors: ErrClosed.
func (s *Store) View() (*View, error) {
	v, err := s.openView()
	if err == nil {
		forgotten := forgottenView{view: v.view, log: s.config.Logger, dir: s.config.DataDir}
		v.forgotten = runtime.AddCleanup(v, forgottenView.close, forgotten)
	}
	return v, err
}

// openView is View for callers that always close the view.
func (s *Store) openView() (*View, error) {
	t := s.table.Load()
	if t == nil {
		return nil, ErrClosed
	}
	header := viewHeader{id: s.id, lastGroup: s.status.lastGroup.Load()}
	view := t.View()
	if view == nil {
		return nil, ErrClosed // Close came in between
	}
	return &View{view: view, header: header}, nil
}

// forgottenView closes a view that nothing refers to any more. It must not
// refer to the View itself.
type forgottenView struct {
	view *table.View
	log  *slog.Logger
	dir  string
}

func (f forgottenView) close() {
	if f.view.Close() {
		f.log.Warn("kvstore: a view was forgotten, and is closed now", "dir", f.dir, "version", f.view.Version())
	}
}

// Get returns a copy of key's value, which belongs to the caller. If key is
// absent or the view is closed, it returns nil and false. A value that is
// present but empty is not nil.
func (v *View) Get(key string) (value []byte, ok bool) {
	defer runtime.KeepAlive(v)
	return v.view.Get(nil, key)
}

// Has reports whether key is present; false if the view is closed.
func (v *View) Has(key string) bool {
	defer runtime.KeepAlive(v)
	return v.view.Has(key)
}

// MultiGet returns the values of keys in their order, nil for absent keys. If
// the view is closed, before the call or during it, all are nil. It is faster
// than a Get for each key. The values belong to the caller; small ones may
// share memory, which is freed when none of them is in use any more.
func (v *View) MultiGet(keys []string) [][]byte {
	defer runtime.KeepAlive(v)
	values := make([][]byte, len(keys))
	v.view.MultiGet(values, keys)
	return values
}

// All iterates over all keys and values of the view, in no order. Unlike
// [View.Scan] it needs no index of the keys. The loop ends when the view is
// closed: see [View.Close]. Keys and values belong to the caller; small ones
// may share memory, which is freed when none of them is in use any more. The
// loop's body may use the store.
func (v *View) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		defer runtime.KeepAlive(v)
		v.view.Pairs(nil)(yield)
	}
}

// Len returns the number of keys that the view shows, 0 if it is closed.
func (v *View) Len() int {
	defer runtime.KeepAlive(v)
	return v.view.Len()
}

// Version returns the version of the last commit that the view shows: its
// timestamp in Unix nanoseconds, or 0 for a store that was never written to.
func (v *View) Version() int64 { return v.view.Version() }

// WriteTo writes the view to w as a snapshot file, from which [Restore] makes a
// store, and returns the number of bytes written. The store goes on meanwhile.
// The file has the keys' deadlines, and the keys whose deadline has passed and
// that are not deleted yet: it does not depend on the clock. Errors are those
// of w, and ErrClosed if the view is closed or is being closed.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	defer runtime.KeepAlive(v)
	info := &format.Snapshot{
		Timestamp: v.Version(), Count: uint32(v.view.Size()), ID: v.header.id, Number: 1, LastGroup: v.header.lastGroup,
	}
	if v.view.Closed() {
		return 0, ErrClosed
	}
	n, err := format.EncodeSnapshot(w, info, v.view.Saved())
	switch {
	case v.view.Closed():
		return n, ErrClosed // what was written has too few pairs, and no footer
	case err != nil:
		return n, fmt.Errorf("kvstore: write a view: %w", err)
	default:
		return n, nil
	}
}

// Close closes the view: its reads find nothing from then on, and loops over it
// show no further pair. The store frees what it kept for this view alone.
// Further calls do nothing. Close returns nil.
//
// Close may be called while other goroutines use the view. It waits for the few
// keys or the one value that they are reading. Each of their calls returns what
// the view shows, or as if the view had been closed before: MultiGet never
// returns a part of its values. Their loops show no further pair, but for one
// that a loop had already reached when Close was called.
func (v *View) Close() error {
	defer runtime.KeepAlive(v)
	if v.view.Close() {
		v.forgotten.Stop()
	}
	return nil
}
