package commands

import (
	"iter"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

// withDeadlines returns pairs of v, a view of s, with their deadlines. The keys
// share memory: a key is valid until the next one. s was opened to read, so no
// key gets a deadline meanwhile. Pairs that are due by now are left out.
func withDeadlines(s *kvstore.Store, v *kvstore.View, pairs iter.Seq2[string, []byte]) iter.Seq[lines.Pair] {
	some := s.Stats().Expiring > 0 // otherwise, no key is looked up
	return func(yield func(lines.Pair) bool) {
		var bytes []byte // of a key; reused
		for key, value := range pairs {
			bytes = append(bytes[:0], key...)
			pair, ok := lines.Pair{Key: bytes, Value: value}, true
			if some {
				pair.Expires, ok = v.Deadline(key)
			}
			if ok && !yield(pair) {
				return
			}
		}
	}
}

// printPairs prints pairs in their order.
func printPairs(pairs iter.Seq[lines.Pair], p lines.Printer) error {
	for pair := range pairs {
		if err := p.Pair(pair); err != nil {
			return err
		}
	}
	return p.End()
}
