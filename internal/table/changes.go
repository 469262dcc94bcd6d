package table

// AnyChange reports whether is returns true for a key that was changed after
// the view was opened, by the commit with the version upTo at the latest. Its
// cost depends on how much was changed, and not on how many keys there are.
// AnyChange looks at no more than about most changes, unless most is 0.
// complete reports whether it has looked at all of them, or found one; it is
// false if the view is closed. is may be called twice for a key.
func (v *View) AnyChange(upTo int64, is func(key string) bool, most int) (found, complete bool) {
	looked := 0
	for order, more := uint64(0), v.version < upTo; more; {
		if most > 0 && looked >= most {
			return false, false
		}
		found, looked, order, more = v.anyChangeIn(upTo, order, is, looked)
		if found {
			return true, true
		}
	}
	return false, !v.Closed()
}

// anyChangeIn is AnyChange for one page of the log of old versions, of this
// order or above. It returns the order of the next one. What the view shows of
// a key that was changed is in the log as long as the view is open.
func (v *View) anyChangeIn(upTo int64, order uint64, is func(key string) bool, looked int) (
	found bool, lookedNow int, next uint64, more bool,
) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed.Load() {
		return false, looked, 0, false
	}
	l := &v.table.history
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	p, at, end := l.find(v.version, upTo, order)
	if p == nil {
		return false, looked, 0, false
	}
	for at < end {
		o := oldRecord(p.mem[at:])
		if at += o.size(); o.until() > upTo {
			break
		}
		if o.until() <= v.version || o.dropped() {
			continue
		}
		if looked++; is(unsafeString(l.record(o).key())) {
			return true, looked, 0, false
		}
	}
	return false, looked, p.order + 1, true
}
