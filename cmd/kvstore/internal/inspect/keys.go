package inspect

import (
	"bytes"
	"fmt"
	"slices"

	"kvstore/cmd/kvstore/internal/lines"
	"kvstore/internal/format"
)

// Keys are keys that are still readable in damaged bytes. No checksum proves
// them, and there may have been more.
type Keys struct {
	Count       int
	First, Last []byte
}

// MarshalJSON implements json.Marshaler. Keys are encoded as in NDJSON, so
// the members are first64 and last64 for what is not UTF-8.
func (k Keys) MarshalJSON() ([]byte, error) {
	var members lines.NDJSON
	dst := fmt.Appendf(nil, `{"count":%d,`, k.Count)
	dst = append(members.AppendMember(dst, "first", k.First), ',')
	dst = members.AppendMember(dst, "last", k.Last)
	return append(dst, '}'), nil
}

// newKeys summarizes keys, which must be sorted; it returns nil for none.
func newKeys(keys []string) *Keys {
	if len(keys) == 0 {
		return nil
	}
	return &Keys{Count: len(keys), First: []byte(keys[0]), Last: []byte(keys[len(keys)-1])}
}

// readableKeys returns the keys of entries of writes that are still readable in
// invalid bytes, sorted and without duplicates. No checksum proves them.
func readableKeys(b []byte) []string {
	var keys []string
	for len(b) > 0 {
		e, ok := format.DecodeEntry(b)
		if !ok || len(e.Key) > format.MaxKeyBytes {
			next := bytes.Index(b[1:], []byte("KVLG"))
			if next < 0 {
				break
			}
			b = b[1+next:]
			continue
		}
		if e.Op == format.OpSet || e.Op == format.OpDelete || e.Op == format.OpExpire {
			keys = append(keys, string(e.Key))
		}
		b = b[e.Size():]
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
