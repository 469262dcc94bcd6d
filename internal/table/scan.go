package table

import (
	"iter"
	"runtime"
	"slices"
)

// Bounds is a range of keys: from Low on and, if Bounded, below High.
type Bounds struct {
	Low     string
	High    string
	Bounded bool
}

// Has reports whether key is within the bounds.
func (b *Bounds) Has(key string) bool { return key >= b.Low && (!b.Bounded || key < b.High) }

// Narrow restricts the bounds to keys with this prefix.
func (b *Bounds) Narrow(prefix string) {
	b.Low = max(b.Low, prefix)
	if end, ok := prefixEnd(prefix); ok && (!b.Bounded || end < b.High) {
		b.High, b.Bounded = end, true
	}
}

// prefixEnd returns the lowest key above all keys with prefix p. ok is false if
// there is none.
func prefixEnd(p string) (end string, ok bool) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] < 0xff {
			return p[:i] + string([]byte{p[i] + 1}), true
		}
	}
	return "", false
}

const (
	// A scan takes this many keys from the index at once: few at first, so that
	// a scan of a few keys stays cheap, and up to maxScanKeys later.
	firstScanKeys = 16
	maxScanKeys   = 512

	// usualKeyBytes is the assumed length of a key when memory for keys is
	// allocated. The memory grows if keys are longer.
	usualKeyBytes = 24
)

// Loop says how a scan goes through a range.
type Loop struct {
	Reverse  bool   // in falling order
	KeysOnly bool   // values are nil, and are not copied
	Soonest  *int64 // if not nil, lowered to the earliest deadline of the pairs shown so far
}

// Scan iterates over the pairs within bounds, in rising or falling order of
// keys, until the view is closed. It leaves out keys that are due. The caller
// owns keys and values; small values may share memory. The first scan of a
// table waits until the index is built. Scan holds no lock while the loop's
// body runs.
func (v *View) Scan(b Bounds, l Loop) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		v.scan(b, l, false, func(key string, value []byte, deadline int64) bool {
			lower(l.Soonest, deadline)
			return yield(key, value)
		})
	}
}

// scan is Scan with deadlines. With withDue it shows keys that are due too.
func (v *View) scan(b Bounds, loop Loop, withDue bool, show func(key string, value []byte, deadline int64) bool) {
	if v.Closed() {
		return
	}
	x := v.table.ordered()
	var keys keyList
	l := lookup{keysOnly: loop.KeysOnly, withDue: withDue}
	for n := firstScanKeys; ; n = min(2*n, maxScanKeys) {
		more := x.next(&b, v.version, loop.Reverse, n, &keys)
		for first := 0; first < keys.len(); first += l.len {
			if l.fill(v, &keys, first); l.len == 0 {
				return // closed
			}
			for i := range l.len {
				value, present := l.next(i)
				if !present {
					continue
				}
				if v.Closed() || !show(unsafeString(keys.at(first+i)), value, l.deadlines[i]) {
					return
				}
			}
		}
		if !more {
			return
		}
	}
}

