package format

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A name in a data directory is a number of 20 decimal digits between a prefix
// and a suffix. The store ignores all other names.
const (
	LockName  = "LOCK"
	TmpSuffix = ".tmp" // appended to a file's name while the file is being made

	segmentPrefix  = "wal-"
	segmentSuffix  = ".log"
	snapshotPrefix = "snapshot-"
	snapshotSuffix = ".kvs"
	numberDigits   = 20

	// maxNumber is far above any number that a store reaches, and far below the
	// point where counting further would overflow.
	maxNumber = 1 << 62
)

// SegmentName returns the name of a segment.
func SegmentName(number uint64) string {
	return fmt.Sprintf("%s%0*d%s", segmentPrefix, numberDigits, number, segmentSuffix)
}

// SnapshotName returns the name of a snapshot.
func SnapshotName(number uint64) string {
	return fmt.Sprintf("%s%0*d%s", snapshotPrefix, numberDigits, number, snapshotSuffix)
}

// fileNumber returns the number in a name of this form, and 0 for any other
// name.
func fileNumber(name, prefix, suffix string) uint64 {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0
	}
	digits, ok = strings.CutSuffix(digits, suffix)
	if !ok || len(digits) != numberDigits {
		return 0
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// Files is the content of a data directory, in rising order of numbers.
type Files struct {
	Segments  []uint64
	Snapshots []uint64
	Temporary []string // names of files that a crashed opener left behind
}

// Sort selects the files of a store from the names in its directory. The error
// is a [*Damage].
func Sort(names []string) (Files, error) {
	var f Files
	for _, name := range names {
		whole, isTemporary := strings.CutSuffix(name, TmpSuffix)
		segment := fileNumber(whole, segmentPrefix, segmentSuffix)
		snapshot := fileNumber(whole, snapshotPrefix, snapshotSuffix)
		switch {
		case segment == 0 && snapshot == 0:
		case isTemporary:
			f.Temporary = append(f.Temporary, name)
		case max(segment, snapshot) > maxNumber:
			return Files{}, &Damage{File: name, Reason: "number out of range"}
		case segment > 0:
			f.Segments = append(f.Segments, segment)
		default:
			f.Snapshots = append(f.Snapshots, snapshot)
		}
	}
	slices.Sort(f.Segments)
	slices.Sort(f.Snapshots)
	return f, nil
}

// Empty reports whether there is neither a segment nor a snapshot.
func (f *Files) Empty() bool { return len(f.Segments)+len(f.Snapshots) == 0 }

// Newest returns the number of the newest snapshot, 0 if there is none.
func (f *Files) Newest() uint64 {
	if len(f.Snapshots) == 0 {
		return 0
	}
	return f.Snapshots[len(f.Snapshots)-1]
}

// Following returns the numbers of the segments that the snapshot with this
// number (0: no snapshot) does not cover. They must follow the snapshot and
// each other without a gap. The error is a [*Damage].
func (f *Files) Following(snapshot uint64) ([]uint64, error) {
	first := max(snapshot, 1)
	from, _ := slices.BinarySearch(f.Segments, first)
	segments := f.Segments[from:]
	for i, number := range segments {
		if missing := first + uint64(i); number != missing {
			return nil, &Damage{File: SegmentName(missing), Reason: "missing, though later segments are there"}
		}
	}
	return segments, nil
}

// Below returns the names of the files that the snapshot with this number makes
// superfluous.
func (f *Files) Below(number uint64) []string {
	var names []string
	for _, n := range f.Segments {
		if n < number {
			names = append(names, SegmentName(n))
		}
	}
	for _, n := range f.Snapshots {
		if n < number {
			names = append(names, SnapshotName(n))
		}
	}
	return names
}
