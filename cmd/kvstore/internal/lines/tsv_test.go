package lines

import (
	"bytes"
	"testing"
)

// FuzzEscape: unescape is the inverse of appendEscaped, and any other text that
// it accepts is harmless.
func FuzzEscape(f *testing.F) {
	f.Add([]byte("a\tb\n\\\xff"))
	f.Add([]byte(`\x4`))
	f.Fuzz(func(t *testing.T, b []byte) {
		text := appendEscaped(nil, b)
		if back, err := unescape(bytes.Clone(text)); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%q became %q and %q, %v", b, text, back, err)
		}
		if bytes.ContainsAny(text, "\t\r\n") {
			t.Errorf("%q is no field", text)
		}
		if free, err := unescape(bytes.Clone(b)); err == nil {
			if back, err := unescape(appendEscaped(nil, free)); err != nil || !bytes.Equal(back, free) {
				t.Errorf("%q became %q, %v", free, back, err)
			}
		}
	})
}
