package lines

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// NDJSON is a JSON object for each pair, with two members: "key" and "value".
// Bytes that are not UTF-8 cannot be a JSON string, so they are "key64" or
// "value64" instead, in base64. With [Base64] or [Hex], all members are "key64"
// and "value64", or "keyhex" and "valuehex". Parse accepts every combination,
// whatever the encoding. A key with a deadline has the member "expires": see
// [AppendExpires].
type NDJSON struct{ Encoding Encoding }

// Append implements [Format].
func (f NDJSON) Append(dst []byte, p Pair) []byte {
	dst = append(dst, '{')
	dst = f.AppendMember(dst, "key", p.Key)
	dst = append(dst, ',')
	dst = f.AppendMember(dst, "value", p.Value)
	if !p.Expires.IsZero() {
		dst = AppendExpires(append(dst, ','), p.Expires)
	}
	return append(dst, '}')
}

// AppendExpires appends the member for a deadline to dst.
func AppendExpires(dst []byte, t time.Time) []byte {
	dst = append(dst, `"expires":"`...)
	return append(AppendTime(dst, t), '"')
}

// AppendMember appends a member of a JSON object to dst. Its name says how b is
// encoded.
func (f NDJSON) AppendMember(dst []byte, name string, b []byte) []byte {
	e := f.Encoding.ForJSON(b)
	dst = append(append(append(dst, '"'), name...), jsonSuffix[e]...)
	dst = append(dst, '"', ':')
	if e == Plain {
		dst, _ = jsontext.AppendQuote(dst, b) // fails only for invalid UTF-8
		return dst
	}
	dst = append(dst, '"')
	dst = e.Append(dst, b)
	return append(dst, '"')
}

// jsonSuffix is what the name of a member says about its encoding.
var jsonSuffix = [...]string{Plain: "", Hex: "hex", Base64: "64"}

// ForJSON returns the encoding to use for b in JSON: e, except that bytes that
// are not UTF-8 need [Base64] in place of [Plain].
func (e Encoding) ForJSON(b []byte) Encoding {
	if e == Plain && !utf8.Valid(b) {
		return Base64
	}
	return e
}

// members are the values of a line's members, as JSON, in the order of
// memberNames. nil is a missing member.
type members [len(memberNames)]jsontext.Value

// memberNames has the members of the key, then those of the value, both in the
// order of the encodings, then the deadline.
var memberNames = [...]string{"key", "keyhex", "key64", "value", "valuehex", "value64", "expires"}

// Parse implements [Codec].
func (NDJSON) Parse(line []byte) (pair Pair, err error) {
	p := parsers.Get().(*parser)
	defer parsers.Put(p)
	m, err := p.parse(line)
	if err != nil {
		return Pair{}, err
	}
	// The line is no longer needed as JSON, so the values are decoded in place.
	if pair.Key, err = oneOf(memberNames[:3], m[:3]); err != nil {
		return Pair{}, err
	}
	if pair.Value, err = oneOf(memberNames[3:6], m[3:6]); err != nil {
		return Pair{}, err
	}
	pair.Expires, err = deadline(m[6])
	return pair, err
}

// deadline parses the member "expires", which may be missing.
func deadline(raw jsontext.Value) (time.Time, error) {
	if raw == nil {
		return time.Time{}, nil
	}
	text, err := jsontext.AppendUnquote(nil, []byte(raw))
	if err != nil {
		return time.Time{}, fmt.Errorf("expires: %w", err)
	}
	t, err := ParseTime(string(text))
	if err != nil {
		return time.Time{}, fmt.Errorf("expires: %w", err)
	}
	return t, nil
}

// parsers are reused, since a new one costs more than most lines.
var parsers = sync.Pool{New: func() any { return new(parser) }}

// parser parses lines. It copies none, however long.
type parser struct {
	decoder jsontext.Decoder
	text    bytes.Buffer
}

// parse returns the members of a line.
func (p *parser) parse(line []byte) (m members, err error) {
	p.text = *bytes.NewBuffer(line)
	p.decoder.Reset(&p.text)
	if token, err := p.decoder.ReadToken(); err != nil {
		return m, jsonError(err)
	} else if token.Kind() != '{' {
		return m, errors.New("not an object")
	}
	for p.decoder.PeekKind() != '}' {
		if err := p.member(&m); err != nil {
			return m, err
		}
	}
	if _, err := p.decoder.ReadToken(); err != nil {
		return m, jsonError(err)
	}
	switch _, err := p.decoder.ReadToken(); {
	case err == nil:
		return m, errors.New("not JSON: something follows the object")
	case !errors.Is(err, io.EOF):
		return m, jsonError(err)
	}
	return m, nil
}

// member parses a member of the object.
func (p *parser) member(m *members) error {
	token, err := p.decoder.ReadToken()
	if err != nil {
		return jsonError(err)
	}
	name := token.String()
	i := slices.Index(memberNames[:], name)
	if i < 0 {
		return fmt.Errorf("unknown member %q", name)
	}
	if m[i], err = p.decoder.ReadValue(); err != nil {
		return jsonError(err)
	}
	if m[i].Kind() != '"' {
		return fmt.Errorf("%q is not a string", name)
	}
	return nil
}

// oneOf decodes the only member of three that is present. It overwrites it.
func oneOf(names []string, values []jsontext.Value) ([]byte, error) {
	var found []byte
	count := 0
	for e, raw := range values {
		if raw == nil {
			continue
		}
		text, err := jsontext.AppendUnquote([]byte(raw[:0]), []byte(raw))
		if err == nil {
			found, err = Encoding(e).decodeInPlace(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", names[e], err)
		}
		count++
	}
	switch count {
	case 1:
		return found, nil
	case 0:
		return nil, fmt.Errorf("no member %q, nor %q or %q", names[Plain], names[Base64], names[Hex])
	default:
		return nil, fmt.Errorf("more than one of the members %q, %q and %q", names[Plain], names[Base64], names[Hex])
	}
}

// jsonError describes what is wrong with a line. It leaves out the name of the
// JSON package, which means nothing to a user of the command.
func jsonError(err error) error {
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("not JSON: %w at byte %d", syntactic.Err, syntactic.ByteOffset)
	}
	return fmt.Errorf("not JSON: %w", err)
}
