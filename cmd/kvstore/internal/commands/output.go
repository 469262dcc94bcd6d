package commands

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// format is a way to print results.
type format string

const (
	tableFormat  format = "table"
	jsonFormat   format = "json"
	ndjsonFormat format = "ndjson"
	rawFormat    format = "raw"
)

var formats = []string{string(tableFormat), string(jsonFormat), string(ndjsonFormat), string(rawFormat)}

// add makes the flag -o of a command, with f as the default.
func (f *format) add(cmd *cobra.Command) {
	cmd.Flags().VarP(f, "output", "o", "`format` of the output: "+strings.Join(formats, ", "))
	complete := cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("output", complete); err != nil {
		panic(err) // there is no flag of this name: a mistake in the lines above
	}
}

// String, Set and Type make format a flag.
func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }
func (f *format) Set(text string) error {
	if !slices.Contains(formats, text) {
		return errors.New("must be one of " + strings.Join(formats, ", "))
	}
	*f = format(text)
	return nil
}

// outputBytes is how much output is gathered for one write.
const outputBytes = 64 << 10

// print has do print to the standard output, through a buffer.
func (a *app) print(do func(w *bufio.Writer) error) error {
	w := bufio.NewWriterSize(a.stdout, outputBytes)
	return flushed(w, do(w))
}

// flushed flushes w, unless there was an error already.
func flushed(w *bufio.Writer, err error) error {
	if err != nil {
		return err
	}
	return w.Flush()
}

// report is a result that is no pair: a few figures with names. It is marshaled for JSON.
type report interface{ rows() []row }

// row is one of them.
type row struct {
	name  string
	value any    // for programs
	human string // for people; "" means as for programs
}

// report prints r.
func (a *app) report(f format, r report) error {
	return a.print(func(w *bufio.Writer) error {
		switch f {
		case jsonFormat:
			return writeJSON(w, r, true)
		case ndjsonFormat:
			return writeJSON(w, r, false)
		case rawFormat:
			return writeValues(w, r.rows())
		case tableFormat:
		}
		return writeTable(w, r.rows())
	})
}

// writeJSON writes v and a newline, on one line or on several.
func writeJSON(w io.Writer, v any, several bool) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if several {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}

func writeValues(w io.Writer, rows []row) error {
	for _, r := range rows {
		if _, err := fmt.Fprintln(w, r.value); err != nil {
			return err
		}
	}
	return nil
}

func writeTable(w io.Writer, rows []row) error {
	width := 0
	for _, r := range rows {
		width = max(width, len(r.name))
	}
	for _, r := range rows {
		text := r.human
		if text == "" {
			text = fmt.Sprint(r.value)
		}
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, r.name, text); err != nil {
			return err
		}
	}
	return nil
}
