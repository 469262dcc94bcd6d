package inspect

import (
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
)

// judgement is what Open would do with a directory, and why. Like Open, it ends
// at the first defect.
type judgement struct {
	verdict Verdict
	reason  error // for Corrupt and Later
	dropped *Dropped
}

// refuses reports whether Open would refuse the directory.
func (j judgement) refuses() bool { return j.verdict == Corrupt || j.verdict == Later }

// verdictOn returns the verdict that an error of package format means. ok is
// false for other errors, which are those of reading.
func verdictOn(err error) (v Verdict, ok bool) {
	if _, isDamage := errors.AsType[*format.Damage](err); isDamage {
		return Corrupt, true
	}
	if _, isLater := errors.AsType[*format.Later](err); isLater {
		return Later, true
	}
	return "", false
}

// judge reads the files as Open does. newest is what the caller found in the
// newest snapshot. An error is one of reading.
func (d *directory) judge(newest snapshotFound) (judgement, error) {
	dropped, err := d.replay(newest)
	switch v, ok := verdictOn(err); {
	case ok:
		return judgement{verdict: v, reason: err}, nil
	case err != nil:
		return judgement{}, err
	case dropped != nil:
		return judgement{verdict: Repairable, dropped: dropped}, nil
	}
	return judgement{verdict: Sound}, nil
}

// replay is judge, but returns the verdict as an error.
func (d *directory) replay(newest snapshotFound) (*Dropped, error) {
	if d.bad != nil {
		return nil, d.bad
	}
	var chain format.Chain
	if newest.err != nil {
		return nil, newest.err
	}
	if newest.info != nil {
		chain.Begin(newest.info)
	}
	segments, err := d.files.Following(d.files.Newest())
	if err != nil {
		return nil, err
	}
	var buf []byte
	for i, number := range segments {
		f := d.find(number, false)
		if buf, err = f.read(buf); err != nil {
			return nil, err
		}
		tail, err := logread.Judge(f, f.number, buf, &chain, i == len(segments)-1)
		if err != nil {
			return nil, err
		}
		if tail.Torn > 0 {
			return &Dropped{File: f.name, Offset: int64(tail.Offset), Bytes: tail.Torn}, nil
		}
	}
	return nil, nil
}
