package logread

import "io"

// Source is the directory with the log of a store. The store may be open, in
// this process or in another one.
type Source interface {
	// Segments returns the numbers of the segments that are there, rising.
	Segments() ([]uint64, error)

	// Open opens a segment. The error is fs.ErrNotExist if the segment has been
	// removed.
	Open(number uint64) (SourceFile, error)
}

// SourceFile is a segment that a [Source] has opened. Its bytes can be read
// after a snapshot has removed its name.
type SourceFile interface {
	File
	io.Closer

	// Replaced reports whether the name of this file belongs to another file
	// now: a store that opens the directory repairs its log by replacing files.
	// If the name is gone, Replaced returns false.
	Replaced() (bool, error)
}
