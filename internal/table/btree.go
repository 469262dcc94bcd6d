package table

import "slices"

// This file is a B+ tree of keys (Comer, The Ubiquitous B-Tree, 1979). The keys
// are packed side by side in its leaves. So a million keys cost the garbage
// collector some ten thousand pointers, and the processor few cache misses in a
// row.

// Bounds on a node. A node beyond either bound is split. With long keys a node
// may have only a few of them.
const (
	maxNodeKeys  = 128
	maxNodeBytes = 4 << 10
	minFanout    = 4 // a node with fewer keys is not split, however long they are
)

// node is a leaf or an inner node of the tree. The owner of the tree owns its
// nodes.
type node struct {
	// In a leaf, the keys in rising order. In an inner node, the bounds between
	// its children: a bound is above all keys of the left child and not above
	// any key of the right child.
	keys     keyList
	children []*node // one more than there are bounds; nil in a leaf

	// A scan leaves out a node whose keys are all marked dead.
	alive bool  // some key below the node is not marked dead
	died  int64 // the highest version at which a key below the node was marked dead
}

// insert adds key, unmarks it if it is marked dead, and reports whether it was
// absent. If the node was split, the caller must insert right after the node,
// with this bound between them.
func (n *node) insert(key string) (right *node, bound []byte, added bool) {
	if n.children == nil {
		i, found := n.keys.search(key)
		n.alive = true
		if found {
			n.keys.ends[i] &^= deadKey
			return nil, nil, false
		}
		n.keys.insert(i, key)
		right, bound = n.split()
		return right, bound, true
	}
	n.alive = true
	i := n.childOf(key)
	right, bound, added = n.children[i].insert(key)
	if right == nil {
		return nil, nil, added
	}
	n.keys.insert(i, unsafeString(bound))
	n.children = slices.Insert(n.children, i+1, right)
	right, bound = n.split()
	return right, bound, added
}

// childOf returns the index of the child whose range includes key.
func (n *node) childOf(key string) int {
	i, found := n.keys.search(key)
	if found {
		return i + 1
	}
	return i
}

// split splits the node in two if it is too large.
func (n *node) split() (right *node, bound []byte) {
	if !n.keys.isFull() {
		return nil, nil
	}
	middle := n.keys.len() / 2
	if n.children == nil {
		right = &node{keys: n.keys.cut(middle), died: n.died}
		n.updateAlive()
		right.updateAlive()
		return right, separator(n.keys.at(middle-1), right.keys.at(0))
	}
	right = &node{keys: n.keys.cut(middle + 1), children: slices.Clone(n.children[middle+1:]), died: n.died}
	clear(n.children[middle+1:])
	n.children = n.children[:middle+1]
	bound = slices.Clone(n.keys.at(middle))
	n.keys.remove(middle)
	n.updateAlive()
	right.updateAlive()
	return right, bound
}

// updateAlive sets alive after keys or children were marked or taken away.
func (n *node) updateAlive() {
	if n.children == nil {
		n.alive = slices.ContainsFunc(n.keys.ends, func(end uint32) bool { return end&deadKey == 0 })
	} else {
		n.alive = slices.ContainsFunc(n.children, func(child *node) bool { return child.alive })
	}
}

// markDead marks key as dead: from this version on the table does not have it,
// until it is inserted again. Only older views may have it.
func (n *node) markDead(key string, version int64) {
	n.died = max(n.died, version)
	if n.children == nil {
		if i, found := n.keys.search(key); found {
			n.keys.ends[i] |= deadKey
			n.updateAlive()
		}
		return
	}
	child := n.children[n.childOf(key)]
	wasAlive := child.alive
	child.markDead(key, version)
	if wasAlive && !child.alive {
		n.updateAlive()
	}
}

// isDead reports whether all keys below the node were dead at a version.
func (n *node) isDead(version int64) bool { return !n.alive && n.died <= version }

// separator returns the shortest key that is above left and not above right.
func separator(left, right []byte) []byte {
	i := 0
	for i < len(left) && left[i] == right[i] {
		i++
	}
	return right[:i+1]
}

// remove removes key and reports whether it was present.
func (n *node) remove(key string) bool {
	if n.children == nil {
		i, found := n.keys.search(key)
		if found {
			n.keys.remove(i)
			n.updateAlive()
		}
		return found
	}
	i := n.childOf(key)
	child := n.children[i]
	wasAlive := child.alive
	if !child.remove(key) {
		return false
	}
	switch {
	case child.isEmpty():
		n.drop(i)
	case child.keys.len() < maxNodeKeys/4 && !n.join(i):
		n.join(i - 1)
	}
	if wasAlive && !child.alive {
		n.updateAlive()
	}
	return true
}

func (n *node) isEmpty() bool { return n.keys.len() == 0 && len(n.children) == 0 }

