package commands

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kvstore/cmd/kvstore/internal/inspect"
)

func newLog(a *app) *cobra.Command {
	var (
		output = tableFormat
		flags  encodingFlags
		follow bool
	)
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Print the log, entry by entry",
		Long: `Print the log as it is on disk: each entry with its offset, op, key, bytes of the value
and time of its commit. A bracket holds a group: the writes that one fsync made durable.
Its COMMIT tells its number and D, the last group that was known durable when it was
written. What is no group is judged: an incomplete write that an opener drops, or damage.

What a snapshot covers is removed from the log, so that it begins there.

No lock is taken and nothing is written: the store may be open. With --follow what
it writes is printed as it comes, until SIGINT.`,
		Example: `  kvstore log
  kvstore log --follow -o ndjson | jq -r 'select(.what == "SET").key'`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			ctx, release := interruptible(context.Background())
			defer release()
			return a.log(ctx, dir, follow, output, flags.encoding())
		},
	}
	output.add(cmd)
	flags.add(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "F", false, "go on with what is written")
	return cmd
}

func (a *app) log(ctx context.Context, dir string, follow bool, output format, e encoding) error {
	err := a.print(func(w *bufio.Writer) error {
		p := newLogPrinter(w, output, e)
		emit := func(r *inspect.Record) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return p.record(r)
		}
		err := inspect.Log(ctx, dir, follow, emit, w.Flush)
		return errors.Join(err, p.end())
	})
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	return err
}

// logPrinter prints records one by one.
type logPrinter interface {
	record(r *inspect.Record) error
	end() error
}

func newLogPrinter(w *bufio.Writer, f format, e encoding) logPrinter {
	switch f {
	case jsonFormat:
		return &logArray{logLines: logLines{w: w, encoding: e}}
	case ndjsonFormat:
		return &logLines{w: w, encoding: e}
	case rawFormat, tableFormat:
	}
	return &logTable{w: w, keys: table{e}}
}

// logTable draws the log for people.
type logTable struct {
	w    io.Writer
	keys table
}

// brackets hold the entries of a group together.
var brackets = [...]string{inspect.Outside: " ", inspect.First: "┌", inspect.Inside: "│", inspect.Last: "└"}

func (p *logTable) record(r *inspect.Record) error {
	parts := []string{}
	switch r.What {
	case inspect.Segment:
		if _, err := fmt.Fprintln(p.w, r.File); err != nil {
			return err
		}
	case inspect.GapRecord:
	case inspect.Set:
		parts = append(parts, p.keys.show(r.Key), humanize.Comma(r.Value)+" B")
	case inspect.Delete, inspect.Unknown:
		parts = append(parts, p.keys.show(r.Key))
	case inspect.Commit:
		parts = append(parts, fmt.Sprintf("group %d", r.Group), fmt.Sprintf("D %d", r.Durable))
	case inspect.End:
		parts = append(parts, fmt.Sprintf("last group %d", r.Group), fmt.Sprintf("D %d", r.Durable))
	case inspect.Damaged, inspect.Torn, inspect.Unjudged, inspect.Reserved:
		parts = append(parts, humanize.Comma(r.Bytes)+" bytes")
	}
	if r.Version != 0 {
		parts = append(parts, time.Unix(0, r.Version).Format(time.RFC3339Nano))
	}
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	_, err := fmt.Fprintf(p.w, "%s %10d  %-8s %s\n", brackets[r.Place], r.Offset, r.What, strings.Join(parts, "  "))
	return err
}

func (p *logTable) end() error { return nil }

// logLines prints an object on a line for each record.
type logLines struct {
	w        io.Writer
	encoding encoding
}

// logObject is a record for JSON. Keys are as in ndjson.
type logObject struct {
	What    inspect.What `json:"what"`
	File    string       `json:"file"`
	Offset  int64        `json:"offset"`
	Bytes   int64        `json:"bytes"`
	Group   uint64       `json:"group,omitempty"`
	Durable *uint64      `json:"durable,omitempty"`
	Key     *string      `json:"key,omitempty"`
	Key64   *string      `json:"key64,omitempty"`
	KeyHex  *string      `json:"keyhex,omitempty"`
	Value   *int64       `json:"value_bytes,omitempty"`
	Version int64        `json:"version,omitempty"`
	Time    time.Time    `json:"time,omitzero"`
	Note    string       `json:"note,omitempty"`
}

func newLogObject(r *inspect.Record, e encoding) logObject {
	o := logObject{
		What: r.What, File: r.File, Offset: r.Offset, Bytes: r.Bytes, Group: r.Group, Version: r.Version, Note: r.Note,
	}
	if r.Version != 0 {
		o.Time = time.Unix(0, r.Version)
	}
	switch r.What {
	case inspect.Commit, inspect.End:
		o.Durable = &r.Durable
	case inspect.Set, inspect.Delete, inspect.Unknown:
		if e == plainText && !utf8.Valid(r.Key) {
			e = base64Text
		}
		text := string(e.append(nil, r.Key))
		switch e {
		case plainText:
			o.Key = &text
		case base64Text:
			o.Key64 = &text
		case hexText:
			o.KeyHex = &text
		}
		if r.What == inspect.Set {
			o.Value = &r.Value
		}
	case inspect.Segment, inspect.Damaged, inspect.Torn, inspect.Unjudged, inspect.Reserved, inspect.GapRecord:
	}
	return o
}

func (p *logLines) record(r *inspect.Record) error {
	return writeJSON(p.w, newLogObject(r, p.encoding), false)
}
func (p *logLines) end() error { return nil }

// logArray prints an array of them.
type logArray struct {
	logLines
	begun bool
}

func (p *logArray) record(r *inspect.Record) error {
	before := "[\n  "
	if p.begun {
		before = ",\n  "
	}
	p.begun = true
	var line bytes.Buffer
	line.WriteString(before)
	if err := writeJSON(&line, newLogObject(r, p.encoding), false); err != nil {
		return err
	}
	_, err := p.w.Write(bytes.TrimRight(line.Bytes(), "\n"))
	return err
}

func (p *logArray) end() error {
	text := "\n]\n"
	if !p.begun {
		text = "[]\n"
	}
	_, err := io.WriteString(p.w, text)
	return err
}
