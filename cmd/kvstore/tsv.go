package main

import (
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendEscaped appends b with what a field of TSV cannot have as it is escaped: \t, \n, \r, \\, and \xHH for other control
// characters and for bytes that are not UTF-8.
func appendEscaped(dst, b []byte) []byte {
	for len(b) > 0 {
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
		case r < ' ' || r == 0x7f || r == utf8.RuneError && size == 1:
			dst = append(dst, '\\', 'x', hexDigits[b[0]>>4], hexDigits[b[0]&15])
		default:
			dst = append(dst, b[:size]...)
		}
		b = b[size:]
	}
	return dst
}
