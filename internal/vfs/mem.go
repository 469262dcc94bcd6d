package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ErrCrashed is the error of every call on a handle from before a crash of a
// [Mem].
var ErrCrashed = errors.New("vfs: the process has crashed")

// Mem is a file system in memory that loses what was not synced, as a disk does
// in a power cut. For each sector it distinguishes what a reader sees (the
// cache) from what is durable (the disk):
//
//   - [Mem.Kill] ends the process: handles become invalid, locks are freed, and
//     the cache stays.
//   - [Mem.PowerCut] keeps any subset of what was not synced. Each sector holds
//     one of the versions written since its last sync, or the version before
//     them, or is torn between two of them byte by byte. The same holds for
//     each size and each name.
//   - A StartWrite, WriteBack or StartSync does nothing. The power cut decides
//     what of it reached the disk.
//   - A Sync, StartWrite or WriteBack that fails also keeps any subset, and
//     leaves the cache unchanged and clean. So a later Sync succeeds and writes
//     nothing, as on Linux. What the failed call has not written may stay
//     unwritten for ever, even if it is written and synced again, as on ext4
//     with preallocated space. The same holds for a StartSync that fails; the
//     next Sync returns its error.
//   - A Forget replaces the clean part of the cache by what the disk has.
//   - The system may drop clean pages of any file at any time, as [Mem.Evict]
//     does. After a failed Sync, a second read of the same place may so find
//     other bytes than the first.
//
// Mem is safe for concurrent use. The zero value is not ready; use [NewMem].
type Mem struct {
	mu         sync.Mutex
	root       *memDir               // guarded by mu
	generation int                   // guarded by mu: handles of other generations are invalid
	hook       func(Op) error        // guarded by mu
	pick       func(n int) int       // guarded by mu: chooses for failing syncs and power cuts
	locks      map[*memDir]*memLocks // guarded by mu
	handles    int                   // guarded by mu: open directories, files and locks of this generation
	noReserve  bool                  // guarded by mu: see RefuseReserve
}

// OpKind names an operation of [FS], [Dir] or [File].
type OpKind string

// The kinds of operation that a hook sees.
const (
	OpMkdir      OpKind = "mkdir"
	OpRemoveDir  OpKind = "remove directory"
	OpSyncParent OpKind = "sync parent"
	OpOpenDir    OpKind = "open directory"
	OpCreate     OpKind = "create"
	OpOpen       OpKind = "open"
	OpRename     OpKind = "rename"
	OpRemove     OpKind = "remove"
	OpList       OpKind = "list"
	OpSyncDir    OpKind = "sync directory"
	OpLock       OpKind = "lock"
	OpCheckLock  OpKind = "check lock"
	OpRead       OpKind = "read"
	OpWrite      OpKind = "write"
	OpSize       OpKind = "size"
	OpAllocate   OpKind = "allocate"
	OpTruncate   OpKind = "truncate"
	OpStartWrite OpKind = "start write"
	OpWriteBack  OpKind = "write back"
	OpStartSync  OpKind = "start sync"
	OpSync       OpKind = "sync"
	OpForget     OpKind = "forget"
)

// Op is one operation, as a hook sees it before it happens.
type Op struct {
	Kind   OpKind
	Name   string // path for operations of FS, base name otherwise
	Offset int64
	Bytes  int
}

// ShortWrite is an error that a hook may return from OpWrite. The first Bytes
// bytes are written, and the write returns the error.
type ShortWrite struct {
	Bytes int
	Err   error
}

func (e *ShortWrite) Error() string {
	return fmt.Sprintf("short write of %d bytes: %v", e.Bytes, e.Err)
}

// Unwrap returns the cause.
func (e *ShortWrite) Unwrap() error { return e.Err }

// NewMem returns an empty file system. pick returns a number in [0, n) and
// makes the choices of failing syncs and power cuts. A nil pick always chooses
// 0, the oldest state.
func NewMem(pick func(n int) int) *Mem {
	if pick == nil {
		pick = func(int) int { return 0 }
	}
	return &Mem{root: newMemDir(), pick: pick, locks: map[*memDir]*memLocks{}}
}