// drop removes an empty child. The range of a neighbour grows.
func (n *node) drop(i int) {
	n.children = slices.Delete(n.children, i, i+1)
	if n.keys.len() > 0 {
		n.keys.remove(max(i-1, 0))
	}
}

// join merges the children i and i+1, if both exist and the result has room for
// more keys. It reports whether it did.
func (n *node) join(i int) bool {
	if i < 0 || i+1 >= len(n.children) || !n.children[i].keys.hasRoomFor(&n.children[i+1].keys) {
		return false
	}
	left, right := n.children[i], n.children[i+1]
	if left.children != nil {
		left.keys.append(n.keys.at(i))
	}
	left.keys.join(&right.keys)
	left.children = append(left.children, right.children...)
	left.alive, left.died = left.alive || right.alive, max(left.died, right.died)
	n.keys.remove(i)
	n.children = slices.Delete(n.children, i+1, i+2)
	return true
}

// ascend calls visit with the keys that are not below from, in rising order,
// until visit returns false. It leaves out keys that were dead at a version.
func (n *node) ascend(from string, version int64, visit func(key []byte) bool) bool {
	if n.children == nil {
		i, _ := n.keys.search(from)
		for ; i < n.keys.len(); i++ {
			if !n.leavesOut(i, version) && !visit(n.keys.at(i)) {
				return false
			}
		}
		return true
	}
	for _, child := range n.children[n.childOf(from):] {
		if !child.isDead(version) && !child.ascend(from, version, visit) {
			return false
		}
	}
	return true
}

// leavesOut reports whether key i of a leaf was dead at a version.
func (n *node) leavesOut(i int, version int64) bool {
	return n.keys.ends[i]&deadKey != 0 && n.died <= version
}

// descend calls visit with the keys under the given bound, in falling order,
// until visit returns false. Without a bound it begins with the last key. It
// leaves out keys that were dead at a version.
func (n *node) descend(below string, bounded bool, version int64, visit func(key []byte) bool) bool {
	end := n.keys.len()
	if bounded {
		end, _ = n.keys.search(below)
	}
	if n.children == nil {
		for i := end - 1; i >= 0; i-- {
			if !n.leavesOut(i, version) && !visit(n.keys.at(i)) {
				return false
			}
		}
		return true
	}
	for i := end; i >= 0; i-- {
		if !n.children[i].isDead(version) && !n.children[i].descend(below, bounded, version, visit) {
			return false
		}
	}
	return true
}

// tree is a sorted set of keys.
type tree struct {
	root *node
	len  int
}

func (t *tree) insert(key string) {
	right, bound, added := t.root.insert(key)
	if added {
		t.len++
	}
	if right != nil {
		t.root = &node{children: []*node{t.root, right}, alive: true, died: max(t.root.died, right.died)}
		t.root.keys.append(bound)
	}
}

func (t *tree) remove(key string) {
	if t.root.remove(key) {
		t.len--
	}
	for len(t.root.children) == 1 {
		t.root = t.root.children[0]
	}
	if t.root.isEmpty() {
		t.root = &node{} // a leaf again
	}
}

// treeBuilder builds a tree of keys that come in order. It makes the leaves,
// each as full as is good for a leaf, and in the end what is above them.
type treeBuilder struct {
	leaves []*node
	bounds []string // between the leaves
	last   []byte   // the last key, in the last leaf
	len    int
}

// add adds a key, which must be above those before it. It copies the key.
func (b *treeBuilder) add(key []byte) {
	if b.len == 0 {
		b.leaves = []*node{{}}
	}
	leaf := b.leaves[len(b.leaves)-1]
	if leaf.keys.isWellFilled() {
		leaf = &node{keys: leaf.keys.sameRoom()}
		b.leaves = append(b.leaves, leaf)
		b.bounds = append(b.bounds, string(separator(b.last, key)))
	}
	leaf.keys.append(key)
	leaf.alive = true
	b.last = leaf.keys.at(leaf.keys.len() - 1)
	b.len++
}

// join adds the keys of another builder, which must be above those of b, and
// takes over its leaves.
func (b *treeBuilder) join(other *treeBuilder) {
	switch {
	case other.len == 0:
	case b.len == 0:
		*b = *other
	case other.len < maxNodeKeys: // its leaf may be almost empty
		for _, leaf := range other.leaves {
			for i := range leaf.keys.len() {
				b.add(leaf.keys.at(i))
			}
		}
	default:
		b.bounds = append(b.bounds, string(separator(b.last, other.first())))
		b.bounds = append(b.bounds, other.bounds...)
		b.leaves = append(b.leaves, other.leaves...)
		b.last, b.len = other.last, b.len+other.len
	}
}

// first returns the lowest key.
func (b *treeBuilder) first() []byte { return b.leaves[0].keys.at(0) }

