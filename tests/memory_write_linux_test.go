package tests

// This file bounds the memory of a single large write: how many copies of it
// there are at the peak, and what stays of them.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"kvstore"
)

// memoryWriteEnv holds the memoryWrite of a child process.
const memoryWriteEnv = "KVSTORE_MEMORY_WRITE_CHILD"

// memoryWrite is a child's task: to make one write to a new store, and to
// report what memory that took.
type memoryWrite struct {
	Dir        string
	Kind       string // a key of memoryWrites
	Values     int
	ValueBytes int
}

// memoryWriteUse is what a child reports.
type memoryWriteUse struct {
	Peak int64 // by which the resident set was larger than before the write
	Kept int64 // by which the Go heap has grown, after garbage collection
}

// memoryWrites are the ways to write values. Each returns the write that is
// measured, whose values or batch the caller has already.
var memoryWrites = map[string]func(s *kvstore.Store, keys []string, values [][]byte) (write func() error){
	"Set": func(s *kvstore.Store, keys []string, values [][]byte) func() error {
		return func() error { return s.Set(keys[0], values[0]) }
	},
	"CompareAndSwap": func(s *kvstore.Store, keys []string, values [][]byte) func() error {
		return func() error {
			_, err := s.CompareAndSwap(keys[0], nil, values[0])
			return err
		}
	},
	"Apply": func(s *kvstore.Store, keys []string, values [][]byte) func() error {
		var b kvstore.Batch
		for i, key := range keys {
			b.Set(key, values[i])
		}
		return func() error { return s.Apply(context.Background(), &b) }
	},
	"Update": func(s *kvstore.Store, keys []string, values [][]byte) func() error {
		return func() error {
			return s.Update(context.Background(), func(tx *kvstore.Tx) error {
				for i, key := range keys {
					tx.Set(key, values[i])
				}
				return nil
			})
		}
	},
}

// See powercut_child_linux_test.go.
func init() {
	text := os.Getenv(memoryWriteEnv)
	if text == "" {
		return
	}
	var job memoryWrite
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.run()
	}
	crashExit(err)
	os.Exit(0)
}

func (job memoryWrite) run() error {
	store, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: job.Dir}) // no fsync: it takes time, not memory
	if err != nil {
		return err
	}
	keys, values := make([]string, job.Values), make([][]byte, job.Values)
	for i := range keys {
		keys[i], values[i] = fmt.Sprintf("%016d", i), bytes.Repeat([]byte{byte(i), 1}, job.ValueBytes/2)
	}
	write := memoryWrites[job.Kind](store, keys, values)
	var use memoryWriteUse
	heap := liveHeap()
	if use.Peak, err = peakOf(write); err != nil {
		return err
	}
	use.Kept = liveHeap() - heap
	runtime.KeepAlive(write)
	runtime.KeepAlive(values)
	if n := store.Len(); n != job.Values {
		return fmt.Errorf("%d keys of %d", n, job.Values)
	}
	if err := json.NewEncoder(os.Stdout).Encode(use); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin) // ends when the parent does
	return errors.Join(err, store.Close())
}

// peakOf returns by how much the resident set is larger at the peak of do than
// before it.
func peakOf(do func() error) (bytes int64, err error) {
	debug.FreeOSMemory()
	const forgetPeak = "5" // see proc(5)
	if err := os.WriteFile("/proc/self/clear_refs", []byte(forgetPeak), 0); err != nil {
		return 0, err
	}
	before, err := peakMemory()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := peakMemory()
	return after - before, err
}

// A single large write is in memory twice beside what its caller holds: in the
// command, and in the table. Update holds it once more. Each write of a batch
// or a transaction takes some hundred bytes beside that. Nothing of it stays
// but the record in the table.
func TestMemoryOfALargeWrite(t *testing.T) {
	if raceEnabled() {
		t.Skip("with the race detector, the table lies in the Go heap")
	}
	const (
		slack = 8 << 20 // what a process takes that writes for the first time
		kept  = 8 << 20
	)
	for _, row := range []struct {
		kind           string
		values, length int
		copies         int // at most
		each           int // bytes beside them for each write, at most
	}{
		{"Set", 1, 256 << 20, 2, 0},
		{"CompareAndSwap", 1, 64 << 20, 2, 0},
		{"Apply", 1, 256 << 20, 2, 0},
		{"Apply", 64, 1 << 20, 2, 0},
		{"Apply", 100_000, 1000, 2, 400},
		{"Update", 1, 256 << 20, 3, 0},
		{"Update", 64, 1 << 20, 3, 0},
		{"Update", 100_000, 1000, 3, 1200},
	} {
		t.Run(fmt.Sprintf("%s of %d x %d bytes", row.kind, row.values, row.length), func(t *testing.T) {
			job := memoryWrite{Dir: t.TempDir(), Kind: row.kind, Values: row.values, ValueBytes: row.length}
			size, use := row.values*row.length, job.use(t)
			beside := (int(use.Peak) - row.copies*size) / row.values
			t.Logf("%.2f copies, or %d and %d bytes for each write; %d bytes stay",
				float64(use.Peak)/float64(size), row.copies, beside, use.Kept)
			if int(use.Peak) > row.copies*size+row.each*row.values+slack || use.Kept > kept {
				t.Errorf("%+v for %d bytes", use, size)
			}
		})
	}
}

// use runs a job to its report and kills the child.
func (job memoryWrite) use(t *testing.T) (use memoryWriteUse) {
	t.Helper()
	p := startChild(t, memoryWriteEnv, job)
	line, ok := p.line()
	if err := p.kill(); !ok {
		t.Fatalf("the child has reported nothing: %v, %s", err, &p.stderr)
	}
	if err := json.NewDecoder(strings.NewReader(line)).Decode(&use); err != nil {
		t.Fatal(err)
	}
	return use
}
