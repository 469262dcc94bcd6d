package table

import "math"

// This file is about expiry: which keys are due, and what readers see of them.
// A key is due when its deadline is not after the clock. It stays in the table
// until somebody deletes it, but no read shows it.

// UseClock sets the clock that says what is due: now returns nanoseconds since
// 1970 and never goes back. Nobody else may use the table yet. In a table
// without a clock, nothing is ever due.
func (t *Table) UseClock(now func() int64) { t.clock = now }

// Now returns the time of the table's clock, and math.MinInt64 without one.
func (t *Table) Now() int64 {
	if t.clock == nil {
		return math.MinInt64
	}
	return t.clock()
}

// isDue reports whether a deadline has come. Nothing is due at math.MinInt64.
func isDue(deadline, now int64) bool { return deadline != 0 && deadline <= now && now != math.MinInt64 }

// held is the keys that a group under way touches, and when each of them is due
// after that; 0 for never. It is immutable.
type held map[string]int64

// isAlive reports whether key, which is due, will not have been.
func (h *held) isAlive(key string, now int64) bool {
	if h == nil {
		return false
	}
	until, ok := (*h)[key]
	return ok && !isDue(until, now)
}

// Hold names the keys that a group under way touches: those whose deadline it
// changes. It is decided that they live on, and their old deadline may come
// before the group is published. Until the next call they count as alive. nil
// is for none. Only the goroutine that applies changes may call Hold: before it
// has the group made durable, and after it was published or has failed.
func (t *Table) Hold(keys map[string]struct{}) {
	if len(keys) == 0 {
		t.held.Store(nil)
		return
	}
	h := make(held, len(keys))
	for key := range keys {
		h[key] = 0
	}
	t.held.Store(&h)
}

// moment is a reading of the table's clock. It is taken when the first key with
// a deadline is looked at, so that other keys do not cost it.
type moment struct {
	now  int64
	read bool
}

// hides reports whether a key with a deadline is due at the moment. The caller
// must hold a lock under which the key cannot change.
func (t *Table) hides(m *moment, r record) bool {
	if !m.read {
		m.now, m.read = t.Now(), true
	}
	return isDue(r.deadline(), m.now) && !t.held.Load().isAlive(unsafeString(r.key()), m.now)
}

// Deadline returns when key is gone, 0 for never. ok says whether it is
// present.
func (t *Table) Deadline(key string) (deadline int64, ok bool) { return t.HasAt(t.Now(), key) }

// HasAt is [Table.Deadline] at a moment of the caller's. At math.MinInt64
// nothing is due.
func (t *Table) HasAt(now int64, key string) (deadline int64, ok bool) {
	hash := t.hash(key)
	s := t.shardOf(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	slot, r := s.find(hash, key)
	if slot < 0 || r.isVolatile() && t.hides(&moment{now, true}, r) {
		return 0, false
	}
	return r.deadline(), true
}

// has reports whether the table has key, which may be due.
func (t *Table) has(key string) bool {
	_, ok := t.HasAt(math.MinInt64, key)
	return ok
}

// GetAt is [Table.Get] with the key's deadline, at a moment of the caller's.
func (t *Table) GetAt(now int64, dst []byte, key string) (value []byte, deadline int64, ok bool) {
	hash := t.hash(key)
	s := t.shardOf(hash)
	s.mu.RLock()
	slot, r := s.find(hash, key)
	if slot < 0 || r.isVolatile() && t.hides(&moment{now, true}, r) {
		s.mu.RUnlock()
		return dst, 0, false
	}
	if r.valueLen() > maxCopyBytes {
		s.mu.RUnlock()
		return t.getLargeAt(now, dst, key)
	}
	dst, deadline = appendValue(dst, r.value()), r.deadline()
	s.mu.RUnlock()
	return dst, deadline, true
}

// getLargeAt is GetAt of a value that takes long to copy, see getLarge.
func (t *Table) getLargeAt(now int64, dst []byte, key string) (value []byte, deadline int64, ok bool) {
	v := t.View()
	if v == nil {
		return dst, 0, false
	}
	defer v.Close()
	v.SetNow(now)
	return v.Find(dst, key)
}

// Size returns the number of keys in the table, those that are due included.
func (t *Table) Size() int { return int(t.length.Load()) }

// Expiring returns how many keys have a deadline, those that are due included.
func (t *Table) Expiring() int { return int(t.expiring.Load()) }

// Len returns the number of keys that are not due.
func (t *Table) Len() int {
	if t.Expiring() == 0 {
		return t.Size()
	}
	now := t.Now()
	t.applying.RLock()
	defer t.applying.RUnlock()
	return t.Size() - t.countDue(now, t.held.Load())
}

// Due returns how many keys are due at a moment, and the earliest deadline
// among them, 0 if there are none.
func (t *Table) Due(now int64) (n int, oldest int64) {
	t.applying.RLock()
	defer t.applying.RUnlock()
	n = t.countDue(now, t.held.Load())
	if n == 0 {
		return 0, 0
	}
	oldest, _ = t.NextDeadline()
	return n, oldest
}

// countDue returns how many keys are due. The caller must hold applying.
func (t *Table) countDue(now int64, h *held) (n int) {
	for i := range t.shards {
		for r := range t.shards[i].records {
			if isDue(r.deadline(), now) && !h.isAlive(unsafeString(r.key()), now) {
				n++
			}
		}
	}
	return n
}

// NextDeadline returns the earliest deadline, of a key that is due or not. ok
// says whether there is one.
func (t *Table) NextDeadline() (deadline int64, ok bool) {
	deadline = math.MaxInt64
	for i := range t.shards {
		for r := range t.shards[i].records {
			if d := r.deadline(); d != 0 {
				deadline, ok = min(deadline, d), true
			}
		}
	}
	return deadline, ok
}

// DueKeys returns keys that are due at a moment, in the order of their
// deadlines to the millisecond: up to most of them, with about so many bytes,
// but at least one. It leaves out those for which skip, which may be nil,
// returns true.
func (t *Table) DueKeys(now int64, most, bytes int, skip func(key string) bool) (keys []string) {
	t.applying.RLock()
	defer t.applying.RUnlock()
	for i := range t.shards {
		for r := range t.shards[i].records {
			key := string(r.key())
			if !isDue(r.deadline(), now) || t.held.Load().isAlive(key, now) || skip != nil && skip(key) {
				continue
			}
			if len(keys) == most || len(keys) > 0 && bytes < len(key) {
				return keys
			}
			keys, bytes = append(keys, key), bytes-len(key)
		}
	}
	return keys
}

// moveDeadline notes that a key's deadline has changed.
func (t *Table) moveDeadline(c changed) {
	if c.before != 0 {
		t.expiring.Add(-1)
	}
	if c.after != 0 {
		t.expiring.Add(1)
	}
}
