package vfs

import (
	"io"
	"io/fs"
)

// Nowhere is a file system that keeps nothing, for a store without files. All
// of its directories exist and are empty, whatever is created in them, and what
// is written to a file is gone. Only opening a file fails.
type Nowhere struct{}

// Mkdir implements [FS].
func (Nowhere) Mkdir(string) error { return nil }

// RemoveDir implements [FS].
func (Nowhere) RemoveDir(string) error { return nil }

// SyncParent implements [FS].
func (Nowhere) SyncParent(string) error { return nil }

// OpenDir implements [FS].
func (Nowhere) OpenDir(string) (Dir, error) { return emptyDir{}, nil }

// emptyDir is a directory of Nowhere.
type emptyDir struct{}

func (emptyDir) Create(string) (File, error)        { return new(sink), nil }
func (emptyDir) Open(name string) (File, error)     { return nil, notThere("open", name) }
func (emptyDir) OpenRead(name string) (File, error) { return nil, notThere("open", name) }
func (emptyDir) Rename(string, string) error        { return nil }
func (emptyDir) Remove(string) error                { return nil }
func (emptyDir) Lost(string, File, int64) string    { return "" }
func (emptyDir) List() ([]string, error)            { return nil, nil }
func (emptyDir) Sync() error                        { return nil }
func (emptyDir) SyncsNames() bool                   { return true }
func (emptyDir) Lock(string, bool) (Lock, error)    { return noLock{}, nil }
func (emptyDir) Close() error                       { return nil }
func notThere(op, name string) error                { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// sink is a file of Nowhere. Nothing can be read from it.
type sink struct{ size int64 }

func (*sink) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (*sink) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (s *sink) Size() (int64, error)                 { return s.size, nil }
func (s *sink) Allocate(size int64) error            { s.size = size; return nil }
func (s *sink) Truncate(size int64) error            { s.size = size; return nil }
func (*sink) StartWrite(int64, int64) error          { return nil }
func (*sink) StartSync()                             {}
func (*sink) WriteBack(int64, int64) error           { return nil }
func (*sink) Sync() error                            { return nil }
func (*sink) Forget() error                          { return nil }
func (*sink) Close() error                           { return nil }

// noLock is the lock of a directory of Nowhere.
type noLock struct{}

func (noLock) Check() error        { return nil }
func (noLock) Reserve(int64) error { return nil }
func (noLock) PutBack()            {}
func (noLock) Close() error        { return nil }
func (noLock) Abandon() error      { return nil }
