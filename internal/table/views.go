package table

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// views is the state of a table's open views.
type views struct {
	newest atomic.Int64 // version of the newest open view, -1 if there is none

	mu       sync.Mutex // held briefly, while t.applying is held
	open     []int64    // guarded by mu: the versions of open views, rising, one for each view
	released bool       // guarded by mu: the last view to close must release the table's memory

	// When each view was opened. A view that was closed stays here until
	// nothing is retained for it any more. Guarded by mu.
	since map[*View]time.Time
}

// openView adds a view of the last commit. It returns false if the table was
// released. openView waits for at most a few commits that are being published.
func (t *Table) openView(view *View, now time.Time) bool {
	t.sortLoaded()
	t.applying.RLock()
	defer t.applying.RUnlock()
	v := &t.views
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.released {
		return false
	}
	// No commit is published between the reading of the clock and that of the
	// version. So a key that the view hides is hidden from every later one.
	view.version, view.now, view.held = t.Version(), t.Now(), t.held.Load()
	view.size = t.Size()
	view.length = view.size - t.countDue(view.now, view.held)
	at, _ := slices.BinarySearch(v.open, view.version)
	v.open = slices.Insert(v.open, at, view.version)
	v.newest.Store(v.open[len(v.open)-1])
	if v.since == nil {
		v.since = map[*View]time.Time{}
	}
	v.since[view] = now
	return true
}

// closeView removes a view and frees what was retained for it alone: versions
// that the view shows and that no open view does. All of them have ended after
// the view was opened, and before the next newer one was.
func (t *Table) closeView(view *View) {
	t.sweep(view.version, t.removeView(view.version))
	v := &t.views
	v.mu.Lock()
	delete(v.since, view)
	last := v.released && v.idle()
	v.mu.Unlock()
	if last {
		t.release()
	}
}

// idle reports whether no view is open or being closed.
func (v *views) idle() bool { return len(v.since) == 0 }

// openVersions returns the versions of open views, rising.
func (t *Table) openVersions() []int64 {
	t.views.mu.Lock()
	defer t.views.mu.Unlock()
	return slices.Clone(t.views.open)
}

// removeView removes a view of this version from the list of open views. It
// returns the version up to which something may have been retained for the view
// alone: that of the next newer view, or the current one.
func (t *Table) removeView(version int64) (upTo int64) {
	// No commit is being published while applying is held for reading. So
	// everything that was retained while the view was open has ended by the
	// current version, and nothing that is retained from now on is retained for
	// this view.
	t.applying.RLock()
	defer t.applying.RUnlock()
	v := &t.views
	v.mu.Lock()
	defer v.mu.Unlock()
	at, _ := slices.BinarySearch(v.open, version)
	v.open = slices.Delete(v.open, at, at+1)
	upTo, newest := t.Version(), int64(-1)
	if at < len(v.open) {
		upTo = v.open[at]
	}
	if n := len(v.open); n > 0 {
		newest = v.open[n-1]
	}
	v.newest.Store(newest)
	return upTo
}
