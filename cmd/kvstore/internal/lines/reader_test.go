package lines

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
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

// UTF-16 without a byte order mark shows in the first line that is not empty.
// In later lines, a byte 0 is data.
func TestReaderOfUTF16(t *testing.T) {
	encode := func(order binary.AppendByteOrder, text string) string {
		var b []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, unit)
		}
		return string(b)
	}
	for _, c := range []struct {
		input string
		lines int // before the error
		err   error
	}{
		{encode(binary.LittleEndian, "key\tvalue\n"), 0, ErrNotUTF8},
		{encode(binary.BigEndian, "key\tvalue\n"), 0, ErrNotUTF8},
		{encode(binary.BigEndian, "key\tvalue"), 0, ErrNotUTF8},
		{encode(binary.LittleEndian, "\nkey\tvalue\n"), 1, ErrNotUTF8},
		{encode(binary.LittleEndian, "\r\nkey\tvalue\n"), 0, ErrNotUTF8},
		{"\n\n" + strings.Repeat("x", 5000) + "\x00\n", 2, ErrNotUTF8},
		{"\xef\xbb\xbf\x00\n", 0, ErrNotUTF8},
		{"a\n\x00\n", 2, io.EOF},
		{"\na\n\x00", 3, io.EOF},
	} {
		l := &Reader{r: bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(c.input)), 16), limit: 10_000}
		lines := 0
		_, err := l.Next()
		for ; err == nil; _, err = l.Next() {
			lines++
		}
		if lines != c.lines || !errors.Is(err, c.err) {
			t.Errorf("%.40q: %d lines, %v; want %d, %v", c.input, lines, err, c.lines, c.err)
		}
	}
}

// A byte order mark of UTF-8 is no data, and those of other encodings are
// refused, however the input is split into reads.
func TestReaderByteOrderMark(t *testing.T) {
	const mark = "\xef\xbb\xbf"
	for _, c := range []struct {
		input, first string
		err          error
	}{
		{mark + "a\tb\n", "a\tb", nil},
		{mark + mark + "a\n", mark + "a", nil}, // the second one is data
		{mark + "\n", "", nil},
		{mark, "", io.EOF},
		{"", "", io.EOF},
		{"\xef\xbb\n", "\xef\xbb", nil},
		{"\xef", "\xef", nil},
		{"a" + mark + "\n", "a" + mark, nil},
		{"\xff\xfea\x00\n\x00", "", ErrNotUTF8},
		{"\xff\xfe", "", ErrNotUTF8},
		{"\xff\xfe\x00\x00a\x00\x00\x00", "", ErrNotUTF8},
		{"\xfe\xff\x00a", "", ErrNotUTF8},
		{"\x00\x00\xfe\xff\x00\x00\x00a", "", ErrNotUTF8},
		{"\xff\xfa\n", "\xff\xfa", nil},
		{"\x00\x00\xfe\n", "", ErrNotUTF8}, // for its bytes 0
	} {
		for _, r := range []io.Reader{strings.NewReader(c.input), iotest.OneByteReader(strings.NewReader(c.input))} {
			line, err := NewReader(r).Next()
			if string(line) != c.first || !errors.Is(err, c.err) {
				t.Errorf("%q begins with %q, %v; want %q, %v", c.input, line, err, c.first, c.err)
			}
		}
	}
}

// The search for a byte order mark does not wait for more input than it takes
// to know that there is none.
func TestReaderDoesNotWaitForAMark(t *testing.T) {
	for _, line := range []string{"\n", "a\n", "\xef\n", "\x00\n", "\xef\xbb\xbf\n"} {
		in, input := io.Pipe() // which stays open
		go func() { _, _ = io.WriteString(input, line) }()
		if got, err := NewReader(in).Next(); err != nil && !errors.Is(err, ErrNotUTF8) {
			t.Errorf("%q: %q, %v", line, got, err)
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
