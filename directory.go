package kvstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kvstore/internal/vfs"
)

// The names in a data directory: a number of 20 decimal digits between these. All other names are foreign.
const (
	lockName       = "LOCK"
	segmentPrefix  = "wal-"
	segmentSuffix  = ".log"
	snapshotPrefix = "snapshot-"
	snapshotSuffix = ".kvs"
	tmpSuffix      = ".tmp" // behind the whole name, while the file is being made
	numberDigits   = 20

	// maxFileNumber is far beyond what a store counts to, and far from where counting on would wrap around.
	maxFileNumber = 1 << 62
)

func segmentName(number uint64) string {
	return fmt.Sprintf("%s%0*d%s", segmentPrefix, numberDigits, number, segmentSuffix)
}

func snapshotName(number uint64) string {
	return fmt.Sprintf("%s%0*d%s", snapshotPrefix, numberDigits, number, snapshotSuffix)
}

// fileNumber returns the number in a name of this form, 0 if it has another form.
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

// listing is what a data directory holds, numbers rising.
type listing struct {
	segments  []uint64
	snapshots []uint64
	temporary []string // leftovers of an opener that crashed
}

// list reads the directory.
func list(dir vfs.Dir) (listing, error) {
	names, err := dir.List()
	if err != nil {
		return listing{}, fmt.Errorf("kvstore: list data directory: %w", err)
	}
	var l listing
	for _, name := range names {
		whole, isTemporary := strings.CutSuffix(name, tmpSuffix)
		segment := fileNumber(whole, segmentPrefix, segmentSuffix)
		snapshot := fileNumber(whole, snapshotPrefix, snapshotSuffix)
		switch {
		case segment == 0 && snapshot == 0:
		case isTemporary:
			l.temporary = append(l.temporary, name)
		case max(segment, snapshot) > maxFileNumber:
			return listing{}, &CorruptError{File: name, Reason: "number out of range"}
		case segment > 0:
			l.segments = append(l.segments, segment)
		default:
			l.snapshots = append(l.snapshots, snapshot)
		}
	}
	slices.Sort(l.segments)
	slices.Sort(l.snapshots)
	return l, nil
}

// below returns the names of the files that a snapshot with this number makes superfluous.
func (l *listing) below(number uint64) []string {
	var names []string
	for _, n := range l.segments {
		if n < number {
			names = append(names, segmentName(n))
		}
	}
	for _, n := range l.snapshots {
		if n < number {
			names = append(names, snapshotName(n))
		}
	}
	return names
}

// removeAll removes files and makes that durable. What replaces them must be durable already.
func removeAll(dir vfs.Dir, names []string) error {
	for _, name := range names {
		if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("kvstore: remove %s: %w", name, err)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return syncDir(dir)
}

// discard removes a file that was being made when err happened, so that its space is free again, and returns err
// with what else went wrong.
func discard(dir vfs.Dir, name string, err error) error {
	if removeErr := dir.Remove(name); !errors.Is(removeErr, fs.ErrNotExist) {
		return errors.Join(err, removeErr)
	}
	return err
}

func syncDir(dir vfs.Dir) error {
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("kvstore: sync data directory: %w", err)
	}
	return nil
}

// makeDir creates the directory at path, and the ones above it that are missing, from the top. Each name is durable
// before anything is created below it: so whatever an Open that crashed on the way has left, only the lowest
// name that exists may be one that is not durable.
func makeDir(fsys vfs.FS, path string) error {
	dir, err := fsys.OpenDir(path)
	if err == nil {
		err = dir.Close()
	}
	parent := filepath.Dir(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || parent == path {
		return err
	}
	if err := makeDir(fsys, parent); err != nil {
		return err
	}
	if err := syncName(fsys, parent); err != nil {
		return err
	}
	if err := fsys.Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncParent(path)
}

// syncName makes the name of an existing directory durable. Where we may not even read the directory above, it was
// not us who made that name, and nothing is left to do.
func syncName(fsys vfs.FS, path string) error {
	if err := fsys.SyncParent(path); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
