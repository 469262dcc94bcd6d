//go:build amd64 || arm64

package vfs

import (
	"fmt"
	"sync"
	"syscall"
	"unsafe"
)

// startedSync is an fdatasync that Linux carries out while its caller does
// something else. It is IOCB_CMD_FDSYNC of io_submit(2), which a kernel thread
// executes. It is for one goroutine. The zero value is no sync.
type startedSync struct {
	context uintptr // of io_setup; 0 if no sync is under way
	number  uint64  // identifies the sync
	written bool    // a write came after the sync began
}

// StartSync implements [File] by beginning an fdatasync. On systems without
// io_submit it is a no-op.
func (f osFile) StartSync() {
	if f.started.context != 0 {
		return
	}
	context, ok := contexts.take()
	if !ok {
		return
	}
	s := startedSync{context: context, number: f.started.number + 1}
	if err := f.control("io_submit", s.submit); err != nil {
		contexts.put(context)
		return
	}
	*f.started = s
}

// ioControlBlock is struct iocb of Linux's include/uapi/linux/aio_abi.h.
type ioControlBlock struct {
	data   uint64
	_      uint64 // key, and flags of reads and writes
	opcode uint16
	_      int16 // priority
	file   uint32
	_      [4]uint64 // of reads and writes
	_      uint64    // flags, and an eventfd to notify
}

// ioEvent is struct io_event of the same file.
type ioEvent struct {
	data   uint64
	_      uint64 // the control block's address
	result int64
	_      int64
}

// err returns the error of the sync, nil if it succeeded.
func (e ioEvent) err() error {
	if e.result < 0 {
		return syscall.Errno(-e.result)
	}
	return nil
}

const dataSync = 3 // IOCB_CMD_FDSYNC

// submit begins a sync of the open file fd.
func (s *startedSync) submit(fd int) error {
	block := &ioControlBlock{data: s.number, opcode: dataSync, file: uint32(fd)}
	_, _, errno := syscall.Syscall(syscall.SYS_IO_SUBMIT, s.context, 1, uintptr(unsafe.Pointer(&block)))
	if errno != 0 {
		return errno
	}
	return nil
}

// changed notes that the file is about to change. A sync under way need not
// cover that change.
func (s *startedSync) changed() {
	if s.context != 0 {
		s.written = true
	}
}

// settle waits for the sync, if there is one, and returns its error. done is
// false if the sync did not cover everything that was written.
func (s *startedSync) settle() (done bool, err error) {
	if s.context == 0 {
		return false, nil
	}
	event, err := s.wait()
	switch {
	case err != nil: // the context must not be used again
	case event.data != s.number:
		err = fmt.Errorf("vfs: sync %d is over instead of %d", event.data, s.number)
	default:
		contexts.put(s.context)
		err = event.err()
	}
	s.context = 0
	return !s.written, err
}

// wait waits for the end of the only sync in the context.
func (s *startedSync) wait() (event ioEvent, err error) {
	for n := uintptr(0); n == 0; {
		var errno syscall.Errno
		n, _, errno = syscall.Syscall6(syscall.SYS_IO_GETEVENTS, s.context, 1, 1, uintptr(unsafe.Pointer(&event)), 0, 0)
		if errno == syscall.EINTR {
			n = 0
		} else if errno != 0 {
			return event, errno
		}
	}
	return event, nil
}

// contexts holds the contexts of io_setup(2) that are not in use. There is one
// for each sync that was ever under way at the same time as others, so they are
// few. They are never destroyed, because that takes the kernel 30 ms.
var contexts contextPool

type contextPool struct {
	mu      sync.Mutex
	idle    []uintptr // guarded by mu
	refused bool      // guarded by mu: the system does not let us wait for a sync
}

// take returns a context without a sync under way. ok is false if the system
// provides none.
func (p *contextPool) take() (context uintptr, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.idle) - 1; last >= 0 {
		context, p.idle = p.idle[last], p.idle[:last]
		return context, true
	}
	if p.refused {
		return 0, false
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&context)), 0); errno != 0 {
		return 0, false
	}
	// In a sandbox that allows io_submit but not io_getevents, every store
	// would fail. So take tries io_getevents first, and never asks again: the
	// system has few contexts.
	var event ioEvent
	_, _, errno := syscall.Syscall6(syscall.SYS_IO_GETEVENTS, context, 0, 1, uintptr(unsafe.Pointer(&event)), 0, 0)
	if errno != 0 {
		p.refused = true
		_, _, _ = syscall.Syscall(syscall.SYS_IO_DESTROY, context, 0, 0) // nothing else can be done with it
	}
	return context, errno == 0
}

func (p *contextPool) put(context uintptr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, context)
}
