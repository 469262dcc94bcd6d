package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
)

// sectorBytes is the unit in which a power cut keeps or loses what was not
// synced.
const sectorBytes = 512

// memFile is a file's bytes as a reader sees them, its bytes on disk, and what
// was written in between.
type memFile struct {
	name  string // the last name it got
	cache []byte
	disk  []byte
	dirty map[int64][][]byte // the versions of each sector written since the last sync, oldest first
	sizes []int              // the file's lengths since the last sync, oldest first
	lost  map[int64]bool     // sectors that a failed sync did not write; later writes to them never reach the disk
}

// write writes b at off into the cache. The disk does not change.
func (f *memFile) write(b []byte, off int64) {
	if end := int(off) + len(b); end > len(f.cache) {
		f.resize(end)
	}
	copy(f.cache[off:], b)
	for s := off / sectorBytes; s*sectorBytes < off+int64(len(b)); s++ {
		if f.dirty == nil {
			f.dirty = map[int64][][]byte{}
		}
		f.dirty[s] = append(f.dirty[s], slices.Clone(sector(f.cache, s)))
	}
}

// resize extends the file with zeros.
func (f *memFile) resize(size int) {
	f.cache = append(f.cache, make([]byte, size-len(f.cache))...)
	f.sizes = append(f.sizes, size)
}

// empty empties the file, as Create does.
func (f *memFile) empty() {
	f.truncate(0)
	f.lost = nil // the file gets new blocks, and its old ones are freed
}

// truncate cuts off the file.
func (f *memFile) truncate(size int) {
	clear(f.cache[size:])
	f.write(f.cache[size:], int64(size)) // so that the old bytes do not return when the file grows again
	f.cache = slices.Clone(f.cache[:size])
	f.sizes = append(f.sizes, size)
}

// sector returns sector s of b. At the end of b it is shorter.
func sector(b []byte, s int64) []byte {
	lo := min(s*sectorBytes, int64(len(b)))
	return b[lo:min(lo+sectorBytes, int64(len(b)))]
}

// clone copies the file. The copy shares the versions of sectors, which never
// change.
func (f *memFile) clone() *memFile {
	c := &memFile{
		cache: slices.Clone(f.cache), disk: slices.Clone(f.disk),
		sizes: slices.Clone(f.sizes), lost: maps.Clone(f.lost),
	}
	if len(f.dirty) > 0 {
		c.dirty = make(map[int64][][]byte, len(f.dirty))
		for s, versions := range f.dirty {
			c.dirty[s] = slices.Clip(versions)
		}
	}
	return c
}

func (f *memFile) sync() {
	f.disk = resized(f.disk, len(f.cache))
	for s := range f.dirty {
		if f.lost[s] {
			continue
		}
		copy(f.disk[min(s*sectorBytes, int64(len(f.disk))):], sector(f.cache, s))
	}
	f.dirty, f.sizes = nil, nil
}

// syncFailed writes any subset of the dirty sectors and marks all of them
// clean. Sectors that it did not write may be lost for good. On ext4, a
// preallocated block whose first write has failed stays marked as never
// written, whatever is written to it and synced without an error later.
func (f *memFile) syncFailed(pick func(int) int) {
	dirty := sortedKeys(f.dirty)
	f.writeSome(pick)
	for _, s := range dirty {
		if pick(2) == 1 && !bytes.Equal(sector(f.disk, s), sector(f.cache, s)) {
			if f.lost == nil {
				f.lost = map[int64]bool{}
			}
			f.lost[s] = true
		}
	}
}

// writeSome writes any subset of the dirty sectors.
func (f *memFile) writeSome(pick func(int) int) {
	if n := pick(len(f.sizes) + 1); n > 0 {
		f.disk = resized(f.disk, f.sizes[n-1])
	}
	for _, s := range sortedKeys(f.dirty) {
		if !f.lost[s] {
			f.settle(s, f.dirty[s], pick)
		}
	}
	f.dirty, f.sizes = nil, nil
}

// settle chooses what sector s holds on disk: the old bytes, a newer version,
// or a mixture of two.
func (f *memFile) settle(s int64, versions [][]byte, pick func(int) int) {
	old := sector(f.disk, s)
	choice := pick(len(versions) + 2)
	switch {
	case choice == 0:
	case choice <= len(versions):
		copy(old, versions[choice-1])
	default:
		tear(old, versions[pick(len(versions))], pick)
	}
}

// tear replaces a run of bytes of a sector by newer ones, as a torn hardware
// write does.
func tear(old, newer []byte, pick func(int) int) {
	n := min(len(old), len(newer))
	if n == 0 {
		return
	}
	lo, hi := pick(n+1), pick(n+1)
	if lo > hi {
		lo, hi = hi, lo
	}
	copy(old[lo:hi], newer[lo:hi])
}