// SetHook sets a function that is called before each operation, which fails
// with the error that the function returns. It is called without locks, so it
// may block or crash the file system. A nil hook removes it.
func (m *Mem) SetHook(hook func(Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

// Kill ends the process that uses the file system. All of its handles fail from
// now on.
func (m *Mem) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kill()
}

func (m *Mem) kill() {
	m.generation++
	m.handles = 0
	clear(m.locks)
}

// Handles returns the number of open directories, files and locks.
func (m *Mem) Handles() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handles
}

// memHandle is the common part of all handles. [Mem.open] returns an open one.
type memHandle struct {
	m          *Mem
	generation int
	closed     bool // guarded by m.mu
}

// open returns an open handle and counts it. The caller must hold m.mu.
func (m *Mem) open() memHandle {
	m.handles++
	return memHandle{m: m, generation: m.generation}
}

// close closes a handle. It calls end with m.mu held, unless a crash has ended
// the handle already.
func (h *memHandle) close(end func()) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	h.closed = true
	if h.generation == h.m.generation {
		h.m.handles--
		end()
	}
	return nil
}

// enter is [Mem.enter] for an operation on this handle.
func (h *memHandle) enter(op Op) error {
	if err := h.m.enter(h.generation, op); err != nil {
		return err
	}
	if h.closed {
		h.m.mu.Unlock()
		return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: fs.ErrClosed}
	}
	return nil
}

// PowerCut ends the process and loses what was not synced.
func (m *Mem) PowerCut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kill()
	m.root.powerCut(m.pick)
}

// Evict drops any subset of the clean sectors from the cache. Readers see what
// the disk has there from now on.
func (m *Mem) Evict() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.root.evict(m.pick)
}

// Clone returns a copy of the current state, without handles, locks and hook,
// to try the effect of a crash on. pick makes the copy's choices.
func (m *Mem) Clone(pick func(n int) int) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem(pick)
	c.root = m.root.clone(map[any]any{}).(*memDir)
	return c
}

// enter calls the hook, then takes the lock for an operation on a handle of the
// given generation. If it returns nil, the caller must unlock m.mu.
func (m *Mem) enter(generation int, op Op) error {
	m.mu.Lock()
	hook := m.hook
	m.mu.Unlock()
	var hookErr error
	if hook != nil {
		hookErr = hook(op)
	}
	m.mu.Lock()
	if generation != m.generation {
		m.mu.Unlock()
		return ErrCrashed
	}
	if hookErr != nil {
		m.mu.Unlock()
		return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: hookErr}
	}
	return nil
}

func (m *Mem) now() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.generation
}

// find returns the directory at path.
func (m *Mem) find(path string) (*memDir, error) {
	d := m.root
	for name := range strings.SplitSeq(filepath.ToSlash(filepath.Clean(path)), "/") {
		if name == "" {
			continue
		}
		switch next := d.names[name].(type) {
		case nil:
			return nil, fs.ErrNotExist
		case *memDir:
			d = next
		default:
			return nil, errors.New("not a directory")
		}
	}
	return d, nil
}

// Mkdir implements [FS].
func (m *Mem) Mkdir(path string) error {
	if err := m.enter(m.now(), Op{Kind: OpMkdir, Name: path}); err != nil {
		return err
	}
	defer m.mu.Unlock()
	parent, err := m.find(filepath.Dir(path))
	if err == nil && parent.names[filepath.Base(path)] != nil {
		err = fs.ErrExist
	}
	if err != nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	parent.put(filepath.Base(path), newMemDir())
	return nil
}

