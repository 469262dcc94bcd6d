package lines

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// NDJSON is a JSON object for each pair, with two members: "key" and "value".
// Bytes that are not UTF-8 cannot be a JSON string, so they are "key64" or
// "value64" instead, in base64. With [Base64] or [Hex], all members are "key64"
// and "value64", or "keyhex" and "valuehex". Parse accepts every combination,
// whatever the encoding.
type NDJSON struct{ Encoding Encoding }

// Append implements [Format].
func (f NDJSON) Append(dst, key, value []byte) []byte {
	dst = append(dst, '{')
	dst = f.AppendMember(dst, "key", key)
	dst = append(dst, ',')
	dst = f.AppendMember(dst, "value", value)
	return append(dst, '}')
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

// jsonPair is a parsed line of NDJSON. A nil pointer is a missing member.
type jsonPair struct {
	Key      *string `json:"key"`
	Key64    *string `json:"key64"`
	KeyHex   *string `json:"keyhex"`
	Value    *string `json:"value"`
	Value64  *string `json:"value64"`
	ValueHex *string `json:"valuehex"`
}

// Parse implements [Codec].
func (NDJSON) Parse(line []byte) (key string, value []byte, err error) {
	var p jsonPair
	if err := json.Unmarshal(line, &p, json.RejectUnknownMembers(true)); err != nil {
		return "", nil, jsonError(err)
	}
	k, err := oneOf("key", p.Key, p.Key64, p.KeyHex)
	if err != nil {
		return "", nil, err
	}
	value, err = oneOf("value", p.Value, p.Value64, p.ValueHex)
	return string(k), value, err
}

// oneOf decodes the only member of three that is present.
func oneOf(name string, plain, in64, inHex *string) ([]byte, error) {
	var found []byte
	count := 0
	for e, text := range [...]*string{Plain: plain, Hex: inHex, Base64: in64} {
		if text == nil {
			continue
		}
		var err error
		if found, err = Encoding(e).Decode(*text); err != nil {
			return nil, fmt.Errorf("%s%s: %w", name, jsonSuffix[e], err)
		}
		count++
	}
	switch count {
	case 1:
		return found, nil
	case 0:
		return nil, fmt.Errorf("no member %q, nor %q or %q", name, name+"64", name+"hex")
	default:
		return nil, fmt.Errorf("more than one of the members %q, %q and %q", name, name+"64", name+"hex")
	}
}

// jsonError describes what is wrong with a line. It leaves out the name of the
// JSON package and Go types, which mean nothing to a user of the command.
func jsonError(err error) error {
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		where := semantic.JSONPointer.LastToken()
		switch {
		case errors.Is(err, json.ErrUnknownName):
			return fmt.Errorf("unknown member %q", where)
		case where == "":
			return errors.New("not an object")
		default:
			return fmt.Errorf("%q is not a string", where)
		}
	}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("not JSON: %w at byte %d", syntactic.Err, syntactic.ByteOffset)
	}
	return err
}