// next sets dst to up to n keys within bounds, in rising or falling order, and
// narrows the bounds to the keys that remain. It returns false if none remain.
// It leaves out keys that were dead at a version, whole nodes of them at once.
// The bytes of these keys are never overwritten.
func (x *index) next(b *Bounds, version int64, reverse bool, n int, dst *keyList) (more bool) {
	size := usualKeyBytes
	if dst.len() > 0 {
		size = len(dst.bytes)/dst.len() + 1
	}
	dst.bytes, dst.ends = make([]byte, 0, n*size), slices.Grow(dst.ends[:0], n)
	visit := func(key []byte) bool {
		if reverse && unsafeString(key) < b.Low || !reverse && b.Bounded && unsafeString(key) >= b.High {
			return false
		}
		dst.append(key)
		more = dst.len() == n || len(dst.bytes) >= maxLockedBytes
		return !more
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if reverse {
		x.tree.root.descend(b.High, b.Bounded, version, visit)
	} else {
		x.tree.root.ascend(b.Low, version, visit)
	}
	if dst.len() == 0 {
		return false
	}
	last := unsafeString(dst.at(dst.len() - 1))
	if reverse {
		b.High, b.Bounded = last, true
	} else {
		b.Low = last + "\x00" // the lowest key above last
	}
	return more
}

// lookup finds the values of keys in a view, one window of keys at a time. Like
// MultiGet it keeps many cache misses under way. It stores no pointer for each
// key, because each such store goes through the write barrier while the garbage
// collector runs, as it mostly does during a scan.
type lookup struct {
	keysOnly bool // find out only which keys are present; next returns nil then
	withDue  bool // keys that are due are present

	len       int
	sizes     [windowKeys]int32 // of the values, or one of the constants below
	deadlines [windowKeys]int64
	block     []byte   // small values that next has not returned yet, and room for more
	alone     [][]byte // large values that next has not returned yet
}

const (
	sizeAbsent int32 = -1 // there is no value
	sizeAlone  int32 = -2 // the value has its own memory
)

// fill finds the values of the keys from index first on. It sets len to their
// number, which is 0 if the view is closed.
func (l *lookup) fill(v *View, keys *keyList, first int) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	l.len = 0
	if v.closed.Load() {
		return
	}
	t := v.table
	var hashes, slots [windowKeys]uint64
	var states [windowKeys]oldVersion
	n := min(keys.len()-first, windowKeys)
	for i := range n {
		hashes[i] = t.hash(unsafeString(keys.at(first + i)))
	}
	t.applying.RLock()
	t.locate(&slots, hashes[:n])
	unchanged := t.Version() == v.version
	bytes, shared, sum := 0, 0, byte(0)
	for i := range n {
		if i > 0 && bytes >= maxLockedBytes {
			break
		}
		key := unsafeString(keys.at(first + i))
		states[i] = v.versionAt(unchanged, slots[i], hashes[i], key)
		if !l.withDue {
			states[i] = v.shown(key, states[i])
		}
		l.deadlines[i] = states[i].deadline
		if l.keysOnly {
			states[i].value, states[i].alone = nil, false
		}
		size := len(states[i].value)
		if bytes += size; size <= maxSharedBytes {
			shared += size
		}
		l.len++
	}
	for i := range states[:l.len] { // a separate loop, because a processor looks ahead for some hundred instructions
		sum += touchLines(states[i].value)
	}
	runtime.KeepAlive(sum)
	if !l.keysOnly && (l.block == nil || len(l.block) < shared) {
		left := shared / l.len * (keys.len() - first) // about what the remaining keys will need
		l.block = make([]byte, max(shared, min(left, sharedBytes)))
	}
	l.copy(states[:l.len])
	t.applying.RUnlock()
	l.copyAlone(states[:l.len])
}

// copy copies the values of states, the small ones into l.block. Those that
// have a slab of their own are left to copyAlone.
func (l *lookup) copy(states []oldVersion) {
	l.alone = l.alone[:0]
	block := l.block
	for i := range states {
		switch value := states[i].value; {
		case !states[i].present:
			l.sizes[i] = sizeAbsent
		case len(value) > maxSharedBytes:
			l.sizes[i] = sizeAlone
			if !states[i].alone {
				value = append([]byte(nil), value...)
			}
			l.alone = append(l.alone, value)
		default:
			l.sizes[i] = int32(len(value))
			block = block[copy(block, value):]
		}
	}
}

// copyAlone copies the values that have a slab of their own. The view keeps
// them where they are, so that no other lock is needed than the view's.
func (l *lookup) copyAlone(states []oldVersion) {
	at := 0
	for i := range states {
		if l.sizes[i] != sizeAlone {
			continue
		}
		if states[i].alone {
			l.alone[at] = append([]byte(nil), states[i].value...)
		}
		at++
	}
}

// next returns value i. It must be called for each value in order.
func (l *lookup) next(i int) (value []byte, present bool) {
	switch size := l.sizes[i]; size {
	case sizeAbsent:
		return nil, false
	case sizeAlone:
		value, l.alone = l.alone[0], l.alone[1:]
		return value, true
	default:
		value, l.block = l.block[:size:size], l.block[size:]
		return value, true
	}
}

// versionAt returns what key was in the view. slot is the likely slot of the
// key. unchanged says that the view shows the current state. The caller must
// hold applying.
func (v *View) versionAt(unchanged bool, slot, hash uint64, key string) oldVersion {
	s := v.table.shardOf(hash)
	r := s.findAt(slot, hash, key)
	if unchanged {
		return current(r)
	}
	s.mu.RLock() // closing a view changes the history
	defer s.mu.RUnlock()
	return v.table.versionAt(s, v.version, hash, key, r)
}
