package main

import (
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// writeJSON writes v and a newline, on one line or on several.
func writeJSON(w io.Writer, v any, several bool) error {
	var options []json.Options
	if several {
		options = append(options, jsontext.WithIndent("  "))
	}
	b, err := json.Marshal(v, options...)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// ndjson is a line for each pair, an object with two members: "key" and "value". What is not UTF-8, and so is no
// string of JSON, is "key64" or "value64" instead, in base64. With --base64 or --hex all are "key64" and "value64", or "keyhex" and
// "valuehex". All of them are read whatever the flags say.
type ndjson struct{ encoding encoding }

func (f ndjson) append(dst []byte, key string, value []byte) []byte {
	dst = append(dst, '{')
	dst = f.appendMember(dst, "key", []byte(key))
	dst = append(dst, ',')
	dst = f.appendMember(dst, "value", value)
	return append(dst, '}')
}

func (f ndjson) appendMember(dst []byte, name string, b []byte) []byte {
	e := f.encoding
	if e == plainText && !utf8.Valid(b) {
		e = base64Text
	}
	dst = append(append(append(dst, '"'), name...), jsonSuffix[e]...)
	dst = append(dst, '"', ':')
	if e == plainText {
		dst, _ = jsontext.AppendQuote(dst, b) // fails for what is not UTF-8
		return dst
	}
	dst = append(dst, '"')
	dst = e.append(dst, b)
	return append(dst, '"')
}

// jsonSuffix is what the name of a member says of its encoding.
var jsonSuffix = map[encoding]string{plainText: "", hexText: "hex", base64Text: "64"}
