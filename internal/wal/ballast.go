package wal

import (
	"sync"

	"kvstore/internal/vfs"
)

// minBallastBytes is the least that is worth holding back: some groups of
// deletions, each in a segment of its own.
const minBallastBytes = 64 << 10

// maxClosedBytes is what a closed store holds back at most.
const maxClosedBytes = 1 << 20

// Ballast is disk space that a store holds back, so that there is a way out
// when the disk is full: it is spent on deletions and on a snapshot. It
// outlives the process, so the next Open has it, too.
//
// Its methods may be called from any number of goroutines.
type Ballast struct {
	lock vfs.Lock // immutable: the space is reserved behind the end of the lock file

	mu    sync.Mutex
	held  int64 // guarded by mu: bytes
	spent bool  // guarded by mu: it was needed, and could not be held again since
}

// NewBallast returns the ballast of a directory with this lock. What an earlier
// session has held back stays until Release.
func NewBallast(lock vfs.Lock) *Ballast { return &Ballast{lock: lock} }

// Release frees what an earlier session has held back, so that an Open has it
// at its disposal.
func (b *Ballast) Release() {
	_ = b.lock.Reserve(0) // there may be nothing to free, or no such call
}

// Hold holds back n bytes, or less if the disk has no room for more. It is an
// effort, not a promise: a file system may have no such call.
func (b *Ballast) Hold(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; n > b.held && n >= minBallastBytes; n -= n / 8 {
		for range 2 {
			if b.lock.Reserve(n) == nil {
				b.held, b.spent = n, false
				return
			}
			// A part of n may be reserved. Freeing it also makes the file
			// system give back what was removed a moment ago.
			_ = b.lock.Reserve(0)
			b.held = 0
		}
	}
}

// HoldClosed holds back what the next Open of a store of this size needs to
// delete something and to write a snapshot: in proportion to a small store, so
// that many of them take little.
func (b *Ballast) HoldClosed(storeBytes int64) {
	b.Hold(min(max(storeBytes, minBallastBytes), maxClosedBytes))
}

// Spend frees the ballast. It reports whether there was any.
func (b *Ballast) Spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == 0 || b.lock.Reserve(0) != nil {
		return false
	}
	b.held, b.spent = 0, true
	return true
}

// Spent reports whether the ballast was needed and is not held again.
func (b *Ballast) Spent() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spent
}
