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
func (e Encoding) Decode(text string) ([]byte, error) {
	switch e {
	case Hex:
		b, err := hex.DecodeString(text)
		if err != nil {
			return nil, errors.New("not hexadecimal")
		}
		return b, nil
	case Base64:
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("not base64")
		}
		return b, nil
	case Plain:
	}
	return []byte(text), nil
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
