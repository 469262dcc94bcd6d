package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ErrCrashed is what every call gets on a handle from before a crash of a [Mem].
var ErrCrashed = errors.New("vfs: the process has crashed")

// Mem is a file system in memory that forgets what was not synced, the way a disk does when the power goes. It
// keeps what a reader sees (the cache) apart from what is durable (the disk), sector by sector:
//
//   - [Mem.Kill] ends the process: handles die, locks are freed, the cache stays.
//   - [Mem.PowerCut] keeps any subset of what was not synced: each sector holds one of the versions written since
//     its last sync, or the one before them, or is torn between two of them byte by byte; each size and each
//     name likewise.
//   - A StartWrite, a WriteBack or a StartSync does nothing: whether the disk has what it was given is left to the power cut.
//   - A failing Sync, StartWrite or WriteBack keeps any subset in the same way, and leaves the cache as it was and clean: a later Sync
//     succeeds and writes nothing, as Linux does it. What it has not written may stay unwritten for ever, even if it is
//     written and synced again, as ext4 does it with space that was reserved. So does a failing StartSync, which the next Sync tells of.
//   - A Forget makes what is clean in the cache what the disk has.
//
// It is safe for concurrent use. The zero value is not ready; use [NewMem].
type Mem struct {
	mu         sync.Mutex
	root       *memDir               // guarded by mu
	generation int                   // guarded by mu; handles of another generation are dead
	hook       func(Op) error        // guarded by mu
	pick       func(n int) int       // guarded by mu; the failing Sync's and the power cut's choices
	locks      map[*memDir]*memLocks // guarded by mu
	handles    int                   // guarded by mu; open handles of this generation: directories, files, locks
}

// OpKind names an operation of [FS], [Dir] or [File].
type OpKind string

// The kinds of operation that a hook sees.
const (
	OpMkdir      OpKind = "mkdir"
	OpSyncParent OpKind = "sync parent"
	OpOpenDir    OpKind = "open directory"
	OpCreate     OpKind = "create"
	OpOpen       OpKind = "open"
	OpRename     OpKind = "rename"
	OpRemove     OpKind = "remove"
	OpList       OpKind = "list"
	OpSyncDir    OpKind = "sync directory"
	OpLock       OpKind = "lock"
	OpRead       OpKind = "read"
	OpWrite      OpKind = "write"
	OpSize       OpKind = "size"
	OpAllocate   OpKind = "allocate"
	OpStartWrite OpKind = "start write"
	OpWriteBack  OpKind = "write back"
	OpStartSync  OpKind = "start sync"
	OpSync       OpKind = "sync"
	OpForget     OpKind = "forget"
)

// Op is one operation, as a hook sees it before it happens.
type Op struct {
	Kind   OpKind
	Name   string // path for FS's own operations, base name otherwise
	Offset int64
	Bytes  int
}

// ShortWrite is an error for a hook to return from OpWrite: the first Bytes bytes are written before Err is returned.
type ShortWrite struct {
	Bytes int
	Err   error
}

func (e *ShortWrite) Error() string {
	return fmt.Sprintf("short write of %d bytes: %v", e.Bytes, e.Err)
}

// Unwrap returns the cause.
func (e *ShortWrite) Unwrap() error { return e.Err }

// NewMem returns an empty file system. pick returns a number in [0, n) and makes the choices of failing syncs and
// power cuts; nil always picks 0, the oldest state.
func NewMem(pick func(n int) int) *Mem {
	if pick == nil {
		pick = func(int) int { return 0 }
	}
	return &Mem{root: newMemDir(), pick: pick, locks: map[*memDir]*memLocks{}}
}

// SetHook sets a function that is called before each operation and fails it with the error it returns. It is
// called without locks, so it may block, or crash the file system. nil removes it.
func (m *Mem) SetHook(hook func(Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

// Kill ends the process that uses the file system: all its handles fail from now on.
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

// Handles returns how many directories, files and locks are open.
func (m *Mem) Handles() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handles
}

// memHandle is what all handles have in common. The zero value with m and generation set is an open one, to be counted by open.
type memHandle struct {
	m          *Mem
	generation int
	closed     bool // guarded by m.mu
}

// open returns a counted handle; the caller holds m.mu.
func (m *Mem) open() memHandle {
	m.handles++
	return memHandle{m: m, generation: m.generation}
}

// close ends a handle and runs end under m.mu, unless a crash has ended it already.
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

// enter is Mem's enter for an operation on this handle.
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

// PowerCut kills the process and loses what was not synced.
func (m *Mem) PowerCut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kill()
	m.root.powerCut(m.pick)
}

// Clone returns a copy as it is now, without handles, locks and hook: a place to try what a crash would do. Pick makes
// the copy's choices.
func (m *Mem) Clone(pick func(n int) int) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem(pick)
	c.root = m.root.clone(map[any]any{}).(*memDir)
	return c
}

// enter runs the hook, then takes the lock for an operation on a handle of the given generation. Without an error
// the caller unlocks.
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

// find returns the directory at path, and its parent's.
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

// ReadFile returns a copy of what a reader of the file would see; ok is false when there is none.
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

// WriteFile puts a file with these bytes into an existing directory, durably.
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

// Names returns the sorted names in a directory as a reader would see them; none if there is no such directory.
func (m *Mem) Names(path string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(path)
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(d.names))
}

// memDir is a directory: the names a reader sees, the ones on disk, and the changes between them, in order.
type memDir struct {
	names   map[string]any // *memFile or *memDir
	durable map[string]any
	pending []memChange
}

// memChange is one change of names; it becomes durable whole or not at all.
type memChange struct {
	remove string // "" for none
	put    string // "" for none
	node   any
}

func newMemDir() *memDir {
	return &memDir{names: map[string]any{}, durable: map[string]any{}}
}

// clone copies the directory and everything in it; copies holds what has been copied already, since a node may have
// several names.
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

// syncFailed makes any subset of the pending changes durable; the others stay pending, for a directory's fsync
// is assumed to persist its names also after an earlier one failed.
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
		f.truncate()
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

func (h *memDirHandle) Close() error { return h.close(func() {}) }

// memLocks are the locks held on a directory.
type memLocks struct {
	exclusive bool
	shared    int
}

func (h *memDirHandle) Lock(name string, shared bool) (io.Closer, error) {
	if err := h.enter(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, err
	}
	defer h.m.mu.Unlock()
	if h.dir.names[name] == nil {
		if shared {
			return nil, &fs.PathError{Op: "lock", Path: name, Err: fs.ErrNotExist}
		}
		h.dir.put(name, &memFile{})
	}
	held := h.m.locks[h.dir]
	if held == nil {
		held = &memLocks{}
		h.m.locks[h.dir] = held
	}
	if held.exclusive || (held.shared > 0 && !shared) {
		return nil, &LockedError{PID: os.Getpid()}
	}
	if shared {
		held.shared++
	} else {
		held.exclusive = true
	}
	return &memLock{memHandle: h.m.open(), held: held, shared: shared}, nil
}

type memLock struct {
	memHandle
	held   *memLocks // guarded by m.mu
	shared bool
}

func (l *memLock) Close() error {
	return l.close(func() {
		if l.shared {
			l.held.shared--
		} else {
			l.held.exclusive = false
		}
	})
}
