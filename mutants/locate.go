package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/scanner"
	"go/token"
	"slices"
)

// planted is a fault, and where it goes in the tree.
type planted struct {
	*fault
	pkg     *source           // a file of the package whose tests must fail
	changed []declaration     // by each of its edits
	sources []*source         // the files that the fault changes, in the order of its edits
	broken  map[string][]byte // their texts with the fault, by path
	number  int               // of the fault in the schema
	alone   bool              // not in the schema: it takes a build of its own
}

// locate finds the declarations, the lines and the tests of a fault.
func (t *tree) locate(f *fault) (*planted, error) {
	pkg, err := t.findTests(f.tests, f.layer)
	if err != nil {
		return nil, f.errorf("%w", err)
	}
	p := &planted{fault: f, pkg: pkg, broken: map[string][]byte{}}
	spans := map[*source][]span{}
	for _, e := range f.edits {
		d, err := t.find(e.in, f.layer)
		if err != nil {
			return nil, f.errorf("line %d: %w", e.line, err)
		}
		s, err := d.match(e)
		if err != nil {
			return nil, f.errorf("line %d: %s: %w", e.line, d.path, err)
		}
		if spans[d.source] == nil {
			p.sources = append(p.sources, d.source)
		}
		spans[d.source] = append(spans[d.source], s)
		p.changed = append(p.changed, d)
	}
	for _, s := range p.sources {
		broken, err := replace(s.text, spans[s])
		if err == nil {
			_, err = parser.ParseFile(token.NewFileSet(), s.path, broken, parser.SkipObjectResolution)
		}
		if err != nil {
			return nil, f.errorf("with the fault: %w", err)
		}
		p.broken[s.path] = broken
	}
	return p, nil
}

// span is a part of a file, and the text that replaces it.
type span struct {
	start, end int
	text       string
}

// replace replaces parts of a text.
func replace(text []byte, spans []span) ([]byte, error) {
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	var out []byte
	at := 0
	for _, s := range spans {
		if s.start < at {
			return nil, fmt.Errorf("two edits change the same line")
		}
		out = append(append(out, text[at:s.start]...), s.text...)
		at = s.end
	}
	return append(out, text[at:]...), nil
}

// match finds the lines of an edit in a declaration: the tokens of its `before`
// in whole lines of the declaration, exactly once. White space, line breaks and
// comments do not count, since comments are no tokens.
func (d declaration) match(e edit) (span, error) {
	before, err := scan([]byte(e.before))
	if err != nil {
		return span{}, fmt.Errorf("`before`: %w", err)
	}
	after, err := scan([]byte(e.after))
	if err != nil {
		return span{}, fmt.Errorf("`after`: %w", err)
	}
	same := func(a, b lexeme) bool { return a.text == b.text }
	if len(before) == 0 || slices.EqualFunc(before, after, same) {
		return span{}, fmt.Errorf("the edit changes nothing")
	}
	text := d.text[d.start:d.end]
	all, err := scan(text)
	if err != nil {
		return span{}, err
	}
	var found []span
	for i := range len(all) - len(before) + 1 {
		j := i + len(before)
		if slices.EqualFunc(before, all[i:j], same) && isWhole(text, all, i, j) {
			found = append(found, span{
				start: d.start + lineStart(text, all[i].start),
				end:   d.start + lineEnd(text, all[j-1].end),
				text:  e.after,
			})
		}
	}
	if len(found) != 1 {
		return span{}, fmt.Errorf("%s has the lines %d times, not once", d.name, len(found))
	}
	return found[0], nil
}

// lexeme is a token of Go at a place in a text.
type lexeme struct {
	text       string
	start, end int
}

// scan returns the tokens of a text, without the semicolons that Go adds at the
// ends of lines.
func scan(text []byte) ([]lexeme, error) {
	var all []lexeme
	var errs scanner.ErrorList
	file := token.NewFileSet().AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, errs.Add, 0)
	for {
		pos, tok, literal := s.Scan()
		switch {
		case tok == token.EOF:
			return all, errs.Err()
		case tok == token.SEMICOLON && literal == "\n":
			continue
		case literal == "":
			literal = tok.String()
		}
		start := file.Offset(pos)
		all = append(all, lexeme{text: literal, start: start, end: start + len(literal)})
	}
}

// isWhole reports whether the tokens from i to j are whole lines of a text.
func isWhole(text []byte, all []lexeme, i, j int) bool {
	begins := i == 0 || bytes.ContainsRune(text[all[i-1].end:all[i].start], '\n')
	ends := j == len(all) || bytes.ContainsRune(text[all[j-1].end:all[j].start], '\n')
	return begins && ends
}

// lineStart returns the offset at which the line with a byte begins.
func lineStart(text []byte, offset int) int {
	return bytes.LastIndexByte(text[:offset], '\n') + 1
}

// lineEnd returns the offset behind the end of the line with a byte.
func lineEnd(text []byte, offset int) int {
	if n := bytes.IndexByte(text[offset:], '\n'); n >= 0 {
		return offset + n + 1
	}
	return len(text)
}