// forget reads the clean sectors from disk again that drop chooses. It asks
// only about those that the cache has otherwise.
func (f *memFile) forget(drop func() bool) {
	for s := int64(0); s*sectorBytes < int64(len(f.cache)); s++ {
		cached, stored := sector(f.cache, s), sector(f.disk, s)
		if _, dirty := f.dirty[s]; !dirty && !bytes.Equal(cached, stored) && drop() {
			copy(cached, stored)
		}
	}
}

func (f *memFile) powerCut(pick func(int) int) {
	f.writeSome(pick)
	f.cache = slices.Clone(f.disk)
	f.lost = nil // the kernel's wrong marks are read from disk again
}

func resized(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size:size]
	}
	return append(b[:len(b):len(b)], make([]byte, size-len(b))...)
}

func sortedKeys(m map[int64][][]byte) []int64 {
	keys := make([]int64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// memFileHandle is an open file.
type memFileHandle struct {
	memHandle
	file     *memFile
	writable bool
	started  error // guarded by m.mu: the error of a StartSync
}

func (h *memFileHandle) op(kind OpKind, off int64, n int) error {
	h.m.mu.Lock()
	name := h.file.name
	h.m.mu.Unlock()
	if !h.writable && (kind == OpWrite || kind == OpAllocate || kind == OpTruncate) {
		return &fs.PathError{Op: string(kind), Path: name, Err: fs.ErrPermission}
	}
	return h.enter(Op{Kind: kind, Name: name, Offset: off, Bytes: n})
}

func (h *memFileHandle) ReadAt(b []byte, off int64) (int, error) {
	if err := h.op(OpRead, off, len(b)); err != nil {
		return 0, err
	}
	defer h.m.mu.Unlock()
	if off >= int64(len(h.file.cache)) {
		return 0, io.EOF
	}
	n := copy(b, h.file.cache[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memFileHandle) WriteAt(b []byte, off int64) (int, error) {
	err := h.op(OpWrite, off, len(b))
	var short *ShortWrite
	switch {
	case errors.As(err, &short):
		h.m.mu.Lock()
		b = b[:min(short.Bytes, len(b))]
	case err != nil:
		return 0, err
	}
	defer h.m.mu.Unlock()
	h.file.write(b, off)
	return len(b), err
}

func (h *memFileHandle) Size() (int64, error) {
	if err := h.op(OpSize, 0, 0); err != nil {
		return 0, err
	}
	defer h.m.mu.Unlock()
	return int64(len(h.file.cache)), nil
}

func (h *memFileHandle) Allocate(size int64) error {
	if err := h.op(OpAllocate, 0, int(size)); err != nil {
		return err
	}
	defer h.m.mu.Unlock()
	if int(size) > len(h.file.cache) {
		h.file.resize(int(size))
	}
	return nil
}

func (h *memFileHandle) Truncate(size int64) error {
	if err := h.op(OpTruncate, 0, int(size)); err != nil {
		return err
	}
	defer h.m.mu.Unlock()
	h.file.truncate(int(size))
	return nil
}

func (h *memFileHandle) Sync() error {
	h.m.mu.Lock()
	err := h.started
	h.started = nil
	h.m.mu.Unlock()
	if err != nil {
		return err
	}
	return h.flush(OpSync, 0, 0, h.file.sync)
}

func (h *memFileHandle) StartSync() {
	if err := h.flush(OpStartSync, 0, 0, func() {}); err != nil {
		h.m.mu.Lock()
		defer h.m.mu.Unlock()
		h.started = err
	}
}

func (h *memFileHandle) StartWrite(off, n int64) error {
	return h.flush(OpStartWrite, off, int(n), func() {})
}

func (h *memFileHandle) WriteBack(off, n int64) error {
	return h.flush(OpWriteBack, off, int(n), func() {})
}

func (h *memFileHandle) Forget() error {
	if err := h.op(OpForget, 0, 0); err != nil {
		return err
	}
	defer h.m.mu.Unlock()
	h.file.forget(func() bool { return true })
	return nil
}

// flush is an operation that writes dirty sectors. If it fails, it writes some
// of them.
func (h *memFileHandle) flush(kind OpKind, off int64, n int, write func()) error {
	err := h.op(kind, off, n)
	if errors.Is(err, ErrCrashed) || errors.Is(err, fs.ErrClosed) {
		return err
	}
	if err != nil {
		h.m.mu.Lock()
		defer h.m.mu.Unlock()
		h.file.syncFailed(h.m.pick)
		return err
	}
	defer h.m.mu.Unlock()
	write()
	return nil
}

func (h *memFileHandle) Close() error { return h.close(func() {}) }
