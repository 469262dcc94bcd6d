package commands

import (
	"bufio"
)

// pairPrinter prints pairs, one by one as they come: nothing is gathered.
type pairPrinter interface {
	pair(key, value []byte) error
	end() error
}

// newPairPrinter returns what prints pairs to w in a format.
func newPairPrinter(w *bufio.Writer, f format, e encoding) pairPrinter {
	lines := linePrinter{w: w, format: ndjson{e}}
	switch f {
	case jsonFormat:
		return &jsonPrinter{linePrinter: lines}
	case rawFormat:
		lines.format = raw{e}
	case tableFormat:
		lines.format = table{e}
	case ndjsonFormat:
	}
	return &lines
}

// lineFormat prints a pair as a line.
type lineFormat interface {
	append(dst, key, value []byte) []byte // without the newline
}

// linePrinter prints a line for each pair.
type linePrinter struct {
	w      *bufio.Writer
	format lineFormat
	line   []byte // reused
}

func (p *linePrinter) pair(key, value []byte) error {
	p.line = append(p.format.append(p.line[:0], key, value), '\n')
	_, err := p.w.Write(p.line)
	return err
}

func (p *linePrinter) end() error { return nil }

// jsonPrinter prints an array with the objects of ndjson.
type jsonPrinter struct {
	linePrinter
	begun bool
}

func (p *jsonPrinter) pair(key, value []byte) error {
	before := "[\n  "
	if p.begun {
		before = ",\n  "
	}
	p.begun = true
	p.line = p.format.append(append(p.line[:0], before...), key, value)
	_, err := p.w.Write(p.line)
	return err
}

func (p *jsonPrinter) end() error {
	text := "\n]\n"
	if !p.begun {
		text = "[]\n"
	}
	_, err := p.w.WriteString(text)
	return err
}

// raw is a line with key and value as they are, a tab between them: for keys and values that have neither tabs nor newlines, or with
// --hex or --base64.
type raw struct{ encoding encoding }

func (f raw) append(dst, key, value []byte) []byte {
	dst = append(f.encoding.append(dst, key), '\t')
	return f.encoding.append(dst, value)
}
