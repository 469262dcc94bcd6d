package lines

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hidden are runes that a terminal obeys, or that hide or reorder others: C0
// and C1 controls, marks of direction, separators, a byte order mark, a private
// one, a noncharacter.
const hidden = "\x00\x1b\x7f\u0085\u009b\u00a0\u00ad\u061c\u200b\u200d\u200f\u2028\u2029\u202e\u2066\u3000\ufeff" +
	"\ufff9\ue000\uffff\U000e0001\U0010ffff"

// FuzzPrintable: whatever bytes keys and values have, no rune that is not
// printable is in a table, a line of TSV or a message, but for the tab of TSV.
func FuzzPrintable(f *testing.F) {
	f.Add([]byte(hidden), []byte("a\tb\n\\\xff"))
	f.Add([]byte("\xc2"), []byte(strings.Repeat(hidden, 10)))
	f.Add([]byte("e\u0301\u65e5\U0001f600"), []byte("\xed\xa0\x80\xef\xbb\xbf"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		p := Pair{Key: key, Value: value}
		tsv := string(TSV{}.Append(nil, p))
		if strings.Count(tsv, "\t") != 1 {
			t.Errorf("%q has not one tab", tsv)
		}
		for place, text := range map[string]string{
			"table":     string(Table{}.Append(nil, p)),
			"hex table": string(Table{Encoding: Hex}.Append(nil, p)),
			"TSV":       strings.Replace(tsv, "\t", "", 1),
			"message":   Printable(string(key) + string(value)),
		} {
			at := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
			if at >= 0 || !utf8.ValidString(text) {
				t.Errorf("%s: %q has %q", place, text, text[max(at, 0):])
			}
		}
		back, err := TSV{}.Parse([]byte(tsv))
		if err != nil || !bytes.Equal(back.Key, key) || !bytes.Equal(back.Value, value) {
			t.Errorf("%q is read as %q, %q, %v", tsv, back.Key, back.Value, err)
		}
	})
}

// What people read every day stays as it is.
func TestPrintableKeeps(t *testing.T) {
	for _, text := range []string{"", "a b", `c:\d`, "ü日本語", "e\u0301", "\U0001f600", "\ufffd", "┌ 1 %"} {
		if got := Printable(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
		key, err := unescape(appendEscaped(nil, []byte(text)))
		if err != nil || string(key) != text {
			t.Errorf("%q became %q, %v", text, key, err)
		}
	}
	if got := string(appendEscaped(nil, []byte("ü日本語\u2028"))); got != `ü日本語\xe2\x80\xa8` {
		t.Errorf("a field is %s", got)
	}
}
