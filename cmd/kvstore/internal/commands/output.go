package commands

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"kvstore/cmd/kvstore/internal/lines"
)

// outputBytes is the size of the buffers for output.
const outputBytes = 64 << 10

// print calls do with a buffer before the standard output.
func (a *app) print(do func(w *bufio.Writer) error) error { return writeTo(a.stdout, do) }

// writeTo calls do with a buffer before w.
func writeTo(w io.Writer, do func(w *bufio.Writer) error) error {
	buffered := bufio.NewWriterSize(w, outputBytes)
	if err := do(buffered); err != nil {
		return err
	}
	return buffered.Flush()
}

// newPrinter returns a printer of pairs to w. With now, the store's clock, it
// shows deadlines in each format, and not in JSON alone.
func newPrinter(w *bufio.Writer, f outputFormat, e lines.Encoding, now func() time.Time) lines.Printer {
	switch f {
	case jsonFormat:
		return lines.NewArrayPrinter(w, e)
	case rawFormat:
		return lines.NewPrinter(w, lines.Raw{Encoding: e, Deadlines: now != nil})
	case tableFormat:
		return lines.NewPrinter(w, lines.Table{Encoding: e, Now: now})
	case ndjsonFormat:
	}
	return lines.NewPrinter(w, lines.NDJSON{Encoding: e})
}

// report is a result other than pairs: a few named figures. For JSON it is
// marshaled.
type report interface{ rows() []row }

// row is one of the figures.
type row struct {
	name  string
	value any    // for programs
	text  string // for people; "" means value
}

// report prints r.
func (a *app) report(f outputFormat, r report) error {
	return a.print(func(w *bufio.Writer) error {
		switch f {
		case jsonFormat:
			return lines.WriteJSON(w, r, true)
		case ndjsonFormat:
			return lines.WriteJSON(w, r, false)
		case rawFormat:
			return writeValues(w, r.rows())
		case tableFormat:
		}
		return writeTable(w, r.rows())
	})
}

// writeValues writes the values alone, each on a line.
func writeValues(w io.Writer, rows []row) error {
	for _, r := range rows {
		if _, err := fmt.Fprintln(w, r.value); err != nil {
			return err
		}
	}
	return nil
}

// writeTable writes a column of names and one of texts.
func writeTable(w io.Writer, rows []row) error {
	width := 0
	for _, r := range rows {
		width = max(width, len(r.name)) // names are ASCII
	}
	for _, r := range rows {
		text := r.text
		if text == "" {
			text = fmt.Sprint(r.value)
		}
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, r.name, lines.Printable(text)); err != nil {
			return err
		}
	}
	return nil
}
