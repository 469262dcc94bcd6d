package table

import "math/rand/v2"

// WalkBits is how many bits a place in a walk has: those of a shard's number
// and of a tag.
const WalkBits = 7 + tagBits // there are 1<<7 shards

// WalkEnd is the place behind all keys.
const WalkEnd = shardCount << tagBits

// newID returns a number that tells a table from the one before a restart, most
// likely. It is not 0.
func newID() uint16 { return uint16(1 + rand.N(1<<16-1)) }

// ID returns the number that tells a table from another one.
func (t *Table) ID() uint16 { return t.id }

// Walk returns about n keys, at least one if there is one, from a place on, in
// no order, and the place behind them. It leaves out keys that are due. place
// must be 0 or from a Walk of this table. A key that is there all the time
// between a walk's first call and its last is returned at least once: places
// have the order of hashes, which do not change when a shard grows. Walk needs
// neither index nor view, and holds a lock for one window of keys at a time.
func (t *Table) Walk(place uint64, n int) (keys []string, next uint64) {
	var m moment
	for place < WalkEnd && len(keys) < max(n, 1) {
		s := &t.shards[place>>tagBits]
		from := place & (1<<tagBits - 1)
		s.mu.RLock()
		slots := int(from>>s.shift) + min(max(n, 1)-len(keys), windowSlots)
		to := min(uint64(slots)<<s.shift, 1<<tagBits)
		s.walk(from, to, func(r record) {
			if !r.isVolatile() || !t.hides(&m, r) {
				keys = append(keys, string(r.key()))
			}
		})
		s.mu.RUnlock()
		place = place - from + to
	}
	return keys, place
}
