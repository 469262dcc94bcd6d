package inspect

import (
	"context"
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
// with it. It calls progress with the number of bytes that it has read. The
// error is that of listing the directory: a file that cannot be read is in the
// report.
func Verify(path string, progress func(done, total int64)) (*Report, error) {
	d, err := openDirectory(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return verify(d, progress), nil
}

// verify is Verify of an open directory.
func verify(d *directory, progress func(done, total int64)) *Report {
	v := &verifier{
		directory: d, progress: progress,
		report: &Report{Dir: d.path, Damage: []Damage{}, Files: []File{}},
	}
	for i := range v.data {
		v.total += v.data[i].size
	}
	newest := v.snapshots()
	j := v.judge(context.Background(), newest)
	v.segments(newest.info, j.refuses())
	v.conclude(&j)
	return v.report
}

// verifier verifies one directory.
type verifier struct {
	*directory
	report      *Report
	progress    func(done, total int64)
	done, total int64
}

func (v *verifier) add(n int64) {
	v.done += n
	v.progress(v.done, v.total)
}

// snapshots verifies the snapshots and returns what it found in the newest one,
// which is the only one that Open reads.
func (v *verifier) snapshots() (newest snapshotFound) {
	for i := range v.data {
		f := &v.data[i]
		if !f.isSnapshot {
			continue
		}
		ignore := func(format.Pair, bool) error { return nil }
		newest, _ = surveySnapshot(f, false, ignore, v.add) // the error is that of ignore
		needed := f.number == v.files.Newest()
		v.report.Files = append(v.report.Files, newest.file(f, needed))
		v.report.Damage = append(v.report.Damage, newest.damage(f, needed)...)
	}
	return newest
}

// segments verifies the segments. Unless Open refuses the directory, invalid
// bytes in the segments that it reads are an incomplete write, and no damage.
func (v *verifier) segments(newest *format.Snapshot, refused bool) {
	id := v.identity(newest)
	ignore := func(*format.Group) error { return nil }
	needed, others := newSurvey(id, newest, ignore), newSurvey(id, nil, ignore)
	needed.unknown, others.unknown = newest == nil && v.files.Newest() > 0, true
	for i := range v.data {
		f := &v.data[i]
		switch {
		case f.isSnapshot:
		case f.number >= v.files.Newest():
			v.segment(needed, f)
		default:
			v.segment(others, f)
		}
	}
	others.end()
	needed.end()
	v.report.Files = append(v.report.Files, slices.Concat(others.files, needed.files)...)
	v.report.Damage = append(v.report.Damage, others.damage...)
	if refused {
		v.report.Damage = append(v.report.Damage, needed.damage...)
	}
}

// segment verifies one segment.
func (v *verifier) segment(s *survey, f *dataFile) {
	needed := f.number >= v.files.Newest()
	data, err := v.read(f)
	if err != nil {
		s.unreadable(f, err, needed)
		return
	}
	_ = s.segment(f, data, needed, f.name == v.lastSegment()) // the error is that of the survey's group
	v.add(f.size)
}

// conclude sets the verdict. The reason why Open refuses is always reported as
// damage. Damage in files that Open does not read loses nothing.
func (v *verifier) conclude(j *judgement) {
	for i := range v.report.Damage {
		if !v.report.Damage[i].Needed {
			v.report.Damage[i].Loss = None
		}
	}
	v.report.Verdict, v.report.Dropped = j.verdict, j.dropped()
	if !j.refuses() {
		return
	}
	v.report.Reason = j.reason.Error()
	v.report.Damage = withReason(v.report.Damage, j.reason)
}
