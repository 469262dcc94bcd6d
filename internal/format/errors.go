package format

import "fmt"

// Damage is the error for bytes in a state that no writer leaves behind.
type Damage struct {
	File   string // base name
	Offset int64  // of the first byte that is known to be wrong
	Reason string
}

func (d *Damage) Error() string {
	return fmt.Sprintf("%s at offset %d: %s", d.File, d.Offset, d.Reason)
}

// Later is the error for intact bytes that a later version has written.
type Later struct {
	File   string // base name
	Offset int64
	Detail string // follows the file's name in the message
}

func (l *Later) Error() string { return l.File + " " + l.Detail }

// laterVersion returns the error for a file of a later version than the highest
// one that is known.
func laterVersion(file string, offset int64, version, known uint32) error {
	detail := fmt.Sprintf("is of version %d, this package reads up to %d", version, known)
	return &Later{File: file, Offset: offset, Detail: detail}
}

// Changed is the error for bytes that are others than when they were read
// first. A clean page of the file has left the page cache, and the disk has
// never got what the page had: an earlier write has failed.
type Changed struct {
	File   string // base name
	Offset int64  // of the first byte that may have changed
}

func (c *Changed) Error() string {
	return fmt.Sprintf("%s from offset %d on: a second reading found other bytes: "+
		"the disk has lost a write; nothing was replaced, and the next attempt takes the disk as it is",
		c.File, c.Offset)
}