// tree returns the tree. The builder must not be used afterwards.
func (b *treeBuilder) tree() *tree {
	level, bounds := b.leaves, b.bounds
	if b.len == 0 {
		level = []*node{{}}
	}
	for len(level) > 1 {
		level, bounds = parents(level, bounds)
	}
	return &tree{root: level[0], len: b.len}
}

// parents returns the inner nodes above a level of the tree, and the bounds
// between them.
func parents(level []*node, between []string) (above []*node, bounds []string) {
	parent := &node{children: level[:1:1], alive: true}
	above = []*node{parent}
	for i, child := range level[1:] {
		if parent.keys.isWellFilled() {
			parent = &node{alive: true}
			above = append(above, parent)
			bounds = append(bounds, between[i])
		} else {
			parent.keys.append([]byte(between[i]))
		}
		parent.children = append(parent.children, child)
	}
	return above, bounds
}

// keyList is a list of keys in rising order, side by side in one piece of
// memory.
type keyList struct {
	bytes []byte
	ends  []uint32 // the end of each key in bytes, and deadKey if the key is marked dead
}

const deadKey = 1 << 31

// sameRoom returns an empty list with as much room as this one has, so that it
// need not grow.
func (l *keyList) sameRoom() keyList {
	return keyList{
		bytes: make([]byte, 0, min(cap(l.bytes), maxNodeBytes)),
		ends:  make([]uint32, 0, cap(l.ends)),
	}
}

func (l *keyList) len() int { return len(l.ends) }

// start returns where key i begins. For i = len it returns where the next key
// would begin.
func (l *keyList) start(i int) int {
	if i == 0 {
		return 0
	}
	return l.end(i - 1)
}

func (l *keyList) end(i int) int { return int(l.ends[i] &^ deadKey) }

// at returns key i. It is valid until the list changes.
func (l *keyList) at(i int) []byte { return l.bytes[l.start(i):l.end(i)] }

// search returns the index of the first key that is not below key, and whether
// the two are equal.
func (l *keyList) search(key string) (i int, found bool) {
	low, high := 0, len(l.ends)
	for low < high {
		middle := int(uint(low+high) / 2)
		if unsafeString(l.at(middle)) < key {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(l.ends) && unsafeString(l.at(low)) == key
}

func (l *keyList) append(key []byte) {
	l.bytes = append(l.bytes, key...)
	l.ends = append(l.ends, uint32(len(l.bytes)))
}

// insert inserts key before key i.
func (l *keyList) insert(i int, key string) {
	start := l.start(i)
	l.bytes = slices.Grow(l.bytes, len(key))[:len(l.bytes)+len(key)]
	copy(l.bytes[start+len(key):], l.bytes[start:])
	copy(l.bytes[start:], key)
	l.ends = slices.Insert(l.ends, i, uint32(start))
	for j := i; j < len(l.ends); j++ {
		l.ends[j] += uint32(len(key))
	}
}

func (l *keyList) remove(i int) {
	start, end := l.start(i), l.end(i)
	l.bytes = slices.Delete(l.bytes, start, end)
	l.ends = slices.Delete(l.ends, i, i+1)
	for j := i; j < len(l.ends); j++ {
		l.ends[j] -= uint32(end - start)
	}
}

// cut shortens the list to the keys before i and returns the rest.
func (l *keyList) cut(i int) (rest keyList) {
	start := l.start(i)
	rest.bytes = slices.Clone(l.bytes[start:])
	rest.ends = slices.Clone(l.ends[i:])
	for j := range rest.ends {
		rest.ends[j] -= uint32(start)
	}
	l.bytes, l.ends = l.bytes[:start], l.ends[:i]
	return rest
}

// join appends the keys of other, which must be above those of this list.
func (l *keyList) join(other *keyList) {
	start := uint32(len(l.bytes))
	l.bytes = append(l.bytes, other.bytes...)
	for _, end := range other.ends {
		l.ends = append(l.ends, start+end)
	}
}

func (l *keyList) isFull() bool {
	return len(l.ends) > maxNodeKeys || len(l.bytes) > maxNodeBytes && len(l.ends) >= minFanout
}

// isWellFilled reports whether a list that will not change soon is long enough.
// The rest of its room takes a few more keys without a split.
func (l *keyList) isWellFilled() bool {
	return len(l.ends) >= maxNodeKeys*7/8 || len(l.bytes) >= maxNodeBytes*7/8 && len(l.ends) >= minFanout
}

// hasRoomFor reports whether other can be joined without a split soon
// afterwards.
func (l *keyList) hasRoomFor(other *keyList) bool {
	return len(l.ends)+len(other.ends) <= maxNodeKeys*3/4 && len(l.bytes)+len(other.bytes) <= maxNodeBytes*3/4
}
