package lines

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// Lines have all kinds of ends, and are longer than the buffer and the limit.
// How the input is split into reads makes no difference.
func TestReader(t *testing.T) {
	long, tooLong := strings.Repeat("x", 100), strings.Repeat("y", 101)
	input := "a\r\n\nb\n" + long + "\n" + tooLong + "\nc\r\r\n" + tooLong + tooLong + "\r\n" + long + "\r\nend"
	want := []string{"a", "", "b", long, "!", "c\r", "!", "!", "end"}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":    func(r io.Reader) io.Reader { return r },
		"halves":   iotest.HalfReader,
		"bytes":    iotest.OneByteReader,
		"with EOF": iotest.DataErrReader,
	} {
		l := &Reader{r: bufio.NewReaderSize(wrap(strings.NewReader(input)), 16), limit: 101}
		var got []string
		for {
			line, err := l.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, ErrTooLong) {
				line = []byte("!")
			} else if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line))
		}
		counted := l.Number() == int64(len(want)) && l.Bytes() == int64(len(input))
		if strings.Join(got, "|") != strings.Join(want, "|") || !counted {
			t.Errorf("%s: %q, line %d, byte %d of %d", name, got, l.Number(), l.Bytes(), len(input))
		}
	}
}

// A line that an error cuts off is dropped.
func TestReaderDropsHalfALine(t *testing.T) {
	cause := errors.New("no more")
	l := NewReader(io.MultiReader(strings.NewReader("a\nhalf of b"), iotest.ErrReader(cause)))
	if line, err := l.Next(); string(line) != "a" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	if l.Buffered() {
		t.Error("half a line counts as a whole one")
	}
	if line, err := l.Next(); !errors.Is(err, cause) || l.Number() != 1 {
		t.Fatalf("%q, %v, line %d", line, err, l.number)
	}
}
