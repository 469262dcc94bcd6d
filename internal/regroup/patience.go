package regroup

// maxPause is how many groups go by, at most, before what was in vain is tried again.
const maxPause = 64

// patience is for what may be in vain: each time that it is, twice as many groups go by before it is tried again.
type patience struct {
	pause int // groups for which not to try
	last  int // the last pause
}

// try reports whether to try now. [patience.learn] is to follow if so.
func (p *patience) try() bool {
	if p.pause > 0 {
		p.pause--
		return false
	}
	return true
}

// learn says what has come of it.
func (p *patience) learn(good bool) {
	if good {
		p.last = 0
		return
	}
	p.last = min(2*p.last+1, maxPause)
	p.pause = p.last
}
