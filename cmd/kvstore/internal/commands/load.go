package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

// maxInFlight bounds the batches under way. A few keep the writer busy; each
// holds about batchBytes.
const maxInFlight = 16

func newLoad(a *app) *cobra.Command {
	l := &loader{app: a}
	cmd := &cobra.Command{
		Use:   "load FILE|-",
		Short: "Set many keys, from lines of NDJSON or TSV",
		Long: `Set a key for each line of FILE or, with -, of the standard input. The lines are written
in batches, each of which is durable as a whole. The command creates the store if it
does not exist, and overwrites keys that the store has already. Input that is refused at
its beginning makes no store.

NDJSON has an object on each line: {"key":"a","value":"b"}. In place of "key" there may
be "key64" in base64 or "keyhex" in hexadecimal, and in place of "value" there may be
"value64" or "valuehex". "expires":"2026-12-31T23:59:59Z" is the time at which the key is
gone; a line whose time has passed deletes the key. TSV has key, tab and value; \t \n \r \\ stand for tab, newline,
carriage return and backslash, and \xHH for any byte. With --hex or --base64, both
fields of TSV are in that encoding. Empty lines are skipped.

A bad line is reported with its number. The load ends when there are more bad lines than
--max-errors.

SIGINT ends the load too, and so does an error such as a full disk. The command then
prints the number of a line: this line and all lines before it are durable. --from-line
continues with the line that follows; lines that the store has already are set again. The
input must have the line before it. When the exit code is 0, all lines are durable.`,
		Example: `  kvstore load users.ndjson
  zcat dump.tsv.gz | kvstore load --format tsv -
  kvstore load --from-line 1200001 --max-errors 100 users.ndjson`,
		Args: argCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error { return l.run(args[0]) },
	}
	l.flags.add(cmd)
	cmd.Flags().Int64Var(&l.maxErrors, "max-errors", 0, "continue after this `number` of bad lines; -1 for any number")
	cmd.Flags().Int64Var(&l.fromLine, "from-line", 1, "begin with line `N`, counted from 1")
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "print no summary at the end")
	return cmd
}

// loader is a load command. A loadReader parses the input and fills batches in
// a goroutine of its own. The loader commits the batches and tracks what is
// durable.
type loader struct {
	app                 *app
	flags               dumpFlags
	maxErrors, fromLine int64
	quiet               bool

	store    *kvstore.Store
	progress *progress
	inFlight []batchInFlight // oldest first
	keys     int64           // durable
	bad      int64           // lines
	line     int64           // this line and all before it are durable
}

// batchInFlight is a batch that was handed to the store.
type batchInFlight struct {
	commit *kvstore.Commit
	keys   int64
	line   int64 // the last line in it
	bytes  int64 // of the input, up to the end of that line
}

func (l *loader) run(name string) error {
	if l.fromLine < 1 || l.maxErrors < -1 {
		return usagef("--from-line is at least 1, --max-errors at least -1")
	}
	if l.maxErrors < 0 {
		l.maxErrors = math.MaxInt64
	}
	if _, err := l.app.dataDir(); err != nil {
		return err
	}
	in, err := l.app.input(name)
	if err != nil {
		return err
	}
	err = l.app.protect(func(ctx context.Context) error {
		l.progress = l.app.progress("load", in.size, inBytes)
		return l.load(in.until(ctx), l.flags.codec(name))
	})
	return errors.Join(err, in.close())
}

// load moves the input into the store. It opens the store, which may make it,
// when there is something to write, or the input has ended without an error. So
// input that is refused at its beginning makes no store.
func (l *loader) load(in io.Reader, format lines.Codec) error {
	l.line = l.fromLine - 1
	r := newLoadReader(in, format, l.fromLine, l.maxErrors)
	go r.run()
	defer r.stop()
	first, err := l.first(r)
	if err == nil {
		err = l.app.withWriter(toCreate, func(_ context.Context, s *kvstore.Store) error {
			l.store = s
			return l.fill(r, first)
		})
	}
	l.progress.end()
	if l.store == nil && errors.Is(err, errInterrupted) {
		l.printDurable()
	}
	return err
}

