package main

import (
	"fmt"
	"slices"
)

// fault is a kind of violation.
type fault string

const (
	none          fault = ""
	lost          fault = "a promised group is lost"
	invented      fault = "a group comes back, or from nowhere"
	falseAlarm    fault = "Open refuses what only crashes have made"
	overcautious  fault = "Open refuses because of damage that has taken nothing"
	undetected    fault = "Open serves although proven data is damaged"
	notOnDisk     fault = "the disk does not hold what Open serves or Close leaves"
	wrongHistory  fault = "a reader of the history gets other changes"
	cursorLost    fault = "a cursor is refused although all history was kept"
	cursorInvents fault = "a cursor is resumed with changes that do not follow it"
)

// violation is a broken promise.
type violation struct {
	fault  fault
	detail string
}

func (v *violation) String() string { return fmt.Sprintf("%s: %s", v.fault, v.detail) }

// violated ends the run.
func violated(f fault, format string, args ...any) {
	panic(&violation{f, fmt.Sprintf(format, args...)})
}

// promises is what the store has promised so far. It is the specification.
type promises struct {
	groups    []groupID // in commit order
	durable   int       // number of groups that survive a power cut (P1)
	kept      int       // number of groups that survive the death of the process
	replacing []groupID // what a Replace under way may make of groups, nil if there is none
	closed    bool      // the last session has closed without an error
	copied    bool      // the directory is a copy that was not synced

	damaged    bool // bytes were damaged since the last Open
	untrusted  bool // bytes were damaged at some time
	mustRefuse bool // the next Open has to notice the damage
	mayRefuse  bool // the next Open may refuse because of the damage
}

// begin is what Open promises when it serves groups: they are durable (P3).
func (p *promises) begin(groups []groupID) {
	p.groups, p.replacing = slices.Clone(groups), nil
	p.durable, p.kept = len(groups), len(groups)
	p.damaged, p.copied = false, false
}

// allDurable is what a sync of everything promises.
func (p *promises) allDurable() {
	p.durable, p.kept = len(p.groups), len(p.groups)
}

// check compares a judgement with what was promised. It reports whether Open
// goes on. With onlyLosses, damage that takes no group need not be noticed.
func (p *promises) check(j *judgement, onlyLosses bool) bool {
	if j.refused != "" {
		if !p.damaged {
			violated(falseAlarm, "%s", j.refused)
		}
		if !p.mayRefuse {
			violated(overcautious, "%s", j.refused)
		}
		return false
	}
	if p.damaged && p.mustRefuse && (!onlyLosses || len(j.groups) < len(p.groups)) {
		violated(undetected, "it serves %v of %v", j.groups, p.groups)
	}
	if p.replacing != nil && slices.Equal(j.groups, p.replacing) {
		return true // the Replace has won
	}
	if len(j.groups) > len(p.groups) || !slices.Equal(j.groups, p.groups[:len(j.groups)]) {
		violated(invented, "recovered %v, commit order %v", j.groups, p.groups)
	}
	if len(j.groups) < p.kept {
		violated(lost, "recovered %v, promised %v", j.groups, p.groups[:p.kept])
	}
	return true
}

// checkDisk reads the disk as a program does that knows SET, DELETE and the
// pairs of a snapshot, and verifies nothing. docs/FORMAT.md promises that it
// reads the same state from a directory that Open or Close has left whole.
func (w *world) checkDisk(groups []groupID) {
	if w.promised.untrusted {
		return
	}
	var got []groupID
	first := 1
	for _, f := range w.disk.synced {
		if f.name.snapshot {
			first, got = f.name.number, slices.Clone(w.states[f.disk[0].id].groups)
		}
	}
	for _, f := range w.disk.synced {
		if f.name.snapshot || f.name.number < first {
			continue
		}
		for _, p := range f.disk {
			if p.kind == zeros {
				break // the segment ends here for this program
			}
			if g := groupID(p.id); p.kind == entries && (len(got) == 0 || got[len(got)-1] != g) {
				got = append(got, g)
			}
		}
	}
	if !slices.Equal(got, groups) {
		violated(notOnDisk, "the disk holds %v, the store %v", got, groups)
	}
}

func (p *promises) appendKey(b []byte) []byte {
	b = appendGroups(b, p.groups)
	b = append(b, byte(p.durable), byte(p.kept), bit(p.replacing != nil), bit(p.closed), bit(p.copied))
	b = appendGroups(b, p.replacing)
	return append(b, bit(p.damaged), bit(p.untrusted), bit(p.mustRefuse), bit(p.mayRefuse))
}
