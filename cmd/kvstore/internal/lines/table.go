package lines

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/rivo/uniseg"
)

const (
	// keyColumns is the width of the column of keys. A longer key moves its
	// value to the right.
	keyColumns = 24

	// ttlColumns is the width of the column of times to live: that of a year,
	// with milliseconds.
	ttlColumns = 15

	// maxShownRunes is how much of a key or value is shown; a size follows if
	// there is more.
	maxShownRunes = 64
)

// Table is a line of aligned columns for each pair, for people: [Table.Text] of
// key and value. With Now, which returns the current time, a column between
// them says how long the key will live.
type Table struct {
	Encoding Encoding
	Now      func() time.Time
}

// Append implements [Format].
func (f Table) Append(dst []byte, p Pair) []byte {
	dst = appendColumn(dst, f.Text(p.Key), keyColumns)
	if f.Now != nil {
		ttl := "never"
		if !p.Expires.IsZero() {
			ttl = Remaining(p.Expires.Sub(f.Now()))
		}
		dst = appendColumn(dst, ttl, ttlColumns)
	}
	return append(dst, f.Text(p.Value)...)
}

// appendColumn appends text, in a column of this width, and what separates it
// from the next one.
func appendColumn(dst []byte, text string, width int) []byte {
	dst = append(dst, text...)
	for range width - uniseg.StringWidth(text) {
		dst = append(dst, ' ')
	}
	return append(dst, ' ', ' ')
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
