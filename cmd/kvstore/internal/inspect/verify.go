package inspect

import (
	"slices"

	"kvstore/internal/format"
)

// Report is what Verify finds.
type Report struct {
	Dir     string   `json:"dir"`
	Verdict Verdict  `json:"verdict"`
	Reason  string   `json:"reason,omitempty"` // why Open refuses the directory
	Dropped *Dropped `json:"dropped,omitempty"`
	Files   []File   `json:"files"`
	Damage  []Damage `json:"damage"` // also in files that Open does not read
}

// Verify verifies every checksum in a directory and says what Open would make of it. progress is told how many of how many bytes have been
// read. An error is one of reading; then nothing is known.
func Verify(path string, progress func(done, total int64)) (*Report, error) {
	v := &verifier{report: &Report{Dir: path, Damage: []Damage{}, Files: []File{}}, progress: progress}
	d, err := openDirectory(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	v.directory = d
	return v.report, v.run()
}

// verifier verifies one directory.
type verifier struct {
	*directory
	report      *Report
	progress    func(done, total int64)
	done, total int64
}

func (v *verifier) run() error {
	for _, f := range v.data {
		v.total += f.size
	}
	newest, err := v.snapshots()
	if err != nil {
		return err
	}
	j, err := v.judge(newest)
	if err != nil {
		return err
	}
	if err := v.segments(newest.info, j.refuses()); err != nil {
		return err
	}
	v.conclude(j)
	return nil
}

func (v *verifier) add(n int64) {
	v.done += n
	v.progress(v.done, v.total)
}

// snapshots verifies the snapshots and returns what was found of the newest, the only one that Open reads.
func (v *verifier) snapshots() (newest snapshotFound, err error) {
	for _, f := range v.data {
		if !f.isSnapshot {
			continue
		}
		newest, err = surveySnapshot(&f, false, func(format.Pair) error { return nil }, v.add)
		if err != nil {
			return snapshotFound{}, err
		}
		needed := f.number == v.files.Newest()
		v.report.Files = append(v.report.Files, newest.file(&f, needed))
		v.report.Damage = append(v.report.Damage, newest.damage(&f, needed)...)
	}
	return newest, nil
}

// segments verifies the segments. Unless Open refuses them, what is no group in those that it reads is an incomplete write, and no damage.
func (v *verifier) segments(newest *format.Snapshot, refused bool) error {
	id := v.identity(newest)
	ignore := func(*format.Group) error { return nil }
	needed, others := newSurvey(id, newest, ignore), newSurvey(id, nil, ignore)
	needed.unknown, others.unknown = newest == nil && v.files.Newest() > 0, true
	var buf []byte
	for _, f := range v.data {
		if f.isSnapshot {
			continue
		}
		var err error
		if buf, err = f.read(buf); err != nil {
			return err
		}
		s := others
		if f.number >= v.files.Newest() {
			s = needed
		}
		if err := s.segment(&f, buf, s == needed, f.number == v.files.Segments[len(v.files.Segments)-1]); err != nil {
			return err
		}
		v.add(int64(len(buf)))
	}
	others.end()
	needed.end()
	v.report.Files = append(v.report.Files, slices.Concat(others.files, needed.files)...)
	v.report.Damage = append(v.report.Damage, others.damage...)
	if refused {
		v.report.Damage = append(v.report.Damage, needed.damage...)
	}
	return nil
}

// conclude sets the verdict. The reason to refuse is damage, whether or not it was met on the way.
func (v *verifier) conclude(j judgement) {
	v.report.Verdict, v.report.Dropped = j.verdict, j.dropped
	if !j.refuses() {
		return
	}
	v.report.Reason = j.reason.Error()
	d, _ := damageOf(j.reason)
	d.Needed = true
	if !slices.ContainsFunc(v.report.Damage, func(o Damage) bool { return o.File == d.File && o.Offset == d.Offset }) {
		v.report.Damage = append(v.report.Damage, d)
	}
}
