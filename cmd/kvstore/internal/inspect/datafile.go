package inspect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// dataFile is a segment or a snapshot. It can be read unless err is set.
type dataFile struct {
	openFile
	root       *os.Root // the directory
	name       string   // base name
	number     uint64   // in the name
	isSnapshot bool
	size       int64 // when it was opened
	err        error // an [*unreadableError]: why the file could not be opened
}

// openFile is an *os.File. Tests replace it with one that cannot be read.
type openFile interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// unreadableError is the error for a file that Open cannot open or read. Its
// message is that of Open. It wraps nothing, so that a link to a file that does
// not exist is not taken for a file that has been removed.
type unreadableError struct {
	file  string // base name
	cause error
}

func (e *unreadableError) Error() string { return e.cause.Error() }

// open opens the file in root as Open does. The error is fs.ErrNotExist: the
// file has been removed. Any other error is f.err.
func (f *dataFile) open(root *os.Root) error {
	f.root = root
	file, err := vfs.OpenRead(root, f.name)
	if errors.Is(err, fs.ErrNotExist) && !isLink(root, f.name) {
		return err
	}
	var info fs.FileInfo
	if err == nil {
		f.openFile = file
		info, err = file.Stat()
	}
	if err != nil {
		f.err = &unreadableError{f.name, fmt.Errorf("open %s: %w", f.name, err)}
		return nil
	}
	f.size = info.Size()
	return nil
}

// isLink reports whether there is a symbolic link of this name.
func isLink(root *os.Root, name string) bool {
	info, err := root.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// defect returns err, which came of reading the file: as it is if it says what
// is wrong with the bytes, else as an [*unreadableError].
func (f *dataFile) defect(err error) error {
	if err == nil || verdictOn(err) != Unreadable {
		return err
	}
	if _, ok := errors.AsType[*unreadableError](err); ok {
		return err
	}
	return &unreadableError{f.name, err}
}

// header returns the SEGMENT entry of a segment. ok is false if there is none,
// or one of another version.
func (f *dataFile) header() (h format.Header, ok bool) {
	if f.err != nil {
		return format.Header{}, false
	}
	head := make([]byte, format.SegmentEntryBytes)
	n, _ := f.ReadAt(head, 0) // a later read reports the error
	h, ok = format.DecodeHeader(head[:n])
	return h, ok && h.Version == format.Version
}

// Size implements [logread.File]. It returns the size when the file was opened.
func (f *dataFile) Size() (int64, error) { return f.size, nil }

// Replaced implements [logread.SourceFile].
func (f *dataFile) Replaced() (bool, error) {
	named, err := f.root.Stat(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	open, err := f.Stat()
	return err == nil && !os.SameFile(open, named), err
}

// Close implements [io.Closer]. It does nothing for a file that could not be
// opened.
func (f *dataFile) Close() error {
	if f.openFile == nil {
		return nil
	}
	return f.openFile.Close()
}
