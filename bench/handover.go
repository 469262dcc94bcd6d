package main

import (
	"runtime"
	"sync"
	"time"
)

// The bounds of the queue and of a group, as in kvstore.
const (
	handoverQueue = 16 << 10 // commands
	handoverBytes = 4 << 20
)

func handoverFloorSpec() spec {
	return spec{
		name: "hand-over floor", role: handoverFloor, volatile: true,
		durable: "callers send their bytes through a channel to one goroutine. It writes all queued bytes at once, " +
			"as the disk floor does, answers each caller itself, and spins until they have sent again. " +
			"No checksums, nothing in memory, no bounds, nothing prepared ahead",
		relaxed: "–",
		open:    openHandoverFloor,
	}
}

// handoverEngine is the path of a write in a store with one writer goroutine,
// without the rest of such a store. Its time beyond the disk's is the cost of
// goroutines, a channel and the callers' bytes on this machine.
type handoverEngine struct {
	disk     *diskFloorEngine // owned by the writer until ended is closed
	commands chan *handover   // closed by close
	ended    chan struct{}    // closed by the writer
	spare    sync.Pool
}

// handover is the write of one caller.
type handover struct {
	entries []byte
	answer  chan error // with a buffer of one
}

func openHandoverFloor(dir string, _ bool) (engine, error) {
	disk, err := openDiskFloor(dir, true)
	if err != nil {
		return nil, err
	}
	e := &handoverEngine{
		disk:     disk.(*diskFloorEngine),
		commands: make(chan *handover, handoverQueue),
		ended:    make(chan struct{}),
	}
	e.spare.New = func() any { return &handover{answer: make(chan error, 1)} }
	go e.write()
	return e, nil
}

func (e *handoverEngine) set(key string, value []byte) error {
	c := e.spare.Get().(*handover)
	c.add(key, value)
	return e.send(c)
}

func (e *handoverEngine) batch(keys []string, values [][]byte) error {
	c := e.spare.Get().(*handover)
	for i, key := range keys {
		c.add(key, values[i])
	}
	return e.send(c)
}

// add appends as many bytes as a log entry would have.
func (c *handover) add(key string, value []byte) {
	var head [floorEntry]byte
	c.entries = append(append(append(c.entries, head[:]...), key...), value...)
}

func (e *handoverEngine) send(c *handover) error {
	e.commands <- c
	err := <-c.answer
	c.entries = c.entries[:0]
	e.spare.Put(c)
	return err
}

// write is the writer goroutine.
func (e *handoverEngine) write() {
	defer close(e.ended)
	var group []*handover
	var bytes []byte
	for c := range e.commands {
		group, bytes = append(group[:0], c), append(bytes[:0], c.entries...)
		for len(e.commands) > 0 && len(bytes) < handoverBytes {
			c := <-e.commands
			group, bytes = append(group, c), append(bytes, c.entries...)
		}
		started := time.Now()
		err := e.disk.overwrite(bytes)
		took := time.Since(started)
		for _, c := range group {
			c.answer <- err
		}
		if len(group) > 1 {
			e.regroup(len(group)-len(group)/10, took/2)
		}
	}
}

// regroup yields until as many callers as wanted have sent again, or the time
// is over. Then it goes on as long as the queue grows.
func (e *handoverEngine) regroup(wanted int, most time.Duration) {
	started, before := time.Now(), -1
	for n := len(e.commands); n > before || n < wanted && time.Since(started) < most; n = len(e.commands) {
		before = n
		runtime.Gosched()
	}
}

func (*handoverEngine) get(string) ([]byte, error) { return nil, errUnsupported }

func (e *handoverEngine) syncs() uint64 { return e.disk.syncs() }

func (e *handoverEngine) close() error {
	close(e.commands)
	<-e.ended
	return e.disk.close()
}