// RemoveDir implements [FS].
func (m *Mem) RemoveDir(path string) error {
	if err := m.enter(m.now(), Op{Kind: OpRemoveDir, Name: path}); err != nil {
		return err
	}
	defer m.mu.Unlock()
	parent, err := m.find(filepath.Dir(path))
	if err == nil {
		dir, ok := parent.names[filepath.Base(path)].(*memDir)
		switch {
		case !ok:
			err = fs.ErrNotExist
		case len(dir.names) > 0:
			err = fs.ErrExist
		}
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	parent.change(memChange{remove: filepath.Base(path)})
	return nil
}

// SyncParent implements [FS].
func (m *Mem) SyncParent(path string) error {
	if err := m.enter(m.now(), Op{Kind: OpSyncParent, Name: path}); err != nil {
		return err
	}
	defer m.mu.Unlock()
	parent, err := m.find(filepath.Dir(path))
	if err != nil {
		return &fs.PathError{Op: "sync parent", Path: path, Err: err}
	}
	parent.sync()
	return nil
}

// OpenDir implements [FS].
func (m *Mem) OpenDir(path string) (Dir, error) {
	if err := m.enter(m.now(), Op{Kind: OpOpenDir, Name: path}); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	d, err := m.find(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &memDirHandle{memHandle: m.open(), dir: d}, nil
}

// ReadFile returns a copy of what a reader of the file would see. ok is false
// if there is no such file.
func (m *Mem) ReadFile(path string) (data []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(filepath.Dir(path))
	if err != nil {
		return nil, false
	}
	f, ok := d.names[filepath.Base(path)].(*memFile)
	if !ok {
		return nil, false
	}
	return slices.Clone(f.cache), true
}

// WriteFile writes a file with these bytes into an existing directory, durably.
func (m *Mem) WriteFile(path string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(filepath.Dir(path))
	if err != nil {
		return err
	}
	f := &memFile{cache: slices.Clone(data), disk: slices.Clone(data)}
	d.names[filepath.Base(path)] = f
	d.durable[filepath.Base(path)] = f
	return nil
}

// RemoveFile removes a file, durably.
func (m *Mem) RemoveFile(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(filepath.Dir(path))
	if err != nil {
		return err
	}
	delete(d.names, filepath.Base(path))
	delete(d.durable, filepath.Base(path))
	return nil
}

// Names returns the sorted names in a directory, as a reader would see them,
// and none if there is no such directory.
func (m *Mem) Names(path string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(path)
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(d.names))
}

// memDir is a directory: the names that a reader sees, those on disk, and the
// changes between the two, in order.
type memDir struct {
	names   map[string]any // *memFile or *memDir
	durable map[string]any
	pending []memChange

	reserved int64 // bytes that the lock file takes of the disk
}

// memChange is one change of names. It becomes durable completely or not at
// all.
type memChange struct {
	remove string // "" for no name
	put    string // "" for no name
	node   any
}

// evict drops clean sectors of all files below.
func (d *memDir) evict(pick func(int) int) {
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		switch node := d.names[name].(type) {
		case *memDir:
			node.evict(pick)
		case *memFile:
			node.forget(func() bool { return pick(2) == 1 })
		}
	}
}

func newMemDir() *memDir {
	return &memDir{names: map[string]any{}, durable: map[string]any{}}
}

// clone copies the directory and everything in it. copies holds the nodes that
// were copied already, because a node may have several names.
func (d *memDir) clone(copies map[any]any) any {
	c := newMemDir()
	copies[d] = c
	cloneNames := func(to, from map[string]any) {
		for name, node := range from {
			to[name] = cloneNode(node, copies)
		}
	}
	cloneNames(c.names, d.names)
	cloneNames(c.durable, d.durable)
	for _, change := range d.pending {
		change.node = cloneNode(change.node, copies)
		c.pending = append(c.pending, change)
	}
	return c
}

func cloneNode(node any, copies map[any]any) any {
	if c, ok := copies[node]; ok {
		return c
	}
	switch node := node.(type) {
	case *memDir:
		return node.clone(copies)
	case *memFile:
		c := node.clone()
		copies[node] = c
		return c
	}
	return nil
}

func (d *memDir) change(c memChange) {
	c.apply(d.names)
	d.pending = append(d.pending, c)
}

func (d *memDir) put(name string, node any) { d.change(memChange{put: name, node: node}) }

