package commands

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

const (
	tableKeyColumns = 24 // how far the values are indented; longer keys move theirs to the right
	tableMaxRunes   = 64 // of a key or value; the rest is told by its size
)

// table is a line for each pair, for people: what cannot be printed is escaped, and long values are cut.
type table struct{ encoding encoding }

func (f table) append(dst, key, value []byte) []byte {
	shown := f.show(key)
	dst = append(dst, shown...)
	for range tableKeyColumns - utf8.RuneCountInString(shown) {
		dst = append(dst, ' ')
	}
	dst = append(dst, ' ', ' ')
	return append(dst, f.show(value)...)
}

func (f table) show(b []byte) string {
	// No more than the runes that are shown are looked at: a value may have half a gigabyte.
	head := b[:min(len(b), (tableMaxRunes+1)*utf8.UTFMax)]
	var text strings.Builder
	if f.encoding != plainText {
		text.Write(f.encoding.append(nil, head))
	} else {
		for len(head) > 0 {
			r, size := utf8.DecodeRune(head)
			if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) && r != '\\' {
				text.WriteRune(r)
			} else {
				text.Write(appendEscaped(nil, head[:size]))
			}
			head = head[size:]
		}
	}
	runes := []rune(text.String())
	if len(runes) <= tableMaxRunes && len(b) <= (tableMaxRunes+1)*utf8.UTFMax {
		return string(runes)
	}
	return string(runes[:min(len(runes), tableMaxRunes)]) + "… (" + humanize.Bytes(uint64(len(b))) + ")"
}
