package lines

import (
	"unicode"
	"unicode/utf8"
)

// printable reports whether a rune may be in a table, a line of TSV or a
// message. It is false for what a terminal obeys or what hides or reorders
// other characters: control characters, marks of direction, separators of
// lines; also for spaces other than the usual one. Every such place asks this
// function.
func printable(r rune) bool { return unicode.IsPrint(r) }

// Printable returns text with each rune that is not printable, and each byte
// that is not UTF-8, as \xHH for each of its bytes. Unlike a field of TSV, it
// leaves backslashes alone.
func Printable(text string) string {
	var b []byte
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if printable(r) && (r != utf8.RuneError || size > 1) {
			b = append(b, text[:size]...)
		} else {
			b = appendHex(b, []byte(text[:size]))
		}
		text = text[size:]
	}
	return string(b)
}

// appendHex appends \xHH for each byte of b.
func appendHex(dst, b []byte) []byte {
	for _, char := range b {
		dst = append(dst, '\\', 'x', hexDigits[char>>4], hexDigits[char&15])
	}
	return dst
}

const hexDigits = "0123456789abcdef"
