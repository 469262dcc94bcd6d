package vfs

import (
	"errors"
	"os"
	"syscall"
)

// memLocks are the locks held on a directory of a [Mem]. They do not depend on
// the lock file, as on a file system that can lock a directory.
type memLocks struct {
	exclusive bool
	shared    int
}

// Lock implements [Dir].
func (h *memDirHandle) Lock(name string, shared bool) (Lock, error) {
	if err := h.enter(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, err
	}
	defer h.m.mu.Unlock()
	held := h.m.locks[h.dir]
	if held == nil {
		held = &memLocks{}
		h.m.locks[h.dir] = held
	}
	if held.exclusive || (held.shared > 0 && !shared) {
		return nil, &LockedError{PID: os.Getpid()}
	}
	l := &memLock{dir: h.dir, name: name, held: held, shared: shared}
	if shared {
		held.shared++
	} else {
		held.exclusive = true
		if l.made = h.dir.names[name] == nil; l.made {
			h.dir.put(name, &memFile{})
		}
	}
	l.memHandle = h.m.open()
	return l, nil
}

// memLock is a lock on a directory of a [Mem].
type memLock struct {
	memHandle
	dir    *memDir
	name   string
	held   *memLocks // guarded by m.mu
	shared bool
	made   bool // this lock has made the lock file
}

// Check implements [Lock]. It fails only if a hook says so.
func (l *memLock) Check() error {
	if err := l.enter(Op{Kind: OpCheckLock, Name: l.name}); err != nil {
		return err
	}
	l.m.mu.Unlock()
	return nil
}

// PutBack implements [Lock]: a lock file of a [Mem] is always empty.
func (l *memLock) PutBack() {}

// Reserve implements [Lock]. A [Mem] has no bounds: it keeps only the number.
func (l *memLock) Reserve(n int64) error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if n > 0 && l.m.noReserve {
		return syscall.ENOSPC
	}
	l.dir.reserved = n
	return nil
}

// RefuseReserve makes every Reserve fail from now on, or lets it succeed again.
func (m *Mem) RefuseReserve(refuse bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noReserve = refuse
}

// Reserved returns how many bytes are reserved in a directory's lock file.
func (m *Mem) Reserved(path string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(path)
	if err != nil {
		return 0
	}
	return d.reserved
}

// Close implements [Lock].
func (l *memLock) Close() error {
	return l.close(func() {
		if l.shared {
			l.held.shared--
		} else {
			l.held.exclusive = false
		}
	})
}

// Abandon implements [Lock].
func (l *memLock) Abandon() error {
	var err error
	if l.made {
		if err = l.enter(Op{Kind: OpRemove, Name: l.name}); err == nil {
			l.dir.change(memChange{remove: l.name})
			l.m.mu.Unlock()
		}
	}
	return errors.Join(err, l.Close())
}
