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

// Narrow leaves of the bounds the keys that begin with prefix.
func (b *Bounds) Narrow(prefix string) {
	b.Low = max(b.Low, prefix)
	if end, ok := prefixEnd(prefix); ok && (!b.Bounded || end < b.High) {
		b.High, b.Bounded = end, true
	}
}

// prefixEnd returns the lowest key above all that begin with p; ok is false if there is none.
func prefixEnd(p string) (end string, ok bool) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] < 0xff {
			return p[:i] + string([]byte{p[i] + 1}), true
		}
	}
	return "", false
}

// A scan takes so many keys from the index at once: few at first, for scans of few.
const (
	firstScanKeys = 16
	maxScanKeys   = 512

	usualKeyBytes = 24 // memory for keys is made for so many each, and grows if that is too little

	// maxLookupBytes bounds the values that are copied at once, if they are not just one.
	maxLookupBytes = 256 << 10
)

// Scan iterates over keys and values within bounds, in the order of the keys' bytes or against it, until the view is closed. They belong to
// the caller; small ones may share memory. The first scan of a table waits for the index to be built. No lock is held while the loop's
// body runs.
func (v *View) Scan(b Bounds, reverse bool) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if v.Closed() {
			return
		}
		x := v.table.ordered()
		var keys keyList
		var l lookup
		b := b // the same loop may be run again
		for n := firstScanKeys; ; n = min(2*n, maxScanKeys) {
			x.next(&b, reverse, n, &keys)
			for first := 0; first < keys.len(); first += l.len {
				if l.fill(v, &keys, first); l.len == 0 {
					return // closed
				}
				for i := range l.len {
					if value, present := l.next(i); present && !yield(unsafeString(keys.at(first+i)), value) {
						return
					}
				}
			}
			if keys.len() < n {
				return
			}
		}
	}
}

// next sets dst to up to n keys within bounds, in their order or against it, and narrows the bounds to what is left. Their bytes are
// never written to again.
func (x *index) next(b *Bounds, reverse bool, n int, dst *keyList) {
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
		return dst.len() < n
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if reverse {
		x.tree.root.descend(b.High, b.Bounded, visit)
	} else {
		x.tree.root.ascend(b.Low, visit)
	}
	if dst.len() == 0 {
		return
	}
	last := unsafeString(dst.at(dst.len() - 1))
	if reverse {
		b.High, b.Bounded = last, true
	} else {
		b.Low = last + "\x00" // the next one that is possible
	}
}

// lookup finds the values of keys in a view, a window of them at a time. Like MultiGet it has many cache misses under way. Nothing in it that is
// written for each key is a pointer: while the garbage collector is at work, which beside a scan it mostly is, it is told of each of
// those.
type lookup struct {
	len   int
	sizes [windowKeys]int32 // of the values, or one of the constants below
	block []byte            // small values that have not been taken yet, and room for more
	alone [][]byte          // the others that have not
}

const (
	sizeAbsent int32 = -1 // there is no value
	sizeAlone  int32 = -2 // it has memory of its own
)

// fill finds the values of keys from this one on, as many as it sets len to: 0 if the view is closed.
func (l *lookup) fill(v *View, keys *keyList, first int) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	l.len = 0
	if v.closed {
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
	defer t.applying.RUnlock()
	t.locate(&slots, hashes[:n])
	unchanged := t.Version() == v.version
	bytes, shared, sum := 0, 0, byte(0)
	for i := range n {
		if i > 0 && bytes >= maxLookupBytes {
			break
		}
		states[i] = v.versionAt(unchanged, slots[i], hashes[i], unsafeString(keys.at(first+i)))
		size := len(states[i].value)
		if bytes += size; size <= maxSharedBytes {
			shared += size
		}
		l.len++
	}
	for i := range states[:l.len] { // a loop of its own: a processor looks ahead for some hundred instructions
		sum += touchLines(states[i].value)
	}
	runtime.KeepAlive(sum)
	if l.block == nil || len(l.block) < shared {
		left := shared / l.len * (keys.len() - first) // about as much as the keys at hand will need
		l.block = make([]byte, max(shared, min(left, sharedBytes)))
	}
	l.copy(states[:l.len])
}

// copy takes the values of states. The small ones go to l.block.
func (l *lookup) copy(states []oldVersion) {
	l.alone = l.alone[:0]
	block := l.block
	for i := range states {
		switch value := states[i].value; {
		case !states[i].present:
			l.sizes[i] = sizeAbsent
		case len(value) > maxSharedBytes:
			l.sizes[i] = sizeAlone
			l.alone = append(l.alone, append([]byte(nil), value...))
		default:
			l.sizes[i] = int32(len(value))
			block = block[copy(block, value):]
		}
	}
}

// next returns value i, after those before it.
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

// stateAt returns what key was, while applying is held; slot is where it probably is. Unchanged says that the view shows the present.
func (v *View) versionAt(unchanged bool, slot, hash uint64, key string) oldVersion {
	s := v.table.shardOf(hash)
	r := s.findAt(slot, hash, key)
	if unchanged {
		return current(r)
	}
	s.mu.RLock() // views that are being closed write to the history
	defer s.mu.RUnlock()
	return s.versionAt(v.version, key, r)
}
