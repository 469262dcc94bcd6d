package tests

// This file has what a child does: see crash_test.go.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"kvstore"
)

// crashEnv holds the crashJob of a child process.
const crashEnv = "KVSTORE_CRASH_CHILD"

// crashMaxPending is the number of commits that a goroutine has under way.
const crashMaxPending = 2

// crashJob is a child's task.
type crashJob struct {
	Dir        string
	SyncWrites bool
	Write      bool // from 64 goroutines until it is killed; otherwise the child only waits
	CloseAfter int  // if not 0, the acknowledgements after which it closes the store under load
	Fill       int  // if not 0, it sets "fill N" to values of this size until the disk is full
}

// runCrashChild does the work of a child if this process is one, and reports
// whether it was. TestMain calls it first.
func runCrashChild() bool {
	text := os.Getenv(crashEnv)
	if text == "" {
		return false
	}
	var job crashJob
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	return true
}

// run prints "opening", "open", then "ack GOROUTINE COMMIT" for each
// acknowledged commit, "added SUM" for each sum of crashAddOn, and "closing"
// and "closed" around Close.
func (job crashJob) run() error {
	fmt.Println("opening")
	store, err := kvstore.OpenWithConfig(kvstore.Config{
		DataDir: job.Dir, SyncWrites: job.SyncWrites, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	fmt.Println("open")
	if job.Fill > 0 {
		if err := job.fill(store); err != nil {
			return err
		}
	}
	if job.Write {
		if err := job.write(store); err != nil {
			return err
		}
		fmt.Println("closed")
	}
	_, err = io.Copy(io.Discard, os.Stdin) // ends when the parent does
	return err
}

// write starts the writing goroutines and closes the store after CloseAfter
// acknowledgements.
func (job crashJob) write(store *kvstore.Store) error {
	sequences, err := crashSequences(store)
	if err != nil {
		return err
	}
	printer := newCrashPrinter(job.CloseAfter)
	var writers, printing sync.WaitGroup
	printing.Go(func() { crashExit(printer.run()) })
	for writer, n := range sequences {
		writers.Go(func() { crashExit(crashWriteOn(store, writer, n, printer.acks)) })
	}
	for range crashAdders {
		writers.Go(func() { crashExit(crashAddOn(store, printer.acks)) })
	}
	<-printer.enough
	err = store.Close()
	writers.Wait()
	close(printer.acks)
	printing.Wait()
	return err
}

// crashExit ends the child if one of its goroutines failed.
func crashExit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

// crashWriteOn makes the commits after the n-th until the store is closed. Up
// to crashMaxPending of them are under way.
func crashWriteOn(store *kvstore.Store, writer, n int, acks chan<- crashAck) error {
	acked := n
	var pending []func() error
	for {
		n++
		op := crashOpOf(writer, n)
		pending = append(pending, op.start(store))
		if (op.how == crashAsync || op.how == crashDoAsync) && len(pending) < crashMaxPending {
			continue
		}
		var end error
		for _, wait := range pending {
			err := wait()
			switch {
			case err != nil:
				end = err
			case end != nil:
				return fmt.Errorf("goroutine %d: %w came before an acknowledgement", writer, end)
			default:
				acked++
				acks <- crashAck{writer, acked}
			}
		}
		if errors.Is(end, kvstore.ErrClosed) {
			return nil
		}
		if end != nil {
			return end
		}
		pending = pending[:0]
	}
}

// crashAddOn adds 1 to a number that others add to, until the store is closed.
func crashAddOn(store *kvstore.Store, acks chan<- crashAck) error {
	for {
		sum, err := store.Add(crashAdded, 1)
		if errors.Is(err, kvstore.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		acks <- crashAck{crashAdder, int(sum)}
	}
}

// crashAck reports that a goroutine's n-th commit was acknowledged, or that
// crashAdder was given the sum n.
type crashAck struct {
	writer, n int
}

// crashAdder is the writer of acknowledgements of crashAddOn.
const crashAdder = -1

func (a crashAck) String() string {
	if a.writer == crashAdder {
		return fmt.Sprintf("added %d\n", a.n)
	}
	return fmt.Sprintf("ack %d %d\n", a.writer, a.n)
}

// crashPrinter prints acknowledgements, and signals when it has printed enough.
type crashPrinter struct {
	acks       chan crashAck // closed when no more come
	closeAfter int           // acknowledgements; 0 is never
	enough     chan struct{} // closed by the printer
}

func newCrashPrinter(closeAfter int) crashPrinter {
	acks := make(chan crashAck, crashWriters)
	return crashPrinter{acks: acks, closeAfter: closeAfter, enough: make(chan struct{})}
}

func (p *crashPrinter) run() error {
	out := bufio.NewWriter(os.Stdout) // of 4 KiB: see crashUnread
	count := 0
	for ack := range p.acks {
		line := ack.String()
		count++
		last := count == p.closeAfter
		if last {
			line += "closing\n"
		}
		if _, err := out.WriteString(line); err != nil {
			return err
		}
		if len(p.acks) > 0 && !last {
			continue // one write for all that are waiting
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if last {
			close(p.enough)
		}
	}
	return out.Flush()
}

// fill prints "full N" when N values are stored and the disk has no room for
// another. If CloseAfter is set, it then closes the store, which may have no
// room for its snapshot, and prints "closed".
func (job crashJob) fill(store *kvstore.Store) error {
	for n := 0; ; n++ {
		err := store.Set(fmt.Sprint("fill ", n), make([]byte, job.Fill))
		if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, kvstore.ErrFailed) {
			fmt.Println("full", n)
			break
		}
		if err != nil {
			return err
		}
	}
	if job.CloseAfter == 0 {
		return nil
	}
	err := store.Close()
	fmt.Println("closed")
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return err
}
