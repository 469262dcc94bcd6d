package commands

import (
	"encoding/base64"
	"encoding/hex"
	"errors"

	"github.com/spf13/cobra"
)

// encoding is how bytes are written as text: in arguments, in input and in output.
type encoding int

const (
	plainText encoding = iota // the bytes themselves
	hexText
	base64Text // RFC 4648, with padding
)

// encodingFlags are --hex and --base64.
type encodingFlags struct{ hex, base64 bool }

func (f *encodingFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.hex, "hex", false, "keys and values are in hexadecimal, in arguments, input and output")
	cmd.Flags().BoolVar(&f.base64, "base64", false, "keys and values are in base64, in arguments, input and output")
	cmd.MarkFlagsMutuallyExclusive("hex", "base64")
}

func (f *encodingFlags) encoding() encoding {
	switch {
	case f.hex:
		return hexText
	case f.base64:
		return base64Text
	default:
		return plainText
	}
}

// decode returns the bytes that text stands for.
func (e encoding) decode(text string) ([]byte, error) {
	switch e {
	case hexText:
		b, err := hex.DecodeString(text)
		if err != nil {
			return nil, errors.New("not hexadecimal")
		}
		return b, nil
	case base64Text:
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("not base64")
		}
		return b, nil
	case plainText:
	}
	return []byte(text), nil
}

// append appends the text that stands for b.
func (e encoding) append(dst, b []byte) []byte {
	switch e {
	case hexText:
		return hex.AppendEncode(dst, b)
	case base64Text:
		return base64.StdEncoding.AppendEncode(dst, b)
	case plainText:
	}
	return append(dst, b...)
}

// argument decodes an argument; what says what it is, for the error.
func (e encoding) argument(what, text string) ([]byte, error) {
	b, err := e.decode(text)
	if err != nil {
		return nil, usagef("%s %q: %w", what, text, err)
	}
	return b, nil
}

// keys decodes arguments that are keys.
func (e encoding) keys(args []string) ([]string, error) {
	keys := make([]string, len(args))
	for i, arg := range args {
		key, err := e.argument("key", arg)
		if err != nil {
			return nil, err
		}
		keys[i] = string(key)
	}
	return keys, nil
}
