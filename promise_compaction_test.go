package kvstore_test

// This file is about the length of the log: sessions that were never closed do
// not pile up, since Open replaces a long log by a snapshot. Whatever happens
// to that snapshot, nothing is lost (P1, P3).

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kvstore"
	"kvstore/internal/vfs"
)

// countFiles returns the number of segments and of snapshots.
func countFiles(r *rig) (segments, snapshots int) {
	for name := range r.files() {
		switch {
		case strings.HasPrefix(name, "wal-"):
			segments++
		case strings.HasPrefix(name, "snapshot-"):
			snapshots++
		}
	}
	return segments, snapshots
}

// killedSessions opens a store, writes one pair and kills it, n times. It
// returns the pairs.
func killedSessions(r *rig, n int) (pairs []string) {
	r.Helper()
	for i := range n {
		s := r.open()
		pairs = append(pairs, fmt.Sprint("key ", i), fmt.Sprint(i))
		r.set(s, pairs[2*i:]...)
		r.kill(s)
	}
	return pairs
}

// Hundreds of sessions that are killed leave a few files, and no Open syncs
// more than that.
func TestKilledSessionsDoNotPileUp(t *testing.T) {
	const sessions, most = 300, 16
	r := newRig(t)
	var pairs []string
	syncs, mostSyncs := 0, 0
	for i := range sessions {
		syncs = 0
		r.fs.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpSync {
				syncs++
			}
			return nil
		})
		s := r.open()
		r.fs.SetHook(nil)
		mostSyncs = max(mostSyncs, syncs)
		r.want(s, pairs...)
		pairs = append(pairs, fmt.Sprint("key ", i), fmt.Sprint(i))
		r.set(s, pairs[2*i:]...)
		r.kill(s)
		if segments, snapshots := countFiles(r); segments > most+1 || snapshots > 1 {
			t.Fatalf("after %d sessions: %d segments, %d snapshots", i+1, segments, snapshots)
		}
	}
	if mostSyncs > most+5 {
		t.Errorf("an Open with %d fsyncs", mostSyncs)
	}
	s := r.open()
	r.want(s, pairs...)
	r.close(s)
}

// With SnapshotBytes, Open leaves no log that is longer.
func TestOpenBoundsTheBytesOfTheLog(t *testing.T) {
	r := newRig(t)
	s := r.open()
	pairs := some(20)
	r.set(s, pairs...)
	logged := s.Stats().WALBytes
	r.kill(s)
	for _, row := range []struct {
		bound    int64
		compacts bool
	}{{0, false}, {logged, false}, {logged - 1, true}} {
		r.config.SnapshotBytes = row.bound
		s = r.open()
		r.want(s, pairs...)
		segments, snapshots := countFiles(r)
		if got := s.Stats(); (got.WALBytes == 0) != row.compacts || (snapshots == 1) != row.compacts ||
			(segments == 1) != row.compacts || got.Recovery.Snapshot != "" || got.Recovery.Groups != 20 {
			t.Errorf("bound %d of %d bytes: %+v; %d segments, %d snapshots",
				row.bound, logged, got, segments, snapshots)
		}
		r.kill(s)
	}
	s = r.open() // from the snapshot
	r.want(s, pairs...)
	r.close(s)
}

// A read-only store replaces nothing.
func TestReadOnlyStoreDoesNotCompact(t *testing.T) {
	r := newRig(t, kvstore.WithMaxSegments(2))
	pairs := killedSessions(r, 3)
	before := r.files()
	r.config.ReadOnly, r.config.SnapshotBytes = true, 1
	s := r.open()
	r.want(s, pairs...)
	r.close(s)
	r.unchanged(before)
}

// A disk without room for the snapshot does not keep Open from serving: the log
// stays, and the next Open tries again.
func TestNoRoomToCompact(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpCreate, vfs.OpWrite, vfs.OpSync} {
		r := newRig(t, kvstore.WithMaxSegments(2))
		var log strings.Builder
		r.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		pairs := killedSessions(r, 3)
		d := r.fail(func(op vfs.Op) bool {
			return op.Kind == kind && strings.HasPrefix(op.Name, "snapshot-")
		}, syscall.ENOSPC, forever)
		s := r.open()
		r.want(s, pairs...)
		r.set(s, "more", "1")
		segments, snapshots := countFiles(r)
		isTold := strings.Contains(log.String(), "no room for a snapshot")
		if d.failures() != 1 || segments != 4 || snapshots != 0 || !isTold {
			t.Errorf("%s: %d failures, %d segments, %d snapshots, log %s",
				kind, d.failures(), segments, snapshots, &log)
		}
		r.fs.SetHook(nil)
		s = r.reopenAfter(s, r.kill)
		r.want(s, append(pairs, "more", "1")...)
		if segments, snapshots := countFiles(r); segments != 1 || snapshots != 1 {
			t.Errorf("%s: with room again, %d segments, %d snapshots", kind, segments, snapshots)
		}
		r.close(s)
	}
}

// P1, P3: any operation of an Open that compacts may be the last one of its
// process, or before a power cut, or fail. Nothing is lost, and what is served
// then survives the next power cut.
func TestP3CrashWhileOpenCompacts(t *testing.T) {
	for name, last := range map[string]bool{"behind groups": false, "behind an empty segment": true} {
		t.Run(name, func(t *testing.T) {
			r, random := newRandomRig(t, kvstore.WithMaxSegments(2))
			pairs := killedSessions(r, 3)
			if last {
				r.options = nil
				r.kill(r.open())
				r.options = []kvstore.EnvOption{kvstore.WithMaxSegments(2)}
			}
			start := r.fs
			for n, more := 1, true; more; n++ {
				for _, end := range []string{"kill", "power cut", "EIO"} {
					r.fs = start.Clone(random.IntN)
					operations := 0
					r.fs.SetHook(func(vfs.Op) error {
						if operations++; operations != n {
							return nil
						}
						switch end {
						case "kill":
							r.fs.Kill()
						case "power cut":
							r.fs.PowerCut()
						default:
							return syscall.EIO
						}
						return nil
					})
					s, err := r.tryOpen()
					more = operations >= n
					r.fs.SetHook(nil)
					if err == nil {
						r.cutPower(s)
					}
					s = r.open()
					r.want(s, pairs...)
					r.set(s, "more", "1")
					s = r.reopenAfter(s, r.cutPower)
					r.want(s, append(slices.Clip(pairs), "more", "1")...)
					r.kill(s)
				}
			}
			if _, snapshots := countFiles(r); snapshots != 1 {
				t.Errorf("files %q: no Open has compacted", slices.Sorted(maps.Keys(r.files())))
			}
		})
	}
}
