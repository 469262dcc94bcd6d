package lines

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
)

// Encoding is a way to write bytes as text.
type Encoding int

// The encodings.
const (
	Plain  Encoding = iota // the bytes themselves
	Hex                    // hexadecimal
	Base64                 // RFC 4648, with padding
)

// Decode returns the bytes that text stands for.
func (e Encoding) Decode(text string) ([]byte, error) { return e.decodeInPlace([]byte(text)) }

// decodeInPlace returns the bytes that text stands for, in the memory of text.
// Decoded bytes are never more than what they were decoded from.
func (e Encoding) decodeInPlace(text []byte) ([]byte, error) {
	switch e {
	case Hex:
		n, err := hex.Decode(text, text)
		if err != nil {
			return nil, errors.New("not hexadecimal")
		}
		return text[:n], nil
	case Base64:
		n, err := base64.StdEncoding.Decode(text, text)
		if err != nil {
			return nil, errors.New("not base64")
		}
		return text[:n], nil
	case Plain:
	}
	return text, nil
}

// Append appends the text that stands for b to dst.
func (e Encoding) Append(dst, b []byte) []byte {
	switch e {
	case Hex:
		return hex.AppendEncode(dst, b)
	case Base64:
		return base64.StdEncoding.AppendEncode(dst, b)
	case Plain:
	}
	return append(dst, b...)
}
