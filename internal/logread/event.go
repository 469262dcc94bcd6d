package logread

import "kvstore/internal/format"

// Event is something that a [Reader] has found. Kind tells which fields are
// set. An event shares the reader's memory: its bytes are valid until Emit
// returns.
type Event struct {
	Kind    Kind
	Segment uint64 // number of the file; of Gap, of the file behind the gap
	Offset  int    // in the segment
	Bytes   []byte // all bytes of it; none of Gap, and of BadHeader if no entry can be decoded

	Header  format.Header // of Header, and of BadHeader as far as it can be decoded
	Group   format.Group  // of Group
	End     format.End    // of End
	Version int64         // timestamp of the entry: of Header, BadHeader and End

	// Last is the number of the last valid group before: of Group. It is 0 if
	// the reader has seen none.
	Last uint64

	// Durable is the highest group that an entry behind the damage proves
	// durable: of Damaged. It is 0 if that is not above the last valid group.
	Durable uint64

	// Missing is the number of the first segment of a gap: of Gap.
	Missing uint64

	// Err is a *format.Damage or a *format.Later: of BadHeader.
	Err error
}

// Kind tells events apart.
type Kind int

// The kinds of events.
const (
	Header    Kind = iota // a SEGMENT entry
	BadHeader             // no SEGMENT entry that belongs here; what lies behind it is reported all the same
	Group                 // a group with right checksums, whatever its number and its ops
	End                   // an END
	Reserved              // zeros up to the end of the segment: space for more
	Unended               // the same where an END belongs, since a later segment exists
	Unjudged              // bytes behind END, which count for nothing
	Torn                  // an incomplete write at the end of the log: of a crash, or under way
	Damaged               // bytes in place of a group that was durable
	Gap                   // segments that were removed before they were read: a snapshot covers them
)
