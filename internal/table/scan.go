package table

import (
	"iter"
	"runtime"
)

// Bounds is a range of keys: from Low on and, if Bounded, below High.
type Bounds struct {
	Low     string
	High    string
	Bounded bool
}

// Has reports whether key is within the bounds.
func (b *Bounds) Has(key string) bool { return key >= b.Low && (!b.Bounded || key < b.High) }

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
		var l lookup
		b := b // the same loop may be run again
		for n := firstScanKeys; ; n = min(2*n, maxScanKeys) {
			keys := x.next(&b, reverse, n, l.keys[:0])
			for rest := keys; len(rest) > 0; {
				done := l.fill(v, rest)
				if done == 0 {
					return // closed
				}
				for i, value := range l.values[:done] {
					if value != nil && !yield(rest[i], value) {
						return
					}
				}
				rest = rest[done:]
			}
			if len(keys) < n {
				return
			}
			l.keys = keys
		}
	}
}

// next appends up to n keys within bounds, in their order or against it, to dst, and narrows the bounds to what is left.
func (x *index) next(b *Bounds, reverse bool, n int, dst []string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	window := keyList{bytes: make([]byte, 0, n*usualKeyBytes), ends: make([]uint32, 0, n)}
	visit := func(key []byte) bool {
		if reverse && text(key) < b.Low || !reverse && b.Bounded && text(key) >= b.High {
			return false
		}
		window.append(key)
		return window.len() < n
	}
	if reverse {
		x.tree.root.descend(b.High, b.Bounded, visit)
	} else {
		x.tree.root.ascend(b.Low, visit)
	}
	all := text(window.bytes) // nobody writes to it any more
	for i := range window.len() {
		dst = append(dst, all[window.start(i):window.ends[i]])
	}
	if len(dst) == 0 {
		return dst
	}
	last := dst[len(dst)-1]
	if reverse {
		b.High, b.Bounded = last, true
	} else {
		b.Low = last + "\x00" // the next one that is possible
	}
	return dst
}

// lookup finds the values of keys in a view. Like MultiGet it has many cache misses under way.
type lookup struct {
	keys   []string // memory to be used again
	states [windowKeys]past
	values [windowKeys][]byte
	shared []byte // values go here
}

// fill sets values for the first of keys, and returns for how many: 0 if the view is closed. A key that is absent has the value nil.
func (l *lookup) fill(v *View, keys []string) (n int) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.closed {
		return 0
	}
	t := v.table
	var hashes, slots [windowKeys]uint64
	states := &l.states
	keys = keys[:min(len(keys), windowKeys)]
	for i, key := range keys {
		hashes[i] = t.hash(key)
	}
	t.applying.RLock()
	defer t.applying.RUnlock()
	t.locate(&slots, hashes[:len(keys)])
	unchanged := t.Version() == v.version
	need, sum := 0, byte(0)
	for n < len(keys) && (n == 0 || need < maxLookupBytes) {
		states[n] = v.stateAt(unchanged, slots[n], hashes[n], keys[n])
		need += len(states[n].value)
		n++
	}
	for i := range states[:n] { // a loop of its own: a processor looks ahead for some hundred instructions
		sum += touchLines(states[i].value)
	}
	runtime.KeepAlive(sum)
	for i, s := range states[:n] {
		switch {
		case !s.present:
			l.values[i] = nil
		case len(s.value) > maxSharedBytes:
			l.values[i] = append([]byte(nil), s.value...)
		default:
			l.values[i], l.shared = copyShared(s.value, l.shared, need)
		}
		need -= len(s.value)
	}
	return n
}

// stateAt returns what key was, while applying is held; slot is where it probably is. Unchanged says that the view shows the present.
func (v *View) stateAt(unchanged bool, slot, hash uint64, key string) past {
	s := v.table.shardOf(hash)
	r := s.findAt(slot, hash, key)
	if unchanged {
		return present(r)
	}
	s.mu.RLock() // views that are being closed write to the history
	defer s.mu.RUnlock()
	return s.at(v.version, key, r)
}
