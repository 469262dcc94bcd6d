package commands

import (
	"bufio"
	"bytes"
	"testing"

	"kvstore/cmd/kvstore/internal/inspect"
	"kvstore/cmd/kvstore/internal/lines"
)

// A deadline is shown in UTC, with nanoseconds.
func TestLogOfDeadlines(t *testing.T) {
	expire := inspect.Record{
		What: inspect.Expire, File: "f", Offset: 53, Bytes: 30, Place: inspect.Inside, Group: 7, Key: []byte("k"),
		Value: 8, Expires: 1767225601_000000001,
	}
	never := expire
	never.Expires = 0
	cause := inspect.Record{
		What: inspect.Cause, File: "f", Offset: 53, Bytes: 22, Place: inspect.First, Group: 7, Value: 1, Note: "why",
	}
	for _, row := range []struct {
		record inspect.Record
		format outputFormat
		want   string
	}{
		{expire, tableFormat, "│         53  EXPIRE   k  expires 2026-01-01T00:00:01.000000001Z\n"},
		{never, tableFormat, "│         53  EXPIRE   k  never expires\n"},
		{cause, tableFormat, "┌         53  CAUSE    why\n"},
		{
			expire, ndjsonFormat,
			`{"what":"EXPIRE","file":"f","offset":53,"bytes":30,"group":7,"key":"k",` +
				`"expires":"2026-01-01T00:00:01.000000001Z"}` + "\n",
		},
		{never, ndjsonFormat, `{"what":"EXPIRE","file":"f","offset":53,"bytes":30,"group":7,"key":"k"}` + "\n"},
		{cause, ndjsonFormat, `{"what":"CAUSE","file":"f","offset":53,"bytes":22,"group":7,"note":"why"}` + "\n"},
	} {
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		p := newLogPrinter(w, row.format, lines.Plain)
		if err := p.record(&row.record); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil || b.String() != row.want {
			t.Errorf("got %q, want %q, %v", b.String(), row.want, err)
		}
	}
}
