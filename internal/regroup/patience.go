package regroup

// maxPause is the longest pause after something was in vain that cost as much as one group.
const maxPause = 64

// patience is for what may be in vain: each time that it is, it is not tried for twice as many groups, and for more if it has cost more.
type patience struct {
	pause int // groups for which not to try
	last  int // the last pause, for the cost of one group
}

// try reports whether to try now. [patience.good] or [patience.vain] may follow if so.
func (p *patience) try() bool {
	if p.pause > 0 {
		p.pause--
		return false
	}
	return true
}

// good says that it was worth it. A single success says little where most are failures.
func (p *patience) good() { p.last /= 2 }

// vain says that it was not, and has cost as much as so many groups. So what is lost in the long run is one part of maxPause, whatever it costs.
func (p *patience) vain(groups int) {
	p.last = min(2*p.last+1, maxPause)
	p.pause = p.last * max(groups, 1)
}
