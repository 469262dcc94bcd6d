package lines

import "bufio"

// Format writes a pair as one line.
type Format interface {
	// Append appends the pair's line to dst, without the newline.
	Append(dst, key, value []byte) []byte
}

// Codec is a Format whose lines can be read back.
type Codec interface {
	Format

	// Parse returns the pair of a line. It overwrites the line, and the value
	// is a part of it: a long line is not copied.
	Parse(line []byte) (key string, value []byte, err error)
}

// Printer writes pairs one at a time.
type Printer interface {
	// Pair writes a pair. It keeps neither key nor value.
	Pair(key, value []byte) error

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

func (p *linePrinter) Pair(key, value []byte) error {
	p.line = append(p.format.Append(p.line[:0], key, value), '\n')
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

func (p *arrayPrinter) Pair(key, value []byte) error {
	p.object = p.format.Append(p.object[:0], key, value)
	return p.array.Element(p.object)
}

func (p *arrayPrinter) End() error { return p.array.End() }

// Raw is a line with key, tab and value as they are. It is ambiguous if a key
// or value has a tab or a newline, except in [Hex] and [Base64].
type Raw struct{ Encoding Encoding }

// Append implements [Format].
func (f Raw) Append(dst, key, value []byte) []byte {
	dst = append(f.Encoding.Append(dst, key), '\t')
	return f.Encoding.Append(dst, value)
}
