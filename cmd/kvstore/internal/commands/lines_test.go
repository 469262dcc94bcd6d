package commands

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestLines: lines with all kinds of ends, longer than the buffer and than the limit, whatever the pieces they come in.
func TestLines(t *testing.T) {
	long, tooLong := strings.Repeat("x", 100), strings.Repeat("y", 101)
	input := "a\r\n\nb\n" + long + "\n" + tooLong + "\nc\r\r\n" + tooLong + tooLong + "\r\n" + long + "\r\nend"
	want := []string{"a", "", "b", long, "!", "c\r", "!", "!", "end"}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "bytes": iotest.OneByteReader, "with EOF": iotest.DataErrReader,
	} {
		l := &lineReader{r: bufio.NewReaderSize(wrap(strings.NewReader(input)), 16), limit: 101}
		var got []string
		for {
			line, err := l.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, errLineTooLong) {
				line = []byte("!")
			} else if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line))
		}
		if strings.Join(got, "|") != strings.Join(want, "|") || l.number != int64(len(want)) || l.bytes != int64(len(input)) {
			t.Errorf("%s: %q, line %d, byte %d of %d", name, got, l.number, l.bytes, len(input))
		}
	}
}

// TestLinesStop: of a line that an error cuts off, nothing is taken.
func TestLinesStop(t *testing.T) {
	l := newLineReader(io.MultiReader(strings.NewReader("a\nhalf of b"), iotest.ErrReader(errInterrupted)))
	if line, err := l.next(); string(line) != "a" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	if !l.waits() {
		t.Error("half a line does not make next wait")
	}
	if line, err := l.next(); !errors.Is(err, errInterrupted) || l.number != 1 {
		t.Fatalf("%q, %v, line %d", line, err, l.number)
	}
}
