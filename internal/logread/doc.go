// Package logread reads the log of a store, living or dead: for recovery, for
// the command, and for every reader that follows a log while it is written.
//
// It has three layers. [Size], [ReadAll] and [Reread] read the bytes of one
// segment. [Pieces] takes a segment apart, and [Judge] judges one; the rules
// are those of package format. A [Reader] goes through all segments, follows
// a live log, and reports what it finds as an [Event].
//
// Another process may be writing to the segment that is read. One read is not
// a picture of one moment: it may see a group half-written and a later group
// whole. But an entry that knows a group durable was written after all of that
// group. So the package reads a bad spot once more after it has seen such a
// proof. Only what is bad then is damage.
//
// The package locks nothing and writes nothing.
package logread
