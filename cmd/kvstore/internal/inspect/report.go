package inspect

import (
	"errors"
	"slices"
	"time"

	"kvstore/internal/format"
	"kvstore/internal/logread"
)

// File is a file of the store, and what is valid in it.
type File struct {
	File       string    `json:"file"`
	Bytes      int64     `json:"bytes"`
	Needed     bool      `json:"needed"` // Open reads the file; it removes the others
	Pairs      uint64    `json:"pairs,omitempty"`
	Groups     uint64    `json:"groups,omitempty"`
	Entries    uint64    `json:"entries,omitempty"`
	FirstGroup uint64    `json:"first_group,omitempty"`
	LastGroup  uint64    `json:"last_group,omitempty"`
	From       time.Time `json:"from,omitzero"`
	To         time.Time `json:"to,omitzero"` // time of the last commit
}

// count counts a valid group.
func (f *File) count(g *format.Group) {
	if f.Groups == 0 {
		f.FirstGroup, f.From = g.Number, at(logread.FirstVersion(g))
	}
	f.Groups++
	f.Entries += uint64(g.Entries)
	f.LastGroup, f.To = g.Number, at(logread.LastVersion(g))
}

// Damage is a defect in a file, and its cost.
type Damage struct {
	File       string    `json:"file"`
	Offset     int64     `json:"offset"`
	Bytes      int64     `json:"bytes,omitempty"` // 0 if unknown
	Reason     string    `json:"reason"`
	Needed     bool      `json:"needed"`                // Open would read it
	Loss       Loss      `json:"loss"`                  // whether data is lost
	Pairs      uint64    `json:"pairs,omitempty"`       // of a snapshot, that cannot be read
	Deadlines  uint64    `json:"deadlines,omitempty"`   // the same, of pairs that can be read
	FirstGroup uint64    `json:"first_group,omitempty"` // missing groups of the log
	LastGroup  uint64    `json:"last_group,omitempty"`
	After      time.Time `json:"after,omitzero"` // the lost data was written after this time
	Before     time.Time `json:"before,omitzero"`
	Keys       *Keys     `json:"keys,omitempty"`

	later bool // a later version wrote it, so it is no damage
}

// Loss says whether damage has lost data.
type Loss string

// Since groups have numbers, it is mostly known whether one is missing.
const (
	None     Loss = "none"     // the data is elsewhere, or there was none
	Possible Loss = "possible" // nothing proves that there was data, or that there was none
	Certain  Loss = "certain"
)

// missing records groups that are missing.
func (d *Damage) missing(first, last uint64) {
	if first <= last {
		d.FirstGroup, d.LastGroup = first, last
	}
}

// Dropped is an incomplete write at the end of the log. A crash has left it, or
// an open store has not finished it.
type Dropped struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
}

// at returns the time of a version, or the zero time for version 0.
func at(version int64) time.Time {
	if version == 0 {
		return time.Time{}
	}
	return time.Unix(0, version)
}

// damageOf converts a defect, which is an error of package format or an
// [*unreadableError].
func damageOf(err error) Damage {
	if e, ok := errors.AsType[*format.Damage](err); ok {
		return Damage{File: e.File, Offset: e.Offset, Reason: e.Reason, Loss: Possible}
	}
	if e, ok := errors.AsType[*format.Later](err); ok {
		return Damage{File: e.File, Offset: e.Offset, Reason: e.Detail, Loss: Possible, later: true}
	}
	d := Damage{Reason: err.Error(), Loss: Possible}
	if e, ok := errors.AsType[*unreadableError](err); ok {
		d.File = e.file
	}
	return d
}

// withReason returns damage with the reason why Open refuses the directory. Its
// loss is Possible at least: nothing vouches for the end of a damaged store,
// and what is missing without a trace is not in damage.
func withReason(damage []Damage, reason error) []Damage {
	d := damageOf(reason)
	d.Needed = true
	at := slices.IndexFunc(damage, func(o Damage) bool {
		return o.File == d.File && (o.Offset == d.Offset || o.Reason == d.Reason)
	})
	switch {
	case at < 0:
		return append(damage, d)
	case damage[at].Loss == None:
		damage[at].Loss = Possible
	}
	return damage
}

// lossOf returns the worst loss of all damage.
func lossOf(damage []Damage) Loss {
	worst := None
	for i := range damage {
		switch damage[i].Loss {
		case Certain:
			return Certain
		case Possible:
			worst = Possible
		case None:
		}
	}
	return worst
}
