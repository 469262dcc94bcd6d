package handoff

// maxPause is the longest pause after a failure that cost as much as one group.
const maxPause = 64

// backoff limits what repeated failures of an attempt cost. After each failure
// the attempt is skipped for twice as many groups as the time before, and for
// more groups if the failure cost more. The zero value is ready.
type backoff struct {
	pause int // groups for which the attempt is still skipped
	last  int // the last pause, for the cost of one group
}

// try reports whether to make the attempt now. If it does, the caller may call
// [backoff.succeeded] or [backoff.failed].
func (b *backoff) try() bool {
	if b.pause > 0 {
		b.pause--
		return false
	}
	return true
}

// succeeded records that the attempt was worth its cost. One success only
// halves the next pause, because it says little where most attempts fail.
func (b *backoff) succeeded() { b.last /= 2 }

// failed records that the attempt was not worth its cost, which was that of n
// groups. The pause grows with the cost, so that in the long run at most one
// part in maxPause is lost, whatever a failure costs.
func (b *backoff) failed(n int) {
	b.last = min(2*b.last+1, maxPause)
	b.pause = b.last * max(n, 1)
}
