package kvstore_test

// This file bounds what each phase of a store takes beside the store itself:
// open files, disk, and fsyncs. docs/OPERATIONS.md has the table. Package tests
// measures what the phases take of memory.

import (
	"bytes"
	"testing"

	"kvstore"
	"kvstore/internal/vfs"
)

// phaseUse is what a phase takes.
type phaseUse struct {
	fileSyncs, dirSyncs int
	handles             int   // open directories, files and locks, at the peak
	disk                int64 // bytes of files beyond those before the phase, at the peak
}

// use runs a phase and returns what it takes.
func (r *rig) use(phase func()) (use phaseUse) {
	disk := r.diskBytes()
	look := func() {
		use.handles = max(use.handles, r.fs.Handles())
		use.disk = max(use.disk, r.diskBytes()-disk)
	}
	r.fs.SetHook(func(op vfs.Op) error {
		look()
		switch op.Kind { //nolint:exhaustive // only these are counted
		case vfs.OpSync:
			use.fileSyncs++
		case vfs.OpSyncDir, vfs.OpSyncParent:
			use.dirSyncs++
		}
		return nil
	})
	phase()
	r.fs.SetHook(nil)
	look()
	return use
}

// diskBytes returns the size of all files.
func (r *rig) diskBytes() (n int64) {
	for _, data := range r.files() {
		n += int64(len(data))
	}
	return n
}

// phase is something that a user does with a store.
type phase struct {
	name string
	do   func(r *rig, s **kvstore.Store)
	want phaseUse // exactly these fsyncs, and at most these handles and bytes
}

// The sizes in the rows. A system counts two descriptors more than there are
// handles: an open directory and a lock take two each.
const (
	boundsSegment  = 256 << 10 // of the first segment
	boundsSnapshot = 20 << 10  // more than a snapshot of what the test writes
)

func openPhase(r *rig, s **kvstore.Store) { *s = r.open() }

func readOnlyPhase(r *rig, s **kvstore.Store) {
	r.config.ReadOnly = true
	*s = r.open()
	r.config.ReadOnly = false
}

func closePhase(r *rig, s **kvstore.Store)    { r.close(*s) }
func snapshotPhase(r *rig, s **kvstore.Store) { r.ok((*s).Snapshot(ctx)) }
func setPhase(r *rig, s **kvstore.Store)      { r.set(*s, some(60)...) }

// leavePhase kills the store and goes to another directory.
func leavePhase(r *rig, s **kvstore.Store) {
	r.kill(*s)
	r.config.DataDir += "-restored"
}

// killedPhase leaves a log of four segments of killed sessions.
func killedPhase(r *rig, s **kvstore.Store) {
	for range 4 {
		*s = r.open()
		r.set(*s, "a", "1")
		r.kill(*s)
	}
}

func backupPhase(r *rig, s **kvstore.Store) {
	v, err := (*s).View()
	r.ok(err)
	var backup bytes.Buffer
	_, err = v.WriteTo(&backup)
	r.ok(err)
	r.ok(v.Close())
	r.ok(r.fs.WriteFile("/backup", backup.Bytes()))
}

func restorePhase(r *rig, _ **kvstore.Store) {
	backup, _ := r.fs.ReadFile("/backup")
	r.ok(kvstore.RestoreFS(r.fs, r.config.DataDir, bytes.NewReader(backup)))
}

// The fsyncs of a phase do not depend on how much is in the store, but for
// those of a killed log, one for each segment. Nothing but a snapshot takes
// disk in proportion to the store.
func TestBoundsOfEachPhase(t *testing.T) {
	phases := []phase{
		{"create a store", openPhase, phaseUse{1, 6, 3, boundsSegment}},
		{"close it without a write", closePhase, phaseUse{1, 2, 4, 1 << 10}},
		{"open a closed store", openPhase, phaseUse{2, 2, 4, boundsSegment}},
		{"60 Sets in one segment", setPhase, phaseUse{60, 0, 3, 0}},
		{"snapshot", snapshotPhase, phaseUse{3, 3, 4, boundsSegment + boundsSnapshot}},
		{"snapshot without a write", snapshotPhase, phaseUse{0, 0, 3, 0}},
		{"60 Sets", setPhase, phaseUse{60, 0, 3, 0}},
		{"backup", backupPhase, phaseUse{0, 0, 3, 0}},
		{"close", closePhase, phaseUse{2, 2, 4, boundsSnapshot}},
		{"open read-only", readOnlyPhase, phaseUse{0, 0, 3, 0}},
		{"close read-only", closePhase, phaseUse{0, 0, 3, 0}},
		{"four sessions that are killed", killedPhase, phaseUse{18, 8, 4, 2 * boundsSegment}},
		{"open read-only after kills", readOnlyPhase, phaseUse{0, 0, 3, 0}},
		{"close read-only", closePhase, phaseUse{0, 0, 3, 0}},
		{"open after kills", openPhase, phaseUse{4 + 2, 2, 4, boundsSegment}},
		{"leave", leavePhase, phaseUse{0, 0, 3, 0}},
		{"restore", restorePhase, phaseUse{1, 4, 3, boundsSnapshot}},
	}
	r := newRig(t, inline, kvstore.WithFirstSegmentBytes(boundsSegment))
	var s *kvstore.Store
	for _, p := range phases {
		use := r.use(func() { p.do(r, &s) })
		t.Logf("%-30s %+v", p.name, use)
		if use.fileSyncs != p.want.fileSyncs || use.dirSyncs != p.want.dirSyncs || use.handles > p.want.handles ||
			use.disk > p.want.disk {
			t.Errorf("%s: %+v, want %+v", p.name, use, p.want)
		}
	}
}
