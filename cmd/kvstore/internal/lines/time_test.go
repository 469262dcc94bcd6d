package lines

import (
	"math"
	"testing"
	"time"
)

// A deadline comes back from its line to the nanosecond, and is the same moment
// in each zone.
func TestDeadlineOfALine(t *testing.T) {
	for text, want := range map[string]time.Time{
		"":                               {},
		"2026-01-31T12:00:00Z":           time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		"2026-01-31T12:00:00.000000001Z": time.Date(2026, 1, 31, 12, 0, 0, 1, time.UTC),
		"1970-01-01T00:00:00Z":           time.Unix(0, 0),
		"1677-09-21T00:12:43.145224192Z": time.Unix(0, math.MinInt64),
		"2262-04-11T23:47:16.854775807Z": time.Unix(0, math.MaxInt64),
	} {
		member := ""
		if text != "" {
			member = `,"expires":"` + text + `"`
		}
		line := string(NDJSON{}.Append(nil, Pair{Key: []byte("k"), Value: []byte("v"), Expires: want}))
		if line != `{"key":"k","value":"v"`+member+`}` {
			t.Errorf("%v: %s", want, line)
		}
		p, err := NDJSON{}.Parse([]byte(line))
		if err != nil || !p.Expires.Equal(want) || string(p.Key)+string(p.Value) != "kv" {
			t.Errorf("%s: %v, %v", line, p.Expires, err)
		}
	}
	p, err := NDJSON{}.Parse([]byte(`{"expires":"2026-01-31T13:30:00+01:30","key":"","value":""}`))
	if want := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC); err != nil || !p.Expires.Equal(want) {
		t.Errorf("%v, %v", p.Expires, err)
	}
}

// What is no moment, or none that a deadline can be, is refused: also the zero
// time, which would mean that the key stays.
func TestParseTimeRefuses(t *testing.T) {
	for _, text := range []string{
		"", "tomorrow", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00Z", "2026-02-30T12:00:00Z",
		"1769860800", "0001-01-01T00:00:00Z",
		"1677-09-21T00:12:43.145224191Z", "2262-04-11T23:47:16.854775808Z", "9999-12-31T23:59:59Z",
	} {
		if got, err := ParseTime(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// Tables and raw lines have a column for deadlines if that is asked for.
func TestColumnsOfDeadlines(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	table, raw := Table{Now: func() time.Time { return now }}, Raw{Deadlines: true}
	for _, c := range []struct {
		expires    time.Time
		table, raw string
	}{
		{time.Time{}, "k                         never            v", "k\t\tv"},
		{now.Add(90 * time.Second), "k                         1m30s            v", "k\t2026-01-31T12:01:30Z\tv"},
		{now.Add(1), "k                         1ms              v", "k\t2026-01-31T12:00:00.000000001Z\tv"},
		{now.Add(-1), "k                         1ms              v", "k\t2026-01-31T11:59:59.999999999Z\tv"},
	} {
		p := Pair{Key: []byte("k"), Value: []byte("v"), Expires: c.expires}
		if got := string(table.Append(nil, p)); got != c.table {
			t.Errorf("%v: %q, want %q", c.expires, got, c.table)
		}
		if got := string(raw.Append(nil, p)); got != c.raw {
			t.Errorf("%v: %q, want %q", c.expires, got, c.raw)
		}
	}
}
