package tests

// This file bounds the memory that Open takes: a process that was killed must
// be able to start again in the memory that it had.

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"kvstore"
)

// memoryEnv holds the memoryJob of a child process.
const memoryEnv = "KVSTORE_MEMORY_CHILD"

// memoryJob is a child's task: to open a store, to write batches of values to
// it unless ReadOnly, to report its memory, and to wait for its death.
type memoryJob struct {
	Dir        string
	ReadOnly   bool
	Batches    int
	Values     int // of each batch
	ValueBytes int
	Keys       int // different ones
}

// memoryUse is what a child reports.
type memoryUse struct {
	Peak int64 // VmHWM, in bytes
	Heap int64 // by which the Go heap has grown since before Open, after garbage collection
	Keys int
}

// See powercut_child_linux_test.go.
func init() {
	if runMemoryChild() {
		os.Exit(0)
	}
}

// runMemoryChild does the work of a child if this process is one, and reports
// whether it was.
func runMemoryChild() bool {
	text := os.Getenv(memoryEnv)
	if text == "" {
		return false
	}
	var job memoryJob
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.run()
	}
	crashExit(err)
	return true
}

func (job memoryJob) run() error {
	before := liveHeap()
	store, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: job.Dir, ReadOnly: job.ReadOnly})
	if err != nil {
		return err
	}
	for batch := range job.Batches {
		if err := job.write(store, batch); err != nil {
			return err
		}
	}
	use := memoryUse{Keys: store.Len()}
	if use.Peak, err = peakMemory(); err != nil {
		return err
	}
	use.Heap = liveHeap() - before
	if err := json.NewEncoder(os.Stdout).Encode(use); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin) // ends when the parent does
	return errors.Join(err, store.Close())
}

// write writes one batch. A batch of one value is a Set.
func (job memoryJob) write(store *kvstore.Store, batch int) error {
	var b kvstore.Batch
	value := make([]byte, job.ValueBytes)
	for i := range job.Values {
		key := fmt.Sprintf("%016d", (batch*job.Values+i)%job.Keys)
		copy(value, binary.BigEndian.AppendUint64(nil, uint64(batch*job.Values+i)))
		if job.Values == 1 {
			return store.Set(key, value)
		}
		b.Set(key, value)
	}
	return store.Apply(context.Background(), &b)
}

// liveHeap returns the size of the heap without garbage.
func liveHeap() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// peakMemory returns the largest resident set that this process has had.
func peakMemory() (bytes int64, err error) {
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer func() { _ = status.Close() }() // it was only read
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &bytes); err == nil {
			return bytes << 10, nil
		}
	}
	return 0, errors.New("no VmHWM")
}

// use runs a job to its report and kills the child.
func (job memoryJob) use(t *testing.T) (use memoryUse) {
	t.Helper()
	p := startChild(t, memoryEnv, job)
	line, ok := p.line()
	if err := p.kill(); !ok {
		t.Fatalf("the child has reported nothing: %v, %s", err, &p.stderr)
	}
	if err := json.NewDecoder(strings.NewReader(line)).Decode(&use); err != nil {
		t.Fatal(err)
	}
	return use
}

// openBound is how much memory Open may take of a process that was killed, in
// hundredths of what that process had.
const openBound = 110

// A process that was killed opens its store again in the memory that it had,
// for writing and read-only, whatever is in the log.
func TestMemoryOfOpenAfterAKill(t *testing.T) {
	if raceEnabled() {
		t.Skip("with the race detector, the table lies in the Go heap")
	}
	for _, row := range []struct {
		name string
		job  memoryJob
	}{
		{"values of 1,000 bytes", memoryJob{Batches: 100_000, Values: 1, ValueBytes: 1000, Keys: 1 << 30}},
		{"small values in batches", memoryJob{Batches: 1000, Values: 1000, ValueBytes: 16, Keys: 1 << 30}},
		{"one batch of 64 MiB", memoryJob{Batches: 1, Values: 64 << 10, ValueBytes: 1 << 10, Keys: 1 << 30}},
		{"values of 32 MiB", memoryJob{Batches: 3, Values: 1, ValueBytes: 32 << 20, Keys: 1 << 30}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.job.Dir = t.TempDir()
			before := row.job.use(t)
			for _, readOnly := range []bool{true, false} {
				after := memoryJob{Dir: row.job.Dir, ReadOnly: readOnly}.use(t)
				t.Logf("read-only %v: %d MB, after %d MB before: %.2f", readOnly,
					after.Peak/1e6, before.Peak/1e6, float64(after.Peak)/float64(before.Peak))
				if after.Keys != before.Keys || after.Peak*100 > before.Peak*openBound {
					t.Errorf("read-only %v: %+v, before %+v", readOnly, after, before)
				}
			}
		})
	}
}

// A read-only store keeps nothing of the log that it has replayed.
func TestMemoryOfAReadOnlyStore(t *testing.T) {
	job := memoryJob{Dir: t.TempDir(), Batches: 4000, Values: 10, ValueBytes: 1000, Keys: 10}
	job.use(t)
	after := memoryJob{Dir: job.Dir, ReadOnly: true}.use(t)
	if after.Keys != job.Keys || after.Heap > 1<<20 {
		t.Errorf("%d keys; the heap has grown by %d bytes", after.Keys, after.Heap)
	}
}

// raceEnabled reports whether the race detector is on.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
