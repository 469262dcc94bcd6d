package lines

import (
	"bufio"
	"time"
)

// Pair is a key and its value.
type Pair struct {
	Key, Value []byte
	Expires    time.Time // when the key is gone; zero for never
}

// Format writes a pair as one line.
type Format interface {
	// Append appends the pair's line to dst, without the newline.
	Append(dst []byte, p Pair) []byte
}

// Codec is a Format whose lines can be read back.
type Codec interface {
	Format

	// Parse returns the pair of a line. It overwrites the line, and key and
	// value are parts of it: a long line is not copied.
	Parse(line []byte) (Pair, error)
}

// Printer writes pairs one at a time.
type Printer interface {
	// Pair writes a pair. It keeps neither key nor value.
	Pair(p Pair) error

	// End writes what follows the last pair. It does not flush the writer.
	End() error
}

// NewPrinter returns a Printer that writes each pair as a line to w.
func NewPrinter(w *bufio.Writer, f Format) Printer {
	return &linePrinter{w: w, format: f}
}

// linePrinter writes a line for each pair.
type linePrinter struct {
	w      *bufio.Writer
	format Format
	line   []byte // reused
}

func (p *linePrinter) Pair(pair Pair) error {
	p.line = append(p.format.Append(p.line[:0], pair), '\n')
	_, err := p.w.Write(p.line)
	return err
}

func (p *linePrinter) End() error { return nil }

// NewArrayPrinter returns a Printer that writes one JSON array to w. Its
// elements are the objects of NDJSON.
func NewArrayPrinter(w *bufio.Writer, e Encoding) Printer {
	return &arrayPrinter{array: NewArray(w), format: NDJSON{Encoding: e}}
}

// arrayPrinter writes an element of a JSON array for each pair.
type arrayPrinter struct {
	array  *Array
	format NDJSON
	object []byte // reused
}

func (p *arrayPrinter) Pair(pair Pair) error {
	p.object = p.format.Append(p.object[:0], pair)
	return p.array.Element(p.object)
}

func (p *arrayPrinter) End() error { return p.array.End() }

// Raw is a line with key, tab and value as they are. It is ambiguous if a key
// or value has a tab or a newline, except in [Hex] and [Base64]. With
// Deadlines, a field between key and value says when the key is gone; it is
// empty for never.
type Raw struct {
	Encoding  Encoding
	Deadlines bool
}

// Append implements [Format].
func (f Raw) Append(dst []byte, p Pair) []byte {
	dst = append(f.Encoding.Append(dst, p.Key), '\t')
	if f.Deadlines {
		if !p.Expires.IsZero() {
			dst = AppendTime(dst, p.Expires)
		}
		dst = append(dst, '\t')
	}
	return f.Encoding.Append(dst, p.Value)
}
