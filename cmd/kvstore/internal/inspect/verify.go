package inspect

import (
	"slices"

	"kvstore/internal/format"
)

// Report is what Verify found.
type Report struct {
	Dir     string   `json:"dir"`
	Verdict Verdict  `json:"verdict"`
	Reason  string   `json:"reason,omitempty"` // why Open refuses the directory
	Dropped *Dropped `json:"dropped,omitempty"`
	Files   []File   `json:"files"`
	Damage  []Damage `json:"damage"` // including files that Open does not read
}

// Verify verifies every checksum in a directory and reports what Open would do
// with it. It calls progress with the number of bytes that it has read. An
// error is one of reading; the report is then incomplete.
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

// snapshots verifies the snapshots and returns what it found in the newest one,
// which is the only one that Open reads.
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

// segments verifies the segments. Unless Open refuses the directory, invalid
// bytes in the segments that it reads are an incomplete write, and no damage.
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
		isLast := f.number == v.files.Segments[len(v.files.Segments)-1]
		if err := s.segment(&f, buf, s == needed, isLast); err != nil {
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

// conclude sets the verdict. The reason why Open refuses is always reported as
// damage.
func (v *verifier) conclude(j judgement) {
	v.report.Verdict, v.report.Dropped = j.verdict, j.dropped
	if !j.refuses() {
		return
	}
	v.report.Reason = j.reason.Error()
	d, _ := damageOf(j.reason)
	d.Needed = true
	isReason := func(o Damage) bool { return o.File == d.File && o.Offset == d.Offset }
	if !slices.ContainsFunc(v.report.Damage, isReason) {
		v.report.Damage = append(v.report.Damage, d)
	}
}
