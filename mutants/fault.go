package main

import (
	"fmt"
	"strings"
	"time"
)

// fault is one planted fault, as a block of a .fault file describes it.
type fault struct {
	name    string
	file    string // the .fault file
	line    int    // of the block in that file
	promise string // that the fault breaks
	layer   layer  // whose test must fail
	tests   []string
	timeout time.Duration // 0 means the layer's
	edits   []edit
}

// edit replaces some lines of one declaration.
type edit struct {
	line   int    // in the .fault file
	in     string // the declaration
	before string // whole lines of code
	after  string // "" deletes the lines
}

// place returns where the fault is described.
func (f *fault) place() string { return fmt.Sprintf("%s:%d", f.file, f.line) }

// errorf returns an error of the fault's description.
func (f *fault) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", f.place(), f.name, fmt.Errorf(format, args...))
}

// parseFaults parses the text of one .fault file.
func parseFaults(file, text string) ([]*fault, error) {
	p := lineParser{file: file}
	for line := range strings.SplitSeq(text, "\n") {
		p.line++
		if err := p.parse(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, p.line, err)
		}
	}
	p.endCode()
	for _, f := range p.faults {
		if err := f.complete(); err != nil {
			return nil, err
		}
	}
	return p.faults, nil
}

// complete reports what is missing in a fault.
func (f *fault) complete() error {
	switch {
	case f.promise == "":
		return f.errorf("there is no `breaks:`")
	case f.layer.name == "":
		return f.errorf("there is no `layer:`")
	case len(f.tests) == 0:
		return f.errorf("there is no `test:`")
	case len(f.edits) == 0:
		return f.errorf("there is no `in:`")
	}
	for _, e := range f.edits {
		if e.before == "" {
			return f.errorf("line %d: there is no code to replace", e.line)
		}
	}
	return nil
}

// lineParser parses a .fault file line by line. What begins in the first column
// is a field or a comment; what is indented is code.
type lineParser struct {
	file   string
	line   int
	faults []*fault
	code   *string         // the code that an indented line belongs to
	seen   map[string]bool // fields of the present fault, or of its last edit
}

func (p *lineParser) parse(line string) error {
	switch {
	case strings.TrimSpace(line) == "":
		if p.code != nil && *p.code != "" {
			*p.code += "\n"
		}
		return nil
	case strings.HasPrefix(line, "#"):
		return nil
	case line[0] == '\t' || line[0] == ' ':
		if p.code == nil {
			return fmt.Errorf("code that follows neither `before:` nor `after:`")
		}
		*p.code += line + "\n"
		return nil
	}
	key, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("%q is no field, no comment, and not indented like code", line)
	}
	return p.field(key, strings.TrimSpace(value))
}

// field parses the field `key: value`.
func (p *lineParser) field(key, value string) error {
	p.endCode()
	isCode := key == "before" || key == "after"
	switch {
	case isCode == (value != ""):
		return fmt.Errorf("`%s:` with the value %q", key, value)
	case key == "fault":
		p.faults = append(p.faults, &fault{name: value, file: p.file, line: p.line})
		p.seen = map[string]bool{}
		return nil
	case len(p.faults) == 0:
		return fmt.Errorf("`%s:` before the first `fault:`", key)
	}
	f := p.faults[len(p.faults)-1]
	if key == "in" {
		f.edits = append(f.edits, edit{line: p.line, in: value})
		delete(p.seen, "before")
		delete(p.seen, "after")
		return nil
	}
	if p.seen[key] {
		return fmt.Errorf("`%s:` twice", key)
	}
	p.seen[key] = true
	if isCode {
		return p.beginCode(f, key)
	}
	return f.set(key, value)
}

// set sets a field that a fault has once.
func (f *fault) set(key, value string) error {
	switch key {
	case "breaks":
		f.promise = value
	case "test":
		f.tests = strings.Split(value, "|")
	case "layer":
		l, ok := findLayer(value)
		if !ok {
			return fmt.Errorf("layers.go knows no layer %q", value)
		}
		f.layer = l
	case "timeout":
		d, err := time.ParseDuration(value)
		if err != nil {
			return err
		}
		f.timeout = d
	default:
		return fmt.Errorf("unknown field `%s:`", key)
	}
	return nil
}

// beginCode makes the lines that follow part of the last edit.
func (p *lineParser) beginCode(f *fault, key string) error {
	if len(f.edits) == 0 {
		return fmt.Errorf("`%s:` without an `in:`", key)
	}
	e := &f.edits[len(f.edits)-1]
	if p.code = &e.before; key == "after" {
		p.code = &e.after
	}
	return nil
}

// endCode drops the blank lines at the end of code.
func (p *lineParser) endCode() {
	if p.code != nil && *p.code != "" {
		*p.code = strings.TrimRight(*p.code, "\n") + "\n"
	}
	p.code = nil
}
