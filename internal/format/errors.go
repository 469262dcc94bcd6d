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

// laterVersion returns the error for a file of an unknown, later version.
func laterVersion(file string, offset int64, version uint32) error {
	detail := fmt.Sprintf("is of version %d, this package reads up to %d", version, Version)
	return &Later{File: file, Offset: offset, Detail: detail}
}
