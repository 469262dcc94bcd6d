package vfs

import (
	"sync"
	"sync/atomic"
)

// Meter is a directory that knows how many bytes its files have, without asking
// the system. It counts what is created, written, renamed and removed through
// it, and an existing file from the first call of its Size on.
type Meter struct {
	Dir
	bytes atomic.Int64 // the sum of sizes

	mu    sync.Mutex
	files map[string]*meteredSize // guarded by mu, by name
}

// meteredSize is the size of one file. It is shared by the Meter and the open
// files.
type meteredSize struct {
	bytes atomic.Int64
	gone  bool // guarded by the Meter's mu: the file has no name any more
}

// NewMeter returns a Meter of dir. It counts no file yet.
func NewMeter(dir Dir) *Meter { return &Meter{Dir: dir, files: make(map[string]*meteredSize)} }

// Bytes returns the sum of the files' sizes.
func (m *Meter) Bytes() int64 { return m.bytes.Load() }

// size returns the size of the file with this name.
func (m *Meter) size(name string) *meteredSize {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.files[name]
	if s == nil {
		s = &meteredSize{}
		m.files[name] = s
	}
	return s
}

// resize notes that a file has n bytes now.
func (m *Meter) resize(s *meteredSize, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !s.gone {
		m.bytes.Add(n - s.bytes.Load())
	}
	s.bytes.Store(n)
}

// forget notes that a name is gone. The caller must hold mu.
func (m *Meter) forget(name string) {
	if s := m.files[name]; s != nil {
		m.bytes.Add(-s.bytes.Load())
		s.gone = true
		delete(m.files, name)
	}
}

// Create implements [Dir].
func (m *Meter) Create(name string) (File, error) {
	file, err := m.Dir.Create(name)
	if err != nil {
		return nil, err
	}
	s := m.size(name)
	m.resize(s, 0)
	return &meteredFile{file, m, s}, nil
}

// Open implements [Dir].
func (m *Meter) Open(name string) (File, error) { return m.opened(name, m.Dir.Open) }

// OpenRead implements [Dir].
func (m *Meter) OpenRead(name string) (File, error) { return m.opened(name, m.Dir.OpenRead) }

func (m *Meter) opened(name string, open func(string) (File, error)) (File, error) {
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &meteredFile{file, m, m.size(name)}, nil
}

// Rename implements [Dir].
func (m *Meter) Rename(oldName, newName string) error {
	if err := m.Dir.Rename(oldName, newName); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(newName)
	if s := m.files[oldName]; s != nil {
		m.files[newName] = s
		delete(m.files, oldName)
	}
	return nil
}

// Lost implements [Dir].
func (m *Meter) Lost(name string, file File, size int64) string {
	if metered, ok := file.(*meteredFile); ok {
		file = metered.File
	}
	return m.Dir.Lost(name, file, size)
}

// Remove implements [Dir].
func (m *Meter) Remove(name string) error {
	if err := m.Dir.Remove(name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(name)
	return nil
}

// meteredFile is a file whose growth its Meter counts.
type meteredFile struct {
	File
	meter *Meter
	size  *meteredSize
}

// Size implements [File].
func (f *meteredFile) Size() (int64, error) {
	n, err := f.File.Size()
	if err == nil {
		f.meter.resize(f.size, n)
	}
	return n, err
}

// WriteAt implements [File].
func (f *meteredFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	f.grown(off + int64(n))
	return n, err
}

// Allocate implements [File].
func (f *meteredFile) Allocate(size int64) error {
	err := f.File.Allocate(size)
	if err == nil {
		f.grown(size)
	}
	return err
}

// Truncate implements [File].
func (f *meteredFile) Truncate(size int64) error {
	err := f.File.Truncate(size)
	if err == nil {
		f.meter.resize(f.size, size)
	}
	return err
}

// grown notes that the file reaches to end, at least.
func (f *meteredFile) grown(end int64) {
	if end > f.size.bytes.Load() { // most writes are to reserved space
		f.meter.resize(f.size, end)
	}
}
