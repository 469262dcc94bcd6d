package logread

import (
	"io"

	"kvstore/internal/format"
)

// Judge judges a segment as recovery does: its SEGMENT entry, its groups, and
// what follows the last one. data is what was read of file, all of it. If the
// segment is the last one of the log, a store may be writing to it: Judge
// reads what looks bad again, into data.
//
// Errors are *format.Damage and *format.Later, and those of reading.
func Judge(file io.ReaderAt, number uint64, data []byte, chain *format.Chain, isLast bool) (format.Tail, error) {
	scanner, err := chain.Scan(number, data)
	if err != nil {
		return format.Tail{}, err
	}
	seen, proven := -1, false // the spot that was bad before, and whether it was damage
	for {
		if err := skipGroups(scanner); err != nil {
			return format.Tail{}, err
		}
		tail, err := scanner.Tail(isLast)
		again := scanner.Offset() == seen && (proven || err == nil)
		if !isLast || again || (err == nil && tail.Torn == 0) {
			return tail, err
		}
		seen, proven = scanner.Offset(), err != nil
		if err := Reread(file, number, data, seen); err != nil {
			return format.Tail{}, err
		}
	}
}

// skipGroups goes behind the last group that follows.
func skipGroups(scanner *format.Scanner) error {
	for {
		if _, ok, err := scanner.Next(); err != nil || !ok {
			return err
		}
	}
}
