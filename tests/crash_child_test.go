package tests

// This file has what a child does: see crash_test.go.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"kvstore"
)

// crashEnv holds the crashJob of a child process.
const crashEnv = "KVSTORE_CRASH_CHILD"

// crashMaxPending is the number of commits that a goroutine has under way.
const crashMaxPending = 2

// crashJob is what a child is told.
type crashJob struct {
	Dir        string
	SyncWrites bool
	Write      bool // from 64 goroutines until it is killed; otherwise it waits for that
	CloseAfter int  // so many acknowledgements, if not 0, it closes the store while the goroutines go on
}

// runCrashChild does the work of a child, if this process is one, and tells whether it was. TestMain calls it first.
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

// run prints "opening", "open", "ack GOROUTINE COMMIT" for each one that was acknowledged, and around Close "closing"
// and "closed".
func (job crashJob) run() error {
	fmt.Println("opening")
	store, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: job.Dir, SyncWrites: job.SyncWrites})
	if err != nil {
		return err
	}
	fmt.Println("open")
	if job.Write {
		if err := job.write(store); err != nil {
			return err
		}
		fmt.Println("closed")
	}
	_, err = io.Copy(io.Discard, os.Stdin) // ends with the parent, if that does not kill us
	return err
}

// write lets the goroutines write until the store is closed, and closes it when it is time.
func (job crashJob) write(store *kvstore.Store) error {
	sequences, err := crashSequences(store)
	if err != nil {
		return err
	}
	printer := crashPrinter{acks: make(chan crashAck, crashWriters), closeAfter: job.CloseAfter, enough: make(chan struct{})}
	var writers, printing sync.WaitGroup
	printing.Go(func() { crashExit(printer.run()) })
	for writer, n := range sequences {
		writers.Go(func() { crashExit(crashWriteOn(store, writer, n, printer.acks)) })
	}
	<-printer.enough
	err = store.Close()
	writers.Wait()
	close(printer.acks)
	printing.Wait()
	return err
}

// crashExit ends the child if something went wrong in one of its goroutines.
func crashExit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

// crashWriteOn commits what follows the n-th commit until the store is closed, with up to crashMaxPending commits under way.
func crashWriteOn(store *kvstore.Store, writer, n int, acks chan<- crashAck) error {
	acked := n
	var pending []func() error
	for {
		n++
		op := crashOpOf(writer, n)
		pending = append(pending, op.start(store))
		if op.how == crashAsync && len(pending) < crashMaxPending {
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

// crashAck says that a goroutine's n-th commit was acknowledged.
type crashAck struct {
	writer, n int
}

// crashPrinter prints acknowledgements, and says when there were enough of them.
type crashPrinter struct {
	acks       chan crashAck // closed when no more come
	closeAfter int           // acknowledgements; 0 is never
	enough     chan struct{} // closed by the printer
}

func (p *crashPrinter) run() error {
	out := bufio.NewWriter(os.Stdout) // of 4 KiB: see crashUnread
	count := 0
	for ack := range p.acks {
		line := fmt.Sprintf("ack %d %d\n", ack.writer, ack.n)
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