// printDurable prints how far the load came.
func (l *loader) printDurable() {
	l.progress.end()
	l.app.warnf("all lines up to %d are durable: go on with --from-line %d", l.line, l.line+1)
}

// next returns the next batch, nil behind the last one, and prints its bad
// lines.
func (l *loader) next(r *loadReader) *loadBatch {
	batch, ok := <-r.full
	if !ok {
		return nil
	}
	for _, line := range batch.bad {
		l.bad++
		l.progress.clear()
		l.app.warnf("%v", line)
	}
	return batch
}

// first returns the first batch with something to write, nil if there is none.
func (l *loader) first(r *loadReader) (*loadBatch, error) {
	for batch := l.next(r); batch != nil; batch = l.next(r) {
		if batch.isLarge() || batch.writes.Len() > 0 {
			return batch, nil
		}
		l.line = max(l.line, batch.line)
		r.recycle(batch)
	}
	if last := r.lines.Number(); r.err == nil && last < l.fromLine-1 {
		return nil, usagef("--from-line %d: the input ends with line %d", l.fromLine, last)
	}
	return nil, r.err
}

// fill commits all batches from the first one on, and prints a summary, or how
// far it came.
func (l *loader) fill(r *loadReader, first *loadBatch) error {
	started := time.Now()
	err := l.move(r, first)
	l.progress.end()
	if err != nil {
		l.printDurable()
		return err
	}
	if !l.quiet {
		took := time.Since(started)
		l.app.warnf("%s loaded from %s in %v: %s keys/s, %s, %s",
			counted(l.keys, "key"), counted(l.line-l.fromLine+1, "line"), took.Round(time.Millisecond),
			humanize.Comma(int64(float64(l.keys)/took.Seconds())), counted(l.store.Stats().Syncs, "fsync"),
			counted(l.bad, "bad line"))
	}
	return nil
}

// move commits batches until there are no more, or one fails. In both cases it
// waits for those in flight.
func (l *loader) move(r *loadReader, first *loadBatch) error {
	for batch := first; batch != nil; batch = l.next(r) {
		// A commit cannot be taken back, so no context ends it: a signal ends
		// the input instead.
		commit := l.store.ApplyAsync(context.Background(), &batch.writes)
		inFlight := batchInFlight{commit, int64(batch.writes.Len()), batch.line, batch.bytes}
		if batch.isLarge() {
			inFlight.line--
		}
		l.inFlight = append(l.inFlight, inFlight)
		if err := l.setLarge(batch); err != nil {
			return err
		}
		r.recycle(batch)
		if err := l.wait(maxInFlight - 1); err != nil {
			return err
		}
	}
	return errors.Join(l.wait(0), r.err)
}

// setLarge sets the large value of a batch, if there is one, when all before it
// is durable.
func (l *loader) setLarge(b *loadBatch) error {
	if !b.isLarge() {
		return nil
	}
	if err := l.wait(0); err != nil {
		return err
	}
	if err := l.store.SetUntil(b.key, b.value, b.expires); err != nil {
		return err
	}
	l.keys++
	l.line = b.line
	debug.FreeOSMemory() // of the value, before the next one is read, or the store's snapshot is written
	return nil
}

// wait waits until at most most batches are in flight.
func (l *loader) wait(most int) error {
	for len(l.inFlight) > most {
		b := l.inFlight[0]
		l.inFlight = l.inFlight[1:]
		if err := b.commit.Wait(context.Background()); err != nil {
			return err
		}
		l.keys += b.keys
		l.line = max(l.line, b.line)
		fsyncs := counted(l.store.Stats().Syncs, "fsync")
		l.progress.show(fmt.Sprintf("load %s, %s", counted(l.keys, "key"), fsyncs), b.bytes)
	}
	return nil
}
