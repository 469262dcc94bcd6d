// Package inspect reads the files of a store without opening it. It takes no
// lock and writes nothing to the directory. So it works on a copy, on a
// directory that Open refuses, and beside a store that is open for writing.
//
// Package format decides what bytes mean, for Open and for this package. This
// package adds what Open does not need: it continues behind damage.
package inspect

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"kvstore/internal/format"
	"kvstore/internal/logread"
)

// directory is the open files of a store, as of one moment. Since they are
// open, they stay readable when a snapshot removes them.
type directory struct {
	path  string
	files format.Files
	data  []dataFile // in the order of their numbers
	bad   error      // a name that no store uses, as a [*format.Damage]
}

// dataFile is a segment or a snapshot.
type dataFile struct {
	*os.File
	name       string // base name
	number     uint64 // in the name
	isSnapshot bool
	size       int64 // when it was opened
}

// openDirectory opens all files of the store in path.
func openDirectory(path string) (*directory, error) {
	for {
		d := &directory{path: path}
		err := d.openAll()
		if err == nil {
			return d, nil
		}
		d.close()
		if !errors.Is(err, errChanged) {
			return nil, err
		}
	}
}

// errChanged is returned when files were created or removed while they were
// being opened. That is rare, so the caller retries until it succeeds.
var errChanged = errors.New("the directory has changed")

// openAll lists the directory, opens the files, and lists it again. If the
// lists are equal, all files existed at the same moment. A single list does not
// prove that, since a directory may change while it is read.
func (d *directory) openAll() (err error) {
	if d.files, d.bad, err = list(d.path); err != nil {
		return err
	}
	for _, f := range inOrder(&d.files) {
		err := f.open(d.path)
		if errors.Is(err, fs.ErrNotExist) {
			return errChanged
		}
		if err != nil {
			return err
		}
		d.data = append(d.data, f)
	}
	again, _, err := list(d.path)
	if err != nil {
		return err
	}
	if !slices.Equal(again.Segments, d.files.Segments) || !slices.Equal(again.Snapshots, d.files.Snapshots) {
		return errChanged
	}
	return nil
}

// open opens a file in dir.
func (f *dataFile) open(dir string) (err error) {
	if f.File, err = os.Open(filepath.Join(dir, f.name)); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	f.size = info.Size()
	return nil
}

// list lists a directory. bad is the first name that resembles that of a
// store's file but that no store uses.
func list(path string) (files format.Files, bad, err error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return format.Files{}, nil, err
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	for {
		files, err := format.Sort(names)
		d, ok := errors.AsType[*format.Damage](err)
		if !ok {
			return files, bad, err
		}
		if bad == nil {
			bad = d
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name == d.File })
	}
}

// inOrder returns the files in the order of their numbers. A snapshot comes
// before the segment with its number, which continues from it.
func inOrder(files *format.Files) []dataFile {
	var all []dataFile
	for _, number := range files.Snapshots {
		all = append(all, dataFile{name: format.SnapshotName(number), number: number, isSnapshot: true})
	}
	for _, number := range files.Segments {
		all = append(all, dataFile{name: format.SegmentName(number), number: number})
	}
	slices.SortStableFunc(all, func(a, b dataFile) int { return cmp.Compare(a.number, b.number) })
	return all
}

// find returns the file of a snapshot or a segment, which must be in the
// directory.
func (d *directory) find(number uint64, isSnapshot bool) *dataFile {
	i := slices.IndexFunc(d.data, func(f dataFile) bool {
		return f.number == number && f.isSnapshot == isSnapshot
	})
	return &d.data[i]
}

func (d *directory) close() {
	for _, f := range d.data {
		_ = f.Close() // the file was only read
	}
}

// Size implements [logread.File]. It returns the size when the file was opened.
func (f *dataFile) Size() (int64, error) { return f.size, nil }

// Replaced implements [logread.SourceFile].
func (f *dataFile) Replaced() (bool, error) {
	named, err := os.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	open, err := f.Stat()
	return err == nil && !os.SameFile(open, named), err
}

// read returns the bytes of a segment. It uses the memory of buf if it is large
// enough.
func (f *dataFile) read(buf []byte) ([]byte, error) { return logread.ReadAll(f, f.number, buf) }

// identity returns the store id that most of the files have, or the first of
// several. The caller passes the snapshots that it has read, in the order in
// which they count.
func (d *directory) identity(snapshots ...*format.Snapshot) format.StoreID {
	var best format.StoreID
	votes := map[format.StoreID]int{}
	vote := func(id format.StoreID) {
		if votes[id]++; votes[id] > votes[best] {
			best = id
		}
	}
	for _, info := range snapshots {
		if info != nil {
			vote(info.ID)
		}
	}
	for _, f := range d.data {
		if f.isSnapshot {
			continue
		}
		head := make([]byte, format.SegmentEntryBytes)
		if _, err := f.ReadAt(head, 0); err != nil {
			continue // too short, or a read error that a later read reports
		}
		if h, ok := format.DecodeHeader(head); ok && h.Version == format.Version {
			vote(h.ID)
		}
	}
	return best
}
