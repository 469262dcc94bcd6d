package inspect

import (
	"context"
	"errors"

	"kvstore/internal/format"
	"kvstore/internal/logread"
)

// Verdict is what Open would do with a directory.
type Verdict string

// The verdicts.
const (
	Sound      Verdict = "sound"
	Repairable Verdict = "repairable"    // Open drops an incomplete write at the end of the log
	Corrupt    Verdict = "corrupt"       // Open refuses it
	Later      Verdict = "later version" // Open refuses it: a later version of the package wrote it
	Unreadable Verdict = "unreadable"    // Open fails: it cannot open or read a file
)

// judgement is what Open would do with a directory, and why. Like Open, it ends
// at the first defect.
type judgement struct {
	verdict Verdict
	reason  error       // nil for Sound and Repairable
	last    string      // name of the log's last segment, "" if there is none
	tail    format.Tail // of the last segment
}

// refuses reports whether Open would refuse the directory.
func (j *judgement) refuses() bool { return j.reason != nil }

// dropped returns what Open would drop, nil for nothing.
func (j *judgement) dropped() *Dropped {
	if j.refuses() || j.tail.Torn == 0 {
		return nil
	}
	return &Dropped{File: j.last, Offset: int64(j.tail.Offset), Bytes: j.tail.Torn}
}

// verdictOn returns the verdict that a defect means; Sound for nil.
func verdictOn(err error) Verdict {
	if err == nil {
		return Sound
	}
	if _, isDamage := errors.AsType[*format.Damage](err); isDamage {
		return Corrupt
	}
	if _, isLater := errors.AsType[*format.Later](err); isLater {
		return Later
	}
	return Unreadable
}

// judge reads the files as Open does. newest is what the caller found in the
// newest snapshot. If ctx ends, the judgement is worth nothing.
func (d *directory) judge(ctx context.Context, newest snapshotFound) judgement {
	tail, err := d.replay(ctx, newest)
	j := judgement{verdict: verdictOn(err), reason: err, last: d.lastSegment(), tail: tail}
	if j.dropped() != nil {
		j.verdict = Repairable
	}
	return j
}

// replay returns what follows the last group of the log, and the first defect
// for which Open refuses the directory, or the error of ctx.
func (d *directory) replay(ctx context.Context, newest snapshotFound) (tail format.Tail, err error) {
	if d.bad != nil {
		return tail, d.bad
	}
	if newest.err != nil {
		return tail, newest.err
	}
	var chain format.Chain
	if newest.info != nil {
		chain.Begin(newest.info)
	}
	segments, err := d.files.Following(d.files.Newest())
	if err != nil {
		return tail, err
	}
	for i, number := range segments {
		if ctx.Err() != nil {
			return tail, ctx.Err()
		}
		f := d.find(number)
		data, err := d.read(f)
		if err != nil {
			return tail, err
		}
		if tail, err = logread.Judge(f, f.number, data, &chain, i == len(segments)-1); err != nil {
			return tail, f.defect(err)
		}
	}
	return tail, nil
}
