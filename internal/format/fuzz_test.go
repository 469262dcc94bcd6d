package format

import (
	"bytes"
	"testing"
)

// Bytes that decode are those that the encoders write, and the other way round.
func FuzzEntry(f *testing.F) {
	f.Add([]byte{}, byte(0), int64(0), []byte{}, []byte{})
	f.Add(AppendEntry(nil, OpSet, 1, "k", "v"), byte(OpSet), int64(1), []byte("k"), []byte("v"))
	pair := AppendPair(nil, Pair{Key: []byte("k"), Value: []byte("v")})
	f.Add(pair, byte(OpDelete), int64(-1), []byte("k"), []byte{})
	bomb := []byte("KVLG\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff")
	f.Add(bomb, byte(0xff), int64(1)<<62, []byte{}, []byte("v"))
	f.Fuzz(func(t *testing.T, data []byte, o byte, timestamp int64, key, value []byte) {
		if e, ok := DecodeEntry(data); ok {
			if again := AppendEntry(nil, e.Op, e.Timestamp, e.Key, e.Value); !bytes.Equal(again, data[:e.Size()]) {
				t.Fatalf("%x decodes to what encodes to %x", data[:e.Size()], again)
			}
		}
		if p, ok := decodePair(data); ok {
			if again := AppendPair(nil, p); !bytes.Equal(again, data[:p.Size()]) {
				t.Fatalf("%x decodes to what encodes to %x", data[:p.Size()], again)
			}
		}
		b := append(AppendEntry(nil, Op(o), timestamp, key, value), data...)
		e, ok := DecodeEntry(b)
		if !ok || e.Op != Op(o) || e.Timestamp != timestamp ||
			!bytes.Equal(e.Key, key) || !bytes.Equal(e.Value, value) {
			t.Fatalf("entry comes back as %+v, %v", e, ok)
		}
		p, ok := decodePair(append(AppendPair(nil, Pair{Key: key, Value: value}), data...))
		if !ok || !bytes.Equal(p.Key, key) || !bytes.Equal(p.Value, value) {
			t.Fatalf("pair comes back as %x, %x, %v", p.Key, p.Value, ok)
		}
	})
}
