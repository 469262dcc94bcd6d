package commands

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kvstore"
)

// maxInFlight is how many batches are under way at most. A few keep the writer busy; each holds about batchBytes.
const maxInFlight = 16

func newLoad(a *app) *cobra.Command {
	l := &loader{app: a}
	cmd := &cobra.Command{
		Use:   "load FILE|-",
		Short: "Set many keys, from lines of NDJSON or TSV",
		Long: `Set a key for each line of FILE or, with -, of the standard input. Lines are written in
batches, each of them durable as a whole; the store is created if it is not there, and
keys that are in it already are overwritten.

NDJSON has an object on each line: {"key":"a","value":"b"}. In place of "key" there may
be "key64" in base64 or "keyhex" in hexadecimal, in place of "value" "value64" or
"valuehex". TSV has key, tab, value; \t \n \r \\ stand for tab, newline, carriage return
and backslash, \xHH for any byte; with --hex or --base64 both fields are in that
encoding. Empty lines are skipped.

A bad line is reported with its number. More of them than --max-errors end the load.

SIGINT ends it too, and so does a full disk, say. Then the number of a line is told: it
and all lines before it are durable. --from-line goes on behind it; lines that are there
already are set again. With 0 for the exit code, all lines are durable.`,
		Example: `  kvstore load users.ndjson
  zcat dump.tsv.gz | kvstore load --format tsv -
  kvstore load --from-line 1200001 --max-errors 100 users.ndjson`,
		Args: takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error { return l.run(args[0]) },
	}
	l.flags.add(cmd)
	cmd.Flags().Int64Var(&l.maxErrors, "max-errors", 0, "go on after so `many` bad lines; -1 for any number")
	cmd.Flags().Int64Var(&l.fromLine, "from-line", 1, "begin with line `N`, counted from 1")
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "do not tell in the end what was done")
	return cmd
}

// loader is a load command. Its reader parses the input and fills batches; it hands them to the store, and keeps count of what is durable.
type loader struct {
	app                 *app
	flags               dumpFlags
	maxErrors, fromLine int64
	quiet               bool

	store    *kvstore.Store
	progress *progress
	inFlight []flight // oldest first
	keys     int64    // durable
	bad      int64    // lines
	line     int64    // it and all before it are durable
}

// flight is a batch under way.
type flight struct {
	commit *kvstore.Commit
	keys   int64
	line   int64 // the last one in it
	bytes  int64 // of the input up to there
}

func (l *loader) run(name string) error {
	if l.fromLine < 1 || l.maxErrors < -1 {
		return usagef("--from-line is at least 1, --max-errors at least -1")
	}
	if l.maxErrors < 0 {
		l.maxErrors = math.MaxInt64
	}
	ctx, release := interruptible(context.Background())
	defer release()
	in, err := l.app.input(ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(l.app.with(false, func(s *kvstore.Store) error {
		return l.load(s, in, l.flags.format(name))
	}), in.close())
}

// load moves the input into the store and says how far it came.
func (l *loader) load(s *kvstore.Store, in *inputFile, format dumpFormat) error {
	started := time.Now()
	l.store, l.line = s, l.fromLine-1
	l.progress = l.app.progress("load", in.size, inBytes)
	err := l.move(newLoadReader(in, format, l.fromLine, l.maxErrors))
	l.progress.end()
	if err != nil {
		l.app.warn("all lines up to %d are durable: go on with --from-line %d", l.line, l.line+1)
		return err
	}
	if !l.quiet {
		took := time.Since(started)
		l.app.warn("%s keys loaded from %s lines in %v: %s keys/s, %s fsyncs, %s bad lines",
			humanize.Comma(l.keys), humanize.Comma(l.line-l.fromLine+1), took.Round(time.Millisecond),
			humanize.Comma(int64(float64(l.keys)/took.Seconds())), humanize.Comma(int64(s.Stats().Syncs)), humanize.Comma(l.bad))
	}
	return nil
}

// move hands batches to the store until there are no more, or one fails. Either way it waits for all that are under way.
func (l *loader) move(r *loadReader) error {
	go r.run()
	defer r.stop()
	for batch := range r.full {
		for _, line := range batch.bad {
			l.bad++
			l.progress.clear()
			l.app.warn("%v", line)
		}
		// The commit cannot be taken back, so there is no context to end it: who interrupts ends the input.
		commit := l.store.ApplyAsync(context.Background(), &batch.writes)
		l.inFlight = append(l.inFlight, flight{commit, int64(batch.writes.Len()), batch.line, batch.bytes})
		r.recycle(batch)
		if err := l.land(maxInFlight - 1); err != nil {
			return err
		}
	}
	return errors.Join(l.land(0), r.err)
}

// land waits until no more than so many batches are under way.
func (l *loader) land(most int) error {
	for len(l.inFlight) > most {
		f := l.inFlight[0]
		l.inFlight = l.inFlight[1:]
		if err := f.commit.Wait(context.Background()); err != nil {
			return err
		}
		l.keys += f.keys
		l.line = max(l.line, f.line)
		l.progress.show(fmt.Sprintf("load %s keys, %s fsyncs", humanize.Comma(l.keys), humanize.Comma(int64(l.store.Stats().Syncs))), f.bytes)
	}
	return nil
}
