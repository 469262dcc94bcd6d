package lines

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode/utf8"
)

// TSV is a line of key, tab and value. In both fields, \t, \n, \r and \\ stand
// for tab, newline, carriage return and backslash, and \xHH for any byte. With
// [Base64] or [Hex], both fields are in that encoding, without escapes. A line
// has no place for a deadline.
type TSV struct{ Encoding Encoding }

// Append implements [Format].
func (f TSV) Append(dst []byte, p Pair) []byte {
	if f.Encoding != Plain {
		return Raw{Encoding: f.Encoding}.Append(dst, p)
	}
	dst = append(appendEscaped(dst, p.Key), '\t')
	return appendEscaped(dst, p.Value)
}

// Parse implements [Codec].
func (f TSV) Parse(line []byte) (p Pair, err error) {
	left, right, ok := bytes.Cut(line, []byte{'\t'})
	if !ok || bytes.IndexByte(right, '\t') >= 0 {
		tabs := bytes.Count(line, []byte{'\t'})
		return Pair{}, fmt.Errorf("%d tabs instead of one; a tab in a key or value is written as \\t", tabs)
	}
	if p.Key, err = f.field(left); err != nil {
		return Pair{}, fmt.Errorf("key: %w", err)
	}
	if p.Value, err = f.field(right); err != nil {
		return Pair{}, fmt.Errorf("value: %w", err)
	}
	return p, nil
}

func (f TSV) field(text []byte) ([]byte, error) {
	if f.Encoding != Plain {
		return f.Encoding.decodeInPlace(text)
	}
	return unescape(text)
}

// appendEscaped appends b as a field of TSV. It escapes tab, newline, carriage
// return and backslash as \t, \n, \r and \\, and other runes that are not
// printable and bytes that are not UTF-8 as \xHH.
func appendEscaped(dst, b []byte) []byte {
	for {
		plain := 0
		for plain < len(b) && ' ' <= b[plain] && b[plain] <= '~' && b[plain] != '\\' {
			plain++
		}
		dst = append(dst, b[:plain]...)
		if b = b[plain:]; len(b) == 0 {
			return dst
		}
		r, size := utf8.DecodeRune(b)
		switch {
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r == '\\':
			dst = append(dst, '\\', '\\')
		case !printable(r) || r == utf8.RuneError && size == 1:
			dst = appendHex(dst, b[:size])
		default:
			dst = append(dst, b[:size]...)
		}
		b = b[size:]
	}
}

// unescape is the inverse of appendEscaped. It returns the result in the memory
// of text.
func unescape(text []byte) ([]byte, error) {
	at := bytes.IndexByte(text, '\\')
	if at < 0 {
		return text, nil
	}
	b := text[:0]
	for ; at >= 0; at = bytes.IndexByte(text, '\\') {
		b = append(b, text[:at]...)
		char, size, err := escaped(text[at+1:])
		if err != nil {
			return nil, err
		}
		b = append(b, char)
		text = text[at+1+size:]
	}
	return append(b, text...), nil
}

// escaped returns the byte for the escape at the start of text, which follows a
// backslash, and the length of that escape.
func escaped(text []byte) (char byte, size int, err error) {
	if len(text) == 0 {
		return 0, 0, errors.New("a backslash at the end, which is written as \\\\")
	}
	switch text[0] {
	case 't':
		return '\t', 1, nil
	case 'n':
		return '\n', 1, nil
	case 'r':
		return '\r', 1, nil
	case '\\':
		return '\\', 1, nil
	case 'x':
		var b [1]byte
		if len(text) >= 3 {
			if _, err := hex.Decode(b[:], text[1:3]); err == nil {
				return b[0], 3, nil
			}
		}
		return 0, 0, errors.New("\\x without two hexadecimal digits")
	}
	return 0, 0, fmt.Errorf("unknown escape \\%c; a backslash is written as \\\\", text[0])
}
