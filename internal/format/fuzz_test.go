package format

import (
	"bytes"
	"testing"
)

// What decodes is what the encoders write, and the other way round.
func FuzzEntry(f *testing.F) {
	f.Add([]byte{}, byte(0), int64(0), []byte{}, []byte{})
	f.Add(AppendEntry(nil, OpSet, 1, "k", "v"), byte(OpSet), int64(1), []byte("k"), []byte("v"))
	f.Add(AppendPair(nil, "k", []byte("v")), byte(OpDelete), int64(-1), []byte("k"), []byte{})
	f.Add([]byte("KVLG\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"), byte(0xff), int64(1)<<62, []byte{}, []byte("v"))
	f.Fuzz(func(t *testing.T, data []byte, o byte, timestamp int64, key, value []byte) {
		if e, ok := DecodeEntry(data); ok {
			if again := AppendEntry(nil, e.Op, e.Timestamp, e.Key, e.Value); !bytes.Equal(again, data[:e.Size()]) {
				t.Fatalf("%x decodes to what encodes to %x", data[:e.Size()], again)
			}
		}
		if k, v, size, ok := decodePair(data); ok {
			if again := AppendPair(nil, string(k), v); !bytes.Equal(again, data[:size]) {
				t.Fatalf("%x decodes to what encodes to %x", data[:size], again)
			}
		}
		b := append(AppendEntry(nil, Op(o), timestamp, key, value), data...)
		e, ok := DecodeEntry(b)
		if !ok || e.Op != Op(o) || e.Timestamp != timestamp || !bytes.Equal(e.Key, key) || !bytes.Equal(e.Value, value) {
			t.Fatalf("entry comes back as %+v, %v", e, ok)
		}
		k, v, size, ok := decodePair(append(AppendPair(nil, string(key), value), data...))
		if !ok || !bytes.Equal(k, key) || !bytes.Equal(v, value) || size != pairOverhead+len(key)+len(value) {
			t.Fatalf("pair comes back as %x, %x, %v", k, v, ok)
		}
	})
}
