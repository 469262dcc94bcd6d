package lines

import (
	"strings"
	"testing"
)

// Values are aligned by the columns that keys take on a terminal: a wide
// character takes two, a combining one none.
func TestTableAlignsColumns(t *testing.T) {
	for key, spaces := range map[string]int{
		"":                              26,
		"key":                           23,
		"日本語":                           20,
		"e\u0301":                       25,
		"\U0001f600":                    24,
		strings.Repeat("k", 24):         2,
		strings.Repeat("k", 30):         2,
		strings.Repeat("日本語", 4):        2,
		strings.Repeat("日本語", 3):        8,
		strings.Repeat("日本語", 3) + "\t": 6,
	} {
		line := string(Table{}.Append(nil, Pair{Key: []byte(key), Value: []byte("value")}))
		text, ok := strings.CutSuffix(line, strings.Repeat(" ", spaces)+"value")
		if !ok || text != strings.ReplaceAll(key, "\t", `\t`) {
			t.Errorf("key %q: %q, want %d spaces", key, line, spaces)
		}
	}
}

// What is longer than 64 characters is cut, and its size follows.
func TestTableShortens(t *testing.T) {
	for _, c := range []struct {
		encoding    Encoding
		value, want string
	}{
		{Plain, strings.Repeat("v", 64), strings.Repeat("v", 64)},
		{Plain, strings.Repeat("v", 65), strings.Repeat("v", 64) + "… (65 B)"},
		{Plain, strings.Repeat("é", 65), strings.Repeat("é", 64) + "… (130 B)"},
		{Plain, strings.Repeat("v", 5000), strings.Repeat("v", 64) + "… (5.0 kB)"},
		{Plain, "a\\b\x00\xff\n", `a\\b\x00\xff\n`},
		{Hex, strings.Repeat("v", 32), strings.Repeat("76", 32)},
		{Hex, strings.Repeat("v", 33), strings.Repeat("76", 32) + "… (33 B)"},
	} {
		if got := (Table{Encoding: c.encoding}).Text([]byte(c.value)); got != c.want {
			t.Errorf("%.70q is shown as %q, want %q", c.value, got, c.want)
		}
	}
}
