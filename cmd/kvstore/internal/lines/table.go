package lines

import (
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/rivo/uniseg"
)

const (
	// keyColumns is the width of the column of keys. A longer key moves its
	// value to the right.
	keyColumns = 24

	// maxShownRunes is how much of a key or value is shown; a size follows if
	// there is more.
	maxShownRunes = 64
)

// Table is a line of aligned columns for each pair, for people: [Table.Text] of
// key and value.
type Table struct{ Encoding Encoding }

// Append implements [Format].
func (f Table) Append(dst, key, value []byte) []byte {
	text := f.Text(key)
	dst = append(dst, text...)
	for range keyColumns - uniseg.StringWidth(text) {
		dst = append(dst, ' ')
	}
	dst = append(dst, ' ', ' ')
	return append(dst, f.Text(value)...)
}

// Text returns b for people: unprintable characters are escaped as in [TSV],
// and after 64 characters the rest is replaced by the size of b.
func (f Table) Text(b []byte) string {
	// A value may have half a gigabyte: look only at what may be shown.
	head := b[:min(len(b), (maxShownRunes+1)*utf8.UTFMax)]
	var text strings.Builder
	if f.Encoding != Plain {
		text.Write(f.Encoding.Append(nil, head))
	} else {
		text.Write(appendEscaped(nil, head))
	}
	runes := []rune(text.String())
	if len(runes) <= maxShownRunes && len(b) <= (maxShownRunes+1)*utf8.UTFMax {
		return string(runes)
	}
	return string(runes[:min(len(runes), maxShownRunes)]) + "… (" + humanize.Bytes(uint64(len(b))) + ")"
}