func (c memChange) apply(names map[string]any) {
	if c.remove != "" {
		delete(names, c.remove)
	}
	if c.put != "" {
		names[c.put] = c.node
	}
}

func (d *memDir) sync() {
	d.durable = maps.Clone(d.names)
	d.pending = nil
}

// syncFailed makes any subset of the pending changes durable. The others stay
// pending: the fsync of a directory is assumed to persist its names also after
// an earlier fsync has failed.
func (d *memDir) syncFailed(pick func(int) int) {
	for _, c := range d.pending {
		if pick(2) == 1 {
			c.apply(d.durable)
		}
	}
}

func (d *memDir) powerCut(pick func(int) int) {
	d.syncFailed(pick)
	d.pending = nil
	d.names = maps.Clone(d.durable)
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		switch node := d.names[name].(type) {
		case *memDir:
			node.powerCut(pick)
		case *memFile:
			node.powerCut(pick)
		}
	}
}

// memDirHandle is an open directory.
type memDirHandle struct {
	memHandle
	dir *memDir
}

func (h *memDirHandle) Create(name string) (File, error) { return h.open(OpCreate, name, true) }

func (h *memDirHandle) Open(name string) (File, error) { return h.open(OpOpen, name, true) }

func (h *memDirHandle) OpenRead(name string) (File, error) { return h.open(OpOpen, name, false) }

func (h *memDirHandle) open(kind OpKind, name string, writable bool) (File, error) {
	if err := h.enter(Op{Kind: kind, Name: name}); err != nil {
		return nil, err
	}
	defer h.m.mu.Unlock()
	f, ok := h.dir.names[name].(*memFile)
	switch {
	case kind == OpOpen && !ok:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case kind == OpCreate && ok:
		f.empty()
	case kind == OpCreate:
		f = &memFile{name: name}
		h.dir.put(name, f)
	}
	return &memFileHandle{memHandle: h.m.open(), file: f, writable: writable}, nil
}

func (h *memDirHandle) Rename(oldName, newName string) error {
	if err := h.enter(Op{Kind: OpRename, Name: oldName}); err != nil {
		return err
	}
	defer h.m.mu.Unlock()
	node := h.dir.names[oldName]
	if node == nil {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: fs.ErrNotExist}
	}
	h.dir.change(memChange{remove: oldName, put: newName, node: node})
	if f, ok := node.(*memFile); ok {
		f.name = newName
	}
	return nil
}

func (h *memDirHandle) Remove(name string) error {
	if err := h.enter(Op{Kind: OpRemove, Name: name}); err != nil {
		return err
	}
	defer h.m.mu.Unlock()
	if h.dir.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	h.dir.change(memChange{remove: name})
	return nil
}

// Lost implements [Dir]. It calls no hook.
func (h *memDirHandle) Lost(name string, file File, size int64) string {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	node, ok := h.dir.names[name].(*memFile)
	f, isMem := file.(*memFileHandle)
	switch {
	case !isMem:
		return ""
	case !ok:
		return wasRemoved
	case node != f.file:
		return wasReplaced
	case int64(len(node.cache)) < size:
		return wasTruncated
	default:
		return ""
	}
}

func (h *memDirHandle) List() ([]string, error) {
	if err := h.enter(Op{Kind: OpList}); err != nil {
		return nil, err
	}
	defer h.m.mu.Unlock()
	return slices.Sorted(maps.Keys(h.dir.names)), nil
}

func (h *memDirHandle) Sync() error {
	err := h.enter(Op{Kind: OpSyncDir})
	if errors.Is(err, ErrCrashed) || errors.Is(err, fs.ErrClosed) {
		return err
	}
	if err != nil {
		h.m.mu.Lock()
		defer h.m.mu.Unlock()
		h.dir.syncFailed(h.m.pick)
		return err
	}
	defer h.m.mu.Unlock()
	h.dir.sync()
	return nil
}

func (h *memDirHandle) SyncsNames() bool { return true }

func (h *memDirHandle) Close() error { return h.close(func() {}) }
