// Package inspect reads the files of a store without opening it. It takes no
// lock and writes nothing to the directory. So it works on a copy, on a
// directory that Open refuses, and beside a store that is open for writing.
//
// Package format decides what bytes mean, and package vfs which files are
// opened, for Open and for this package. This package adds what Open does not
// need: it continues behind damage.
package inspect

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"kvstore/internal/datadir"
	"kvstore/internal/format"
	"kvstore/internal/logread"
	"kvstore/internal/vfs"
)

// directory is the open files of a store, as of one moment. Since they are
// open, they stay readable when a snapshot removes them.
type directory struct {
	path  string
	root  *os.Root
	files format.Files
	data  []dataFile // in the order of their numbers
	bad   error      // why Open fails before it reads a file; nil if it does not
	buf   []byte     // of read
}

// read returns the bytes of a segment. They are valid until the next call: only
// one segment is in memory. The error is an [*unreadableError].
func (d *directory) read(f *dataFile) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	data, err := logread.ReadAll(f, f.number, d.buf)
	if err != nil {
		return nil, f.defect(err)
	}
	d.buf = data
	return data, nil
}

// openDirectory opens all files of the store in path. A file that cannot be
// opened is no error: it says so itself. Like Open, it makes the path absolute,
// so that both name a file in the same way.
func openDirectory(path string) (*directory, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(absolute)
	if err != nil {
		return nil, err
	}
	for {
		d := &directory{path: path, root: root}
		err := d.openAll()
		if err == nil {
			return d, nil
		}
		d.closeFiles()
		if !errors.Is(err, errChanged) {
			return nil, errors.Join(err, root.Close())
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
	if d.files, d.bad, err = list(d.root); err != nil {
		return err
	}
	if d.files.Empty() && d.bad == nil {
		return fmt.Errorf("%s: %w", d.path, datadir.ErrNoStore)
	}
	if err := d.lockDefect(); err != nil {
		d.bad = err
	}
	for _, f := range inOrder(&d.files) {
		if err := f.open(d.root); err != nil {
			return errChanged
		}
		d.data = append(d.data, f)
	}
	again, _, err := list(d.root)
	if err != nil {
		return err
	}
	if !slices.Equal(again.Segments, d.files.Segments) || !slices.Equal(again.Snapshots, d.files.Snapshots) {
		return errChanged
	}
	return nil
}

// lockDefect returns the error with which Open cannot open the lock file. On
// Windows a lock file that is held cannot be opened, not even to look at it.
func (d *directory) lockDefect() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := vfs.OpenRead(d.root, format.LockName)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return &unreadableError{format.LockName, fmt.Errorf("lock %s: %w", d.root.Name(), err)}
}

// list lists a directory. bad is the first name that resembles that of a
// store's file but that no store uses.
func list(root *os.Root) (files format.Files, bad, err error) {
	names, err := readNames(root)
	if err != nil {
		return format.Files{}, nil, err
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

// readNames returns the names in a directory, in the order in which Open sees
// them.
func readNames(root *os.Root) ([]string, error) {
	self, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := self.Readdirnames(-1)
	return names, errors.Join(err, self.Close())
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

// find returns the file of a segment, which must be in the directory.
func (d *directory) find(number uint64) *dataFile {
	i := slices.IndexFunc(d.data, func(f dataFile) bool { return f.number == number && !f.isSnapshot })
	return &d.data[i]
}

// lastSegment returns the name of the segment with the highest number, "" if
// there is none.
func (d *directory) lastSegment() string {
	if n := len(d.files.Segments); n > 0 {
		return format.SegmentName(d.files.Segments[n-1])
	}
	return ""
}

func (d *directory) close() {
	d.closeFiles()
	_ = d.root.Close() // it was only read
}

func (d *directory) closeFiles() {
	for _, f := range d.data {
		_ = f.Close() // the file was only read
	}
}

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
	for i := range d.data {
		if d.data[i].isSnapshot {
			continue
		}
		if h, ok := d.data[i].header(); ok {
			vote(h.ID)
		}
	}
	return best
}
