// Package inspect looks at the files of a store without opening it: it takes no lock, and writes nothing where it looks. So it works on a
// copy, on what Open refuses, and on the directory of a store that is being written to meanwhile.
//
// What bytes mean is decided by package format, for Open as well as here. This package adds what Open has no use for: it goes on behind
// damage.
package inspect

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"kvstore/internal/format"
)

// directory is the files of a store as of one moment, opened: what a snapshot removes later stays readable.
type directory struct {
	path  string
	files format.Files
	data  []dataFile // in the order of their numbers
	bad   error      // a name that no store gives, a [*format.Damage]
}

// dataFile is a segment or a snapshot.
type dataFile struct {
	*os.File
	name       string // base name
	number     uint64 // the one in the name
	isSnapshot bool
	size       int64 // when it was opened
}

// openDirectory opens all files.
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

// errChanged says that files came or went while they were being opened. They do that seldom, so it is tried again until they do not.
var errChanged = errors.New("the directory has changed")

// openAll lists the directory, opens what is there, and lists it once more: what is in both lists was there together. One list alone
// is not of one moment.
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

// list lists a directory; bad is the first name that no store gives to a file, though it looks like that.
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

// inOrder returns the files by their numbers: a snapshot comes before the segment of its number, which goes on from it.
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

// find returns the file of a snapshot or a segment that is known to be there.
func (d *directory) find(number uint64, isSnapshot bool) *dataFile {
	i := slices.IndexFunc(d.data, func(f dataFile) bool { return f.number == number && f.isSnapshot == isSnapshot })
	return &d.data[i]
}

func (d *directory) close() {
	for _, f := range d.data {
		_ = f.Close() // nothing was written
	}
}

// read returns the bytes of the file, in the memory of buf if that is enough.
func (f *dataFile) read(buf []byte) ([]byte, error) {
	if f.size > math.MaxInt {
		return nil, fmt.Errorf("%s is too large for this platform: %d bytes", f.name, f.size)
	}
	data := slices.Grow(buf[:0], int(f.size))[:f.size]
	return data, f.readAgain(data, 0)
}

// readAgain reads data[offset:], which is what the file has from there on.
func (f *dataFile) readAgain(data []byte, offset int) error {
	if offset == len(data) {
		return nil
	}
	if _, err := io.ReadFull(io.NewSectionReader(f, int64(offset), int64(len(data)-offset)), data[offset:]); err != nil {
		return fmt.Errorf("read %s: %w", f.name, err)
	}
	return nil
}

// identity returns the id of the store that most of the files are of; the first of several. The snapshots' are given, in the order
// in which they count.
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
			continue // too short, or to be reported when all of it is read
		}
		if h, ok := format.DecodeHeader(head); ok && h.Version == format.Version {
			vote(h.ID)
		}
	}
	return best
}
