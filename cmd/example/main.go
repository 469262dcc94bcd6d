// Command example shows a store at work on real input.
//
//	go run ./cmd/example [-dir DIR] [FILE]
//
// It makes an index of a text: a key is a line, and its value is the numbers of
// all equal lines. A child process writes the index durably from 64 goroutines,
// reads it back and deletes every tenth key. Then the child is killed before it
// can close the store. The example opens the store, prints what recovery found,
// and closes it. It opens the store once more, when there is nothing left to
// recover.
//
// Without FILE the text is src/unicode/tables.go, which comes with every Go
// installation. Without DIR the store is in a temporary directory, which is
// removed at the end.
package main

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"kvstore"
)

const (
	// goroutines is the number of concurrent writers. They share fsyncs:
	// compare the figures of 64 with those of 1.
	goroutines = 64

	// writerEnv is set for the child process that writes and is killed. See
	// beWriter.
	writerEnv = "KVSTORE_EXAMPLE_WRITER"
)

func main() {
	var err error
	if os.Getenv(writerEnv) != "" {
		err = beWriter(os.Stdin, os.Stdout)
	} else {
		err = run(parseArguments())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

func parseArguments() (dir, file string) {
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: example [-dir DIR] [FILE]")
		flag.PrintDefaults()
	}
	flag.StringVar(&dir, "dir", "", "keep the store in this `directory` (default a temporary one, which is removed)")
	flag.Parse()
	if flag.NArg() > 1 {
		flag.Usage()
		os.Exit(2)
	}
	return dir, flag.Arg(0)
}

// run prepares the directory and the text, runs the demo and cleans up, also
// after an error or an interrupt.
func run(dir, file string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if file == "" {
		if file, err = textOfGo(); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	entries := indexLines(file, string(text))
	if dir == "" {
		if dir, err = os.MkdirTemp("", "kvstore-example-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	fmt.Println("store:   ", dir)
	err = story(ctx, dir, entries)
	if ctx.Err() != nil {
		return errors.New("interrupted") // the interrupt is the cause of err
	}
	return err
}

// story is the demo.
func story(ctx context.Context, dir string, entries []entry) error {
	writer, err := startWriter(ctx, dir, entries)
	if err != nil {
		return err
	}
	wrote, err := writer.report()
	if err != nil {
		return errors.Join(err, writer.kill())
	}
	wrote.print()
	if err := writer.kill(); err != nil {
		return err
	}
	fmt.Printf("killed:   process %d, without Close\n", writer.cmd.Process.Pid)
	if _, err := reopen(ctx, dir, entries, wrote.Keys); err != nil {
		return err
	}
	afterClose, err := reopen(ctx, dir, entries, wrote.Keys)
	if err == nil && afterClose.Groups > 0 {
		err = fmt.Errorf("%d groups were replayed after a clean Close", afterClose.Groups)
	}
	return err
}

// textOfGo returns the path of a text in the Go installation.
func textOfGo() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("the Go installation was not found (name a FILE instead): %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "src", "unicode", "tables.go"), nil
}

// entry is a key and its value.
type entry struct {
	Key   string
	Value []byte
}

// indexLines returns an entry for each different line of text. Equal lines are
// one key, and its value has all their numbers. So no number is lost, and the
// order of the goroutines does not matter. An empty line is a key too. Lines
// that are too long for a key are left out and reported.
func indexLines(file, text string) []entry {
	var entries []entry
	places := map[string]int{} // the index in entries of a line
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if len(line) > kvstore.MaxKeyBytes {
			fmt.Printf("left out: line %d, its %d bytes are more than the %d of the longest key\n",
				number, len(line), kvstore.MaxKeyBytes)
			continue
		}
		i, known := places[line]
		if !known {
			i = len(entries)
			places[line] = i
			entries = append(entries, entry{Key: line})
		} else {
			entries[i].Value = append(entries[i].Value, ' ')
		}
		entries[i].Value = strconv.AppendInt(entries[i].Value, int64(number), 10)
	}
	fmt.Printf("text:     %s, %d lines, %d different ones that fit into a key\n", file, number, len(entries))
	return entries
}

// isDeleted reports whether entry i is deleted again. Every tenth is.
func isDeleted(i int) bool { return i%10 == 9 }

// job is the task of the writing process, report its answer.
type (
	job struct {
		Dir     string
		Entries []entry
	}
	report struct {
		Writes   uint64 // acknowledged
		Syncs    uint64 // for these writes
		Took     time.Duration
		ReadBack int
		Deleted  int
		Keys     int    // in the store at the end
		Error    string // "" if there was none
	}
)

// writerProcess is a second process of this program, the one that is killed.
// One process is not enough: the process that has opened a directory holds its
// lock until it closes the store or ends.
type writerProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser // stays open, so that the child notices when this process ends
	stdout io.Reader
}

// startWriter starts the writing process and sends it its job. The process is
// killed when ctx ends.
func startWriter(ctx context.Context, dir string, entries []entry) (*writerProcess, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &writerProcess{cmd: exec.CommandContext(ctx, program)}
	w.cmd.Env = append(os.Environ(), writerEnv+"=1")
	w.cmd.Stderr = os.Stderr
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if w.stdout, err = w.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	if err := gob.NewEncoder(w.stdin).Encode(job{dir, entries}); err != nil {
		return nil, errors.Join(err, w.kill())
	}
	return w, nil
}

// report waits until the writing process has done its job.
func (w *writerProcess) report() (report, error) {
	var r report
	if err := gob.NewDecoder(w.stdout).Decode(&r); err != nil {
		return r, fmt.Errorf("no report from the writing process: %w", err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// kill ends the writing process like a crash, with SIGKILL or its equivalent,
// which a process cannot handle.
func (w *writerProcess) kill() error {
	if err := w.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err := w.cmd.Wait()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return nil // a process that was killed has not ended well
	}
	return err
}

// beWriter is the main function of the writing process. It does its job,
// reports, and waits to be killed.
func beWriter(in io.Reader, out io.Writer) error {
	// A terminal sends an interrupt to both processes. The parent cleans up and
	// kills this one.
	signal.Ignore(os.Interrupt)
	var j job
	if err := gob.NewDecoder(in).Decode(&j); err != nil {
		return err
	}
	r, err := j.do()
	if err != nil {
		r.Error = err.Error()
	}
	if err := gob.NewEncoder(out).Encode(r); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in) // nothing arrives: this returns when the parent has ended
	return err
}

// do opens the store, uses it, and does not close it.
func (j job) do() (r report, err error) {
	store, err := kvstore.Open(j.Dir)
	if err != nil {
		return r, err
	}
	if err := r.writeAll(store, j.Entries); err != nil {
		return r, err
	}
	if r.ReadBack, err = readBack(store, j.Entries); err != nil {
		return r, err
	}
	if r.Deleted, err = deleteSome(store, j.Entries); err != nil {
		return r, err
	}
	r.Keys = store.Len()
	return r, nil
}

// writeAll writes the entries and measures the time. When a Set has returned,
// its write is on disk.
func (r *report) writeAll(store *kvstore.Store, entries []entry) error {
	before, started := store.Stats(), time.Now()
	err := fromManyGoroutines(len(entries), func(i int) error {
		return store.Set(entries[i].Key, entries[i].Value)
	})
	r.Took = time.Since(started)
	after := store.Stats()
	r.Writes, r.Syncs = after.Commits-before.Commits, after.Syncs-before.Syncs
	return err
}

// readBack compares the values in the store with those written, and returns
// their number.
func readBack(store *kvstore.Store, entries []entry) (int, error) {
	for _, e := range entries {
		value, ok := store.Get(e.Key)
		if !ok || !bytes.Equal(value, e.Value) {
			return 0, fmt.Errorf("key %.80q has value %.80q, %t; the written value is %.80q", e.Key, value, ok, e.Value)
		}
	}
	return len(entries), nil
}

// deleteSome deletes every tenth entry and returns their number. A Delete is as
// durable as a Set.
func deleteSome(store *kvstore.Store, entries []entry) (int, error) {
	var deleted atomic.Int64
	err := fromManyGoroutines(len(entries), func(i int) error {
		if !isDeleted(i) {
			return nil
		}
		deleted.Add(1)
		return store.Delete(entries[i].Key)
	})
	return int(deleted.Load()), err
}

// fromManyGoroutines calls do(0) to do(n-1) from many goroutines. The slower
// the disk, the more of them wait for the same fsync.
func fromManyGoroutines(n int, do func(i int) error) error {
	var group errgroup.Group
	var next atomic.Int64
	for range goroutines {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := do(i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

func (r report) print() {
	seconds, syncs := max(r.Took.Seconds(), 1e-9), max(r.Syncs, 1)
	fmt.Printf("wrote:    %d keys from %d goroutines in %v: %.0f durable writes/s\n",
		r.Writes, goroutines, r.Took.Round(time.Microsecond), float64(r.Writes)/seconds)
	fmt.Printf("          %d fsyncs, %.1f writes per fsync\n", r.Syncs, float64(r.Writes)/float64(syncs))
	fmt.Printf("read:     %d keys, all as written\n", r.ReadBack)
	fmt.Printf("deleted:  %d keys, %d are left\n", r.Deleted, r.Keys)
}

// reopen opens the store, prints what recovery found, checks the keys, and
// closes the store.
func reopen(ctx context.Context, dir string, entries []entry, keys int) (found kvstore.Recovery, err error) {
	if err := ctx.Err(); err != nil {
		return found, err
	}
	store, err := kvstore.Open(dir)
	if err != nil {
		return found, err
	}
	found = store.Stats().Recovery
	printRecovery(found)
	if err := checkAll(store, entries, keys); err != nil {
		return found, errors.Join(err, store.Close())
	}
	fmt.Printf("checked:  %d keys, all as written, and none that was deleted\n", store.Len())
	if err := store.Close(); err != nil {
		return found, err
	}
	fmt.Println("closed:   with a snapshot")
	return found, nil
}

func printRecovery(r kvstore.Recovery) {
	snapshot := r.Snapshot
	if snapshot == "" {
		snapshot = "no snapshot"
	}
	fmt.Printf("reopened: in %v: %s, and %d writes in %d groups replayed from the log\n",
		r.Took.Round(time.Microsecond), snapshot, r.Entries, r.Groups)
	for _, d := range r.Dropped {
		fmt.Printf("          %d bytes of an incomplete write dropped from %s at offset %d\n",
			d.Bytes, d.File, d.Offset)
	}
}

// checkAll verifies that the store has all entries that were written and not
// deleted, and as many keys as before.
func checkAll(store *kvstore.Store, entries []entry, keys int) error {
	if store.Len() != keys {
		return fmt.Errorf("the store has %d keys and had %d", store.Len(), keys)
	}
	for i := range entries {
		if !isDeleted(i) {
			if _, err := readBack(store, entries[i:i+1]); err != nil {
				return err
			}
		} else if store.Has(entries[i].Key) {
			return fmt.Errorf("key %.80q was deleted and is back", entries[i].Key)
		}
	}
	return nil
}
