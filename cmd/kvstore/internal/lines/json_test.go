package lines

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"
)

// An array of any number of pairs is valid JSON, with an element on each line.
func TestArrayPrinter(t *testing.T) {
	for count := range 4 {
		var text strings.Builder
		w := bufio.NewWriter(&text)
		p := NewArrayPrinter(w, Plain)
		for range count {
			if err := p.Pair(Pair{Key: []byte("k\n"), Value: []byte("\xff")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.End(); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		var got []map[string]string
		if err := json.Unmarshal([]byte(text.String()), &got); err != nil || len(got) != count {
			t.Fatalf("%d pairs: %v, %q", count, err, text.String())
		}
		for _, pair := range got {
			if len(pair) != 2 || pair["key"] != "k\n" || pair["value64"] != "/w==" {
				t.Errorf("a pair is %v", pair)
			}
		}
		if lines := strings.Count(text.String(), "\n"); count > 0 && lines != count+2 || count == 0 && lines != 1 {
			t.Errorf("%d pairs on %d lines", count, lines)
		}
	}
}
