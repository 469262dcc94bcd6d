package lines

import (
	"encoding/json"
	"io"
)

// WriteJSON writes v as JSON and a newline to w: on one line, or indented.
func WriteJSON(w io.Writer, v any, indent bool) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if indent {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}

// Array writes a JSON array one element at a time, each on a line of its own.
// It makes small writes, so its writer should have a buffer.
type Array struct {
	w     io.Writer
	begun bool // an element was written
}

// NewArray returns an Array that writes to w.
func NewArray(w io.Writer) *Array { return &Array{w: w} }

// Element writes an element, which is JSON without a newline.
func (a *Array) Element(element []byte) error {
	separator := ",\n  "
	if !a.begun {
		separator = "[\n  "
	}
	a.begun = true
	if _, err := io.WriteString(a.w, separator); err != nil {
		return err
	}
	_, err := a.w.Write(element)
	return err
}

// End writes the end of the array, which may be empty.
func (a *Array) End() error {
	end := "\n]\n"
	if !a.begun {
		end = "[]\n"
	}
	_, err := io.WriteString(a.w, end)
	return err
}
