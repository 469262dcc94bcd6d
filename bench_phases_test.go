package kvstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"kvstore"
)

// phaseKeys is the number of keys in the store that goes through the phases.
const phaseKeys = 1_000_000

// phaseBench is a phase, and what comes before and after it and is not timed.
type phaseBench struct {
	name   string
	before func() error
	phase  func() error
	after  func() error
}

// BenchmarkPhases reports the time of each phase for each key of a store, and
// the processor time in it. An iteration is a whole store, so run it with
// -benchtime 3x. See docs/OPERATIONS.md.
func BenchmarkPhases(b *testing.B) {
	r := newPhaseStore(b)
	for _, p := range r.phases() {
		b.Run(p.name, func(b *testing.B) {
			var processor time.Duration
			for b.Loop() {
				b.StopTimer()
				if err := p.before(); err != nil {
					b.Fatal(err)
				}
				runtime.GC()
				begun := processorTime(b)
				b.StartTimer()
				if err := p.phase(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				processor += processorTime(b) - begun
				if err := p.after(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			keys := float64(b.N) * phaseKeys
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/keys, "ns/key")
			b.ReportMetric(float64(processor.Nanoseconds())/keys, "processor-ns/key")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// phaseStore is the store that goes through the phases.
type phaseStore struct {
	b              *testing.B
	dir            string // with all that follows
	killed, backup string
	config         kvstore.Config
	store          *kvstore.Store // open between two phases
	number         int            // of the directories that were made
}

// newPhaseStore makes a store, a backup of it, and what a kill would leave of
// it.
func newPhaseStore(b *testing.B) *phaseStore {
	b.Helper()
	dir := benchDir(b)
	r := &phaseStore{
		b: b, dir: dir, killed: filepath.Join(dir, "killed"), backup: filepath.Join(dir, "backup"),
		config: kvstore.DefaultConfig(filepath.Join(dir, "store")),
	}
	err := r.open()
	for i := 0; i < phaseKeys && err == nil; {
		var batch kvstore.Batch
		for ; batch.Len() < 1000; i++ {
			batch.Set(fmt.Sprintf("%016d", i), make([]byte, benchValueBytes))
		}
		err = r.store.Apply(b.Context(), &batch)
	}
	if err == nil {
		err = os.CopyFS(r.killed, os.DirFS(r.config.DataDir)) // nothing is being written
	}
	if err == nil {
		err = r.store.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func (r *phaseStore) phases() []phaseBench {
	return []phaseBench{
		{"open after a kill", r.kill, r.open, r.close},
		{"open read-only after a kill", r.kill, r.openReadOnly, r.close},
		{"open", r.nothing, r.open, r.close},
		{"open read-only", r.nothing, r.openReadOnly, r.close},
		{"snapshot", r.change, r.snapshot, r.close},
		{"backup", r.open, r.writeBackup, r.close},
		{"restore", r.nothing, r.restore, r.nothing},
		{"close", r.change, r.close, r.nothing},
	}
}

func (r *phaseStore) nothing() error { return nil }

// kill goes to a new copy of what a kill has left.
func (r *phaseStore) kill() error {
	r.number++
	r.config.DataDir = filepath.Join(r.dir, fmt.Sprint("killed ", r.number))
	return os.CopyFS(r.config.DataDir, os.DirFS(r.killed))
}

func (r *phaseStore) open() (err error) {
	r.store, err = kvstore.OpenWithConfig(r.config)
	return err
}

func (r *phaseStore) openReadOnly() (err error) {
	config := r.config
	config.ReadOnly = true
	r.store, err = kvstore.OpenWithConfig(config)
	return err
}

func (r *phaseStore) close() error { return r.store.Close() }

// change opens the store and changes it, so that a snapshot has something new.
func (r *phaseStore) change() error {
	if err := r.open(); err != nil {
		return err
	}
	return r.store.Set("changed", nil)
}

func (r *phaseStore) snapshot() error { return r.store.Snapshot(r.b.Context()) }

func (r *phaseStore) writeBackup() error {
	view, err := r.store.View()
	if err != nil {
		return err
	}
	defer func() { _ = view.Close() }() // it returns nil
	file, err := os.Create(r.backup)
	if err != nil {
		return err
	}
	if _, err := view.WriteTo(file); err != nil {
		return err
	}
	return file.Close()
}

func (r *phaseStore) restore() error {
	file, err := os.Open(r.backup)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	r.number++
	return kvstore.Restore(filepath.Join(r.dir, fmt.Sprint("restored ", r.number)), file)
}
