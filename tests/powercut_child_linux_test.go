package tests

// This file has what a child does: see powercut_linux_test.go.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"kvstore"
)

// powerEnv holds the powerJob of a child process.
const powerEnv = "KVSTORE_POWER_CHILD"

// powerJob is a child's task.
type powerJob struct {
	Dir          string
	SyncWrites   bool
	SyncInterval time.Duration
	SyncEvery    int  // if not 0, commits of a goroutine before a Sync, which reports them
	Write        bool // from all goroutines until the end; otherwise the child only waits
	CloseAfter   int  // if not 0, the reports after which it closes the store under load
}

// Children branch off before TestMain, which does not know jobs that only Linux
// has.
func init() {
	if runPowerCutChild() {
		os.Exit(0)
	}
}

// runPowerCutChild does the work of a child if this process is one, and reports
// whether it was.
func runPowerCutChild() bool {
	text := os.Getenv(powerEnv)
	if text == "" {
		return false
	}
	var job powerJob
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.run()
	}
	crashExit(err)
	return true
}

// run prints "opening", "has GOROUTINE COMMIT" for what it found, "open", "ack
// GOROUTINE COMMIT", and "closing" and "closed" around Close. When the disk
// fails it prints "failed ERROR" and waits to be killed. Any other error goes
// to stderr.
func (job powerJob) run() error {
	fmt.Println("opening")
	store, err := kvstore.OpenWithConfig(kvstore.Config{
		Logger:  slog.New(slog.DiscardHandler),
		DataDir: job.Dir, SyncWrites: job.SyncWrites, SyncInterval: job.SyncInterval,
	})
	switch {
	case errors.Is(err, kvstore.ErrCorrupt), errors.Is(err, kvstore.ErrFailed), errors.Is(err, kvstore.ErrLocked):
		return err
	case err != nil:
		fmt.Println("failed", err)
	default:
		if err := job.use(store); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, os.Stdin) // ends when the parent does
	return err
}

func (job powerJob) use(store *kvstore.Store) error {
	sequences, err := crashSequences(store)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for writer, n := range sequences {
		fmt.Fprintf(&lines, "has %d %d\n", writer, n)
	}
	fmt.Println(lines.String() + "open")
	if !job.Write {
		return nil
	}
	return job.write(store, sequences)
}

// write runs the writing goroutines until it is time to close the store, or
// until the disk fails.
func (job powerJob) write(store *kvstore.Store, sequences [crashWriters]int) error {
	printer := newCrashPrinter(job.CloseAfter)
	ends := make(chan error, crashWriters)
	var writers, printing sync.WaitGroup
	printing.Go(func() { crashExit(printer.run()) })
	for writer, n := range sequences {
		writers.Go(func() {
			if job.SyncEvery > 0 {
				ends <- powerWriteOn(store, writer, n, job.SyncEvery, printer.acks)
			} else {
				ends <- crashWriteOn(store, writer, n, printer.acks)
			}
		})
	}
	var failure error
	select {
	case <-printer.enough:
	case failure = <-ends:
		if _, err := crashSequences(store); err != nil {
			return fmt.Errorf("reads of the failed store: %w", err)
		}
	}
	closeErr := store.Close()
	writers.Wait()
	close(printer.acks)
	printing.Wait()
	close(ends)
	for err := range ends {
		if failure == nil {
			failure = err
		}
		if err != nil && !errors.Is(err, kvstore.ErrFailed) {
			return err
		}
	}
	switch {
	case failure != nil && (!errors.Is(failure, kvstore.ErrFailed) || !errors.Is(closeErr, kvstore.ErrFailed)):
		return fmt.Errorf("writes end with %w, and Close with %w", failure, closeErr)
	case closeErr != nil:
		fmt.Println("failed", closeErr)
	default:
		fmt.Println("closed")
	}
	return nil
}

// powerWriteOn makes the commits after the n-th, and reports those that a Sync
// has made durable.
func powerWriteOn(store *kvstore.Store, writer, n, every int, acks chan<- crashAck) error {
	for {
		n++
		err := crashOpOf(writer, n).start(store)()
		if err == nil && (n+writer)%every == 0 {
			if err = store.Sync(); err == nil {
				acks <- crashAck{writer, n}
			}
		}
		if errors.Is(err, kvstore.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
