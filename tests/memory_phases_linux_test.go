package tests

// This file bounds the memory that each phase of a store takes beside the
// table.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kvstore"
)

// memoryPhasesEnv holds the memoryPhases of a child process.
const memoryPhasesEnv = "KVSTORE_MEMORY_PHASES_CHILD"

// memoryPhases is a child's task: to take a store through its phases, and to
// report what memory each takes beside the table.
type memoryPhases struct {
	Dir        string
	Keys       int
	ValueBytes int
}

// phaseMemory is what a child reports of a phase: by how much the resident set
// was larger at its peak than before it, without the table that it has made.
type phaseMemory struct {
	Phase string
	Peak  int64
}

// See powercut_child_linux_test.go.
func init() {
	text := os.Getenv(memoryPhasesEnv)
	if text == "" {
		return
	}
	var job memoryPhases
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.run()
	}
	crashExit(err)
	os.Exit(0)
}

// session is a store in a phase.
type session struct {
	memoryPhases
	store    *kvstore.Store // nil while it is closed
	table    int64          // memory of its table when it was closed last
	restored int64          // likewise, of the store that was restored
}

// run takes the store through all phases.
func (job memoryPhases) run() error {
	s := session{memoryPhases: job}
	for _, p := range []struct {
		name string
		do   func() error
	}{
		{"create", s.open(kvstore.Config{})},
		{"fill", s.fill}, // makes the table, and measures nothing
		{"serve", s.overwrite},
		{"snapshot", func() error { return s.store.Snapshot(context.Background()) }},
		{"backup", s.backup},
		{"overwrite", s.overwrite},
		{"close", s.close},
		{"open", s.open(kvstore.Config{})},
		{"close without a write", s.close},
		{"open read-only", s.open(kvstore.Config{ReadOnly: true})},
		{"scan", s.scan},
		{"close read-only", s.close},
		{"restore", s.restore},
	} {
		table := s.tableBytes()
		peak, err := peakOf(p.do)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		peak -= max(0, s.tableBytes()-table)
		if err := json.NewEncoder(os.Stdout).Encode(phaseMemory{p.name, peak}); err != nil {
			return err
		}
	}
	return nil
}

// tableBytes returns the memory of the table.
func (s *session) tableBytes() int64 {
	if s.store == nil {
		return s.restored
	}
	return s.store.Stats().MemoryMapped
}

func (s *session) open(config kvstore.Config) func() error {
	return func() (err error) {
		config.DataDir = s.Dir
		s.store, err = kvstore.OpenWithConfig(config)
		return err
	}
}

func (s *session) close() error {
	s.table = s.tableBytes()
	err := s.store.Close()
	s.store = nil
	return err
}

// fill makes the table, in batches.
func (s *session) fill() error {
	const each = 100
	var b kvstore.Batch
	for i := range s.Keys {
		b.Set(fmt.Sprintf("%016d", i), bytes.Repeat([]byte{byte(i)}, s.ValueBytes))
		if b.Len() == each || i == s.Keys-1 {
			if err := s.store.Apply(context.Background(), &b); err != nil {
				return err
			}
			b.Reset()
		}
	}
	return nil
}

// overwrite sets some of the keys once more.
func (s *session) overwrite() error {
	for i := range min(1000, s.Keys) {
		key := fmt.Sprintf("%016d", i)
		if err := s.store.Set(key, bytes.Repeat([]byte{1}, s.ValueBytes)); err != nil {
			return err
		}
	}
	return nil
}

// scan reads all pairs without an index.
func (s *session) scan() error {
	view, err := s.store.View()
	if err != nil {
		return err
	}
	n := 0
	for range view.All() {
		n++
	}
	if n != s.Keys {
		err = fmt.Errorf("%d keys of %d", n, s.Keys)
	}
	return errors.Join(err, view.Close())
}

func (s *session) backup() error {
	view, err := s.store.View()
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(s.Dir, "backup"))
	if err != nil {
		return err
	}
	_, err = view.WriteTo(file)
	return errors.Join(err, view.Close(), file.Close())
}

func (s *session) restore() error {
	file, err := os.Open(filepath.Join(s.Dir, "backup"))
	if err != nil {
		return err
	}
	err = kvstore.Restore(filepath.Join(s.Dir, "restored"), file)
	s.restored = s.table // Restore verifies the pairs by loading them
	return errors.Join(err, file.Close())
}

// bound returns how much memory a phase may take beside the table: 16 MiB, and
// two values if they are larger than a piece of a file. Some phases say nothing
// of large values, since the child itself makes copies of them.
func (job memoryPhases) bound(phase string) int64 {
	const most, piece = 16 << 20, 1 << 20
	switch {
	case job.ValueBytes <= piece:
		return most
	case slices.Contains([]string{"fill", "serve", "overwrite", "scan"}, phase):
		return math.MaxInt64
	default:
		return most + 2*int64(job.ValueBytes)
	}
}

// Nothing that is done with a store takes memory in proportion to it, beside
// the table: that of the store, or the one that Restore makes.
func TestMemoryOfEachPhase(t *testing.T) {
	if raceEnabled() {
		t.Skip("with the race detector, the table lies in the Go heap")
	}
	for _, job := range []memoryPhases{
		{Keys: 100_000, ValueBytes: 1000},
		{Keys: 1_000_000, ValueBytes: 16},
		{Keys: 2, ValueBytes: 32 << 20},
	} {
		job.Dir = t.TempDir()
		p, phases := startChild(t, memoryPhasesEnv, job), 0
		for {
			line, ok := p.line()
			if !ok {
				break
			}
			var phase phaseMemory
			if err := json.NewDecoder(strings.NewReader(line)).Decode(&phase); err != nil {
				t.Fatal(err)
			}
			t.Logf("%-30s %6.1f MB", phase.Phase, float64(phase.Peak)/1e6)
			if phase.Peak > job.bound(phase.Phase) {
				t.Errorf("%s of %d keys: %d bytes beside the table", phase.Phase, job.Keys, phase.Peak)
			}
			phases++
		}
		if err := p.kill(); err != nil || phases == 0 {
			t.Fatalf("%d phases: %v, %s", phases, err, &p.stderr)
		}
	}
}
