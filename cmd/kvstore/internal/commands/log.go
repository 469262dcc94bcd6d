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

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kvstore/cmd/kvstore/internal/inspect"
	"kvstore/cmd/kvstore/internal/lines"
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
		Long: `Print the log as it is on disk: each entry with its offset, op, key, number of bytes of
the value, and time of its commit. A bracket joins the entries of a group: the writes
that one fsync made durable. The COMMIT of a group has its number and D, the last group
that was known to be durable when it was written. Bytes that are no group are marked as
an incomplete write, which an opener drops, or as damage.

A snapshot removes the log that it covers, so the output begins behind the snapshot.

The command takes no lock and writes nothing, so the store may be open. With --follow,
it prints what the store writes, until SIGINT.`,
		Example: `  kvstore log
  kvstore log --follow -o ndjson | jq -r 'select(.what == "SET").key'`,
		Args: argCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			return a.protect(func(ctx context.Context) error {
				return a.log(ctx, dir, follow, output, flags.encoding())
			})
		},
	}
	output.add(cmd)
	flags.add(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "F", false, "continue with what is written")
	return cmd
}

func (a *app) log(ctx context.Context, dir string, follow bool, output outputFormat, e lines.Encoding) error {
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
	return interrupted(err)
}

// logPrinter prints records one at a time.
type logPrinter interface {
	record(r *inspect.Record) error
	end() error
}

func newLogPrinter(w *bufio.Writer, f outputFormat, e lines.Encoding) logPrinter {
	switch f {
	case jsonFormat:
		return &logArray{array: lines.NewArray(w), encoding: e}
	case ndjsonFormat:
		return &logLines{w: w, encoding: e}
	case rawFormat, tableFormat:
	}
	return &logTable{w: w, keys: lines.Table{Encoding: e}}
}

// logTable prints the log for people.
type logTable struct {
	w    io.Writer
	keys lines.Table
}

// brackets join the entries of a group.
var brackets = [...]string{inspect.Outside: " ", inspect.First: "┌", inspect.Inside: "│", inspect.Last: "└"}

func (p *logTable) record(r *inspect.Record) error {
	parts := []string{}
	switch r.What {
	case inspect.Segment:
		if _, err := fmt.Fprintln(p.w, lines.Printable(r.File)); err != nil {
			return err
		}
	case inspect.GapRecord:
	case inspect.Set:
		parts = append(parts, p.keys.Text(r.Key), humanize.Comma(r.Value)+" B")
	case inspect.Delete, inspect.Unknown:
		parts = append(parts, p.keys.Text(r.Key))
	case inspect.Expire:
		parts = append(parts, p.keys.Text(r.Key), expiryText(r.Expires))
	case inspect.Cause:
	case inspect.Commit:
		parts = append(parts, fmt.Sprintf("group %d", r.Group), fmt.Sprintf("D %d", r.Durable))
	case inspect.End:
		parts = append(parts, fmt.Sprintf("last group %d", r.Group), fmt.Sprintf("D %d", r.Durable))
	case inspect.Damaged, inspect.Torn, inspect.Unjudged, inspect.Reserved:
		parts = append(parts, counted(r.Bytes, "byte"))
	}
	if r.Version != 0 {
		parts = append(parts, time.Unix(0, r.Version).Format(time.RFC3339Nano))
	}
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	text := lines.Printable(strings.Join(parts, "  "))
	_, err := fmt.Fprintf(p.w, "%s %10d  %-8s %s\n", brackets[r.Place], r.Offset, r.What, text)
	return err
}

// expiryText says when a key expires.
func expiryText(deadline int64) string {
	if deadline == 0 {
		return "never expires"
	}
	return "expires " + deadlineTime(deadline).Format(time.RFC3339Nano)
}

// deadlineTime returns a deadline, which is UTC wherever it is shown, or the
// zero time for none.
func deadlineTime(deadline int64) time.Time {
	if deadline == 0 {
		return time.Time{}
	}
	return time.Unix(0, deadline).UTC()
}

func (p *logTable) end() error { return nil }

// logObject is a record for JSON. Keys are encoded as in NDJSON.
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
	Expires time.Time    `json:"expires,omitzero"`
	Version int64        `json:"version,omitempty"`
	Time    time.Time    `json:"time,omitzero"`
	Note    string       `json:"note,omitempty"`
}

func newLogObject(r *inspect.Record, e lines.Encoding) logObject {
	o := logObject{
		What: r.What, File: r.File, Offset: r.Offset, Bytes: r.Bytes, Group: r.Group, Version: r.Version, Note: r.Note,
	}
	if r.Version != 0 {
		o.Time = time.Unix(0, r.Version)
	}
	switch r.What {
	case inspect.Commit, inspect.End:
		o.Durable = &r.Durable
	case inspect.Set, inspect.Delete, inspect.Expire, inspect.Unknown:
		o.Expires = deadlineTime(r.Expires)
		e = e.ForJSON(r.Key)
		text := string(e.Append(nil, r.Key))
		switch e {
		case lines.Plain:
			o.Key = &text
		case lines.Base64:
			o.Key64 = &text
		case lines.Hex:
			o.KeyHex = &text
		}
		if r.What == inspect.Set {
			o.Value = &r.Value
		}
	case inspect.Segment, inspect.Cause, inspect.Damaged, inspect.Torn, inspect.Unjudged, inspect.Reserved,
		inspect.GapRecord:
	}
	return o
}

// logLines prints an object on a line for each record.
type logLines struct {
	w        io.Writer
	encoding lines.Encoding
}

func (p *logLines) record(r *inspect.Record) error {
	return lines.WriteJSON(p.w, newLogObject(r, p.encoding), false)
}

func (p *logLines) end() error { return nil }

// logArray prints one array, with an object for each record.
type logArray struct {
	array    *lines.Array
	encoding lines.Encoding
	object   bytes.Buffer // reused
}

func (p *logArray) record(r *inspect.Record) error {
	p.object.Reset()
	if err := lines.WriteJSON(&p.object, newLogObject(r, p.encoding), false); err != nil {
		return err
	}
	return p.array.Element(bytes.TrimRight(p.object.Bytes(), "\n"))
}

func (p *logArray) end() error { return p.array.End() }
