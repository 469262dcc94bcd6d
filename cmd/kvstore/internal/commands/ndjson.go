package commands

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ndjson is a line for each pair, an object with two members: "key" and "value". What is not UTF-8, and so is no
// string of JSON, is "key64" or "value64" instead, in base64. With --base64 or --hex all are "key64" and "value64", or "keyhex" and
// "valuehex". All of them are read whatever the flags say.
type ndjson struct{ encoding encoding }

func (f ndjson) append(dst, key, value []byte) []byte {
	dst = append(dst, '{')
	dst = f.appendMember(dst, "key", key)
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
var jsonSuffix = [...]string{plainText: "", hexText: "hex", base64Text: "64"}

// jsonPair is a line of ndjson on the way in. A pointer tells whether a member is there.
type jsonPair struct {
	Key      *string `json:"key"`
	Key64    *string `json:"key64"`
	KeyHex   *string `json:"keyhex"`
	Value    *string `json:"value"`
	Value64  *string `json:"value64"`
	ValueHex *string `json:"valuehex"`
}

func (ndjson) parse(line []byte) (key string, value []byte, err error) {
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

// oneOf decodes the one member of three that is there.
func oneOf(name string, plain, in64, inHex *string) ([]byte, error) {
	var found []byte
	count := 0
	for e, text := range [...]*string{plainText: plain, hexText: inHex, base64Text: in64} {
		if text == nil {
			continue
		}
		var err error
		if found, err = encoding(e).decode(*text); err != nil {
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

// jsonError says what is wrong with a line, without the name of the package that found out and the Go types it had in mind.
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
