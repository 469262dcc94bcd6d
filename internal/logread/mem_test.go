package logread

import (
	"errors"
	"io/fs"
	"testing"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// memLog is the directory of a store in memory. It is a [Source], and changes
// while a reader looks at it.
type memLog struct {
	t     *testing.T
	fs    *vfs.Mem
	dir   vfs.Dir
	names map[uint64]int // how many files have had the name of a segment

	counts map[vfs.OpKind]int // of operations so far
	before map[call]func()    // what the store does right before an operation of the reader
}

// call is the nth operation of a kind, the first one being 1.
type call struct {
	kind vfs.OpKind
	n    int
}

func newMemLog(t *testing.T) *memLog {
	t.Helper()
	l := &memLog{
		t: t, fs: vfs.NewMem(nil), names: map[uint64]int{},
		counts: map[vfs.OpKind]int{}, before: map[call]func(){},
	}
	if err := l.fs.Mkdir("/db"); err != nil {
		t.Fatal(err)
	}
	dir, err := l.fs.OpenDir("/db")
	if err != nil {
		t.Fatal(err)
	}
	l.dir = dir
	l.fs.SetHook(l.hook)
	t.Cleanup(func() {
		if n := l.fs.Handles(); n != 1 {
			t.Errorf("%d handles are open, want that of the directory alone", n)
		}
		if len(l.before) > 0 {
			t.Errorf("%d actions of the store were not reached", len(l.before))
		}
	})
	return l
}

// hook counts an operation, and runs what comes before it.
func (l *memLog) hook(op vfs.Op) error {
	l.counts[op.Kind]++
	c := call{op.Kind, l.counts[op.Kind]}
	if act := l.before[c]; act != nil {
		delete(l.before, c)
		act()
	}
	return nil
}

// beforeRead sets what the store does right before the nth read.
func (l *memLog) beforeRead(n int, act func()) { l.before[call{vfs.OpRead, n}] = act }

// failAt makes the nth operation fail, and sets failed then.
func (l *memLog) failAt(n int) (failed *bool) {
	failed = new(bool)
	l.fs.SetHook(func(vfs.Op) error {
		if n--; n == 0 {
			*failed = true
			return fs.ErrInvalid
		}
		return nil
	})
	return failed
}

// put gives the name of a segment to a new file.
func (l *memLog) put(number uint64, data []byte) {
	l.t.Helper()
	l.names[number]++
	if err := l.fs.WriteFile("/db/"+format.SegmentName(number), data); err != nil {
		l.t.Fatal(err)
	}
}

// write writes into the file of a segment, from an offset on, as the store
// does.
func (l *memLog) write(number uint64, data []byte, offset int) {
	l.t.Helper()
	file, err := l.dir.Open(format.SegmentName(number))
	if err != nil {
		l.t.Fatal(err)
	}
	_, err = file.WriteAt(data[offset:], int64(offset))
	if err := errors.Join(err, file.Close()); err != nil {
		l.t.Fatal(err)
	}
}

// remove removes a segment, as a snapshot does.
func (l *memLog) remove(number uint64) {
	l.t.Helper()
	if err := l.fs.RemoveFile("/db/" + format.SegmentName(number)); err != nil {
		l.t.Fatal(err)
	}
}

// Segments implements [Source].
func (l *memLog) Segments() ([]uint64, error) {
	names, err := l.dir.List()
	if err != nil {
		return nil, err
	}
	files, err := format.Sort(names)
	return files.Segments, err
}

// Open implements [Source].
func (l *memLog) Open(number uint64) (SourceFile, error) {
	file, err := l.dir.OpenRead(format.SegmentName(number))
	if err != nil {
		return nil, err
	}
	return &memFile{File: file, log: l, number: number, name: l.names[number]}, nil
}

// memFile is a segment that a [memLog] has opened.
type memFile struct {
	vfs.File
	log    *memLog
	number uint64
	name   int // as counted by memLog.names
}

// Replaced implements [SourceFile].
func (f *memFile) Replaced() (bool, error) {
	file, err := f.log.dir.OpenRead(format.SegmentName(f.number))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return f.name != f.log.names[f.number], file.Close()
}
