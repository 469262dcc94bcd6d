package format

import "fmt"

// Damage is the error for bytes that no writer has left in such a state.
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
	Detail string // to stand behind the file's name
}

func (l *Later) Error() string { return l.File + " " + l.Detail }

// laterVersion is the error for a file of a version that is not known yet.
func laterVersion(file string, offset int64, version uint32) error {
	return &Later{File: file, Offset: offset, Detail: fmt.Sprintf("is of version %d, this package reads up to %d", version, Version)}
}
