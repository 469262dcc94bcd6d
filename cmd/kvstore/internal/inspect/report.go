package inspect

import (
	"errors"
	"time"

	"kvstore/internal/format"
)

// File is a file of the store, and what is whole in it.
type File struct {
	File       string    `json:"file"`
	Bytes      int64     `json:"bytes"`
	Needed     bool      `json:"needed"` // Open reads it; the others it removes
	Pairs      uint64    `json:"pairs,omitempty"`
	Groups     uint64    `json:"groups,omitempty"`
	Entries    uint64    `json:"entries,omitempty"`
	FirstGroup uint64    `json:"first_group,omitempty"`
	LastGroup  uint64    `json:"last_group,omitempty"`
	From       time.Time `json:"from,omitzero"`
	To         time.Time `json:"to,omitzero"` // time of the last commit
}

// count takes in a whole group.
func (f *File) count(g *format.Group) {
	if f.Groups == 0 {
		f.FirstGroup, f.From = g.Number, at(firstVersion(g))
	}
	f.Groups++
	f.Entries += uint64(g.Entries)
	f.LastGroup, f.To = g.Number, at(lastVersion(g))
}

// Damage is something in a file that is wrong, and what is lost by it.
type Damage struct {
	File       string    `json:"file"`
	Offset     int64     `json:"offset"`
	Bytes      int64     `json:"bytes,omitempty"` // 0 if it is not known how many
	Reason     string    `json:"reason"`
	Needed     bool      `json:"needed"`                // Open would read it
	Loss       Loss      `json:"loss"`                  // what it has cost
	Pairs      uint64    `json:"pairs,omitempty"`       // that are lost, of a snapshot
	FirstGroup uint64    `json:"first_group,omitempty"` // groups that are missing, of the log
	LastGroup  uint64    `json:"last_group,omitempty"`
	After      time.Time `json:"after,omitzero"` // what is lost was written after this
	Before     time.Time `json:"before,omitzero"`
	Keys       *Keys     `json:"keys,omitempty"`

	later bool // no damage, but what a later version has written
}

// Loss tells whether something is lost by damage.
type Loss string

// Groups have numbers, so that mostly it is known.
const (
	None     Loss = "none"     // all that belongs there is elsewhere, or was none of the store's data
	Possible Loss = "possible" // nothing proves that there was anything, nor that there was not
	Certain  Loss = "certain"
)

// missing notes groups that are not there.
func (d *Damage) missing(first, last uint64) {
	if first <= last {
		d.FirstGroup, d.LastGroup = first, last
	}
}

// Keys are keys that can still be made out where something is damaged. Nothing vouches for them, and there may have been more.
type Keys struct {
	Count int    `json:"count"`
	First []byte `json:"first"`
	Last  []byte `json:"last"`
}

// newKeys returns what there is to say of keys, which rise; nil for none.
func newKeys(keys []string) *Keys {
	if len(keys) == 0 {
		return nil
	}
	return &Keys{Count: len(keys), First: []byte(keys[0]), Last: []byte(keys[len(keys)-1])}
}

// Dropped is an incomplete write at the end of the log: of a crash, or of a store that is being written to.
type Dropped struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
}

// at returns the time of a version, the zero time for none.
func at(version int64) time.Time {
	if version == 0 {
		return time.Time{}
	}
	return time.Unix(0, version)
}

// damageOf returns what an error of package format says; ok is false for other errors.
func damageOf(err error) (d Damage, ok bool) {
	if e, ok := errors.AsType[*format.Damage](err); ok {
		return Damage{File: e.File, Offset: e.Offset, Reason: e.Reason, Loss: Possible}, true
	}
	if e, ok := errors.AsType[*format.Later](err); ok {
		return Damage{File: e.File, Offset: e.Offset, Reason: e.Detail, Loss: Possible, later: true}, true
	}
	return Damage{}, false
}
