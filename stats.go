package kvstore

import (
	"slices"
	"time"

	"kvstore/internal/format"
	"kvstore/internal/recovery"
)

// Stats are figures about a store. Counters count from Open.
type Stats struct {
	Keys     int    // keys present, as Len counts them
	WALBytes int64  // bytes of groups in the log that no snapshot covers; Close does not change it
	Syncs    uint64 // fsyncs that made a group of writes durable; 0 with SyncWrites false
	Groups   uint64 // groups of commits written together
	Commits  uint64 // commits: each Set, Delete and non-empty batch is one, and each deletion of keys that are due
	Version  int64  // of the last commit that readers see, as [View.Version] gives it; not reset by Open
	Recovery Recovery

	// Views counts the open views: those of callers, and those that the store
	// opens itself for a scan, a transaction, a snapshot under way, or a large
	// read (Keys, MultiGet, a long value). OldestView is the age of the oldest
	// of them. ViewBytes is 0 while Views is 0.
	Views      int
	OldestView time.Duration // 0 if there is none
	ViewBytes  int64         // memory that is kept for views alone

	// MemoryMapped is what the table of keys and values has from the system. On
	// Linux it lies outside the Go heap. MemoryUsed is the part that is in use:
	// keys, values, what finds them, and old states for views. The ordered
	// index is not in it.
	MemoryMapped int64
	MemoryUsed   int64

	Expiring   int           // keys with a deadline, those included whose deadline has passed
	Due        int           // keys whose deadline has passed and that are not deleted yet; Keys has none of them
	ExpireLag  time.Duration // how long ago the earliest of their deadlines was, 0 if there is none
	Expired    uint64        // keys deleted because their deadline had passed
	ClockSteps uint64        // times that the wall clock stepped forward by more than a minute: see [Store.Now]

	Snapshots    uint64    // snapshots written, that of Close too
	LastSnapshot time.Time // when the last of them was complete; zero if there is none
	DiskBytes    int64     // sizes of the store's files, with the space that is reserved in the log
	QueueBytes   int64     // of writes that have no answer yet, at most 32 MiB; a small one counts for 2 KiB
}

// Stats returns figures about the store, without I/O. After Close it returns
// the last ones.
func (s *Store) Stats() Stats {
	stats := Stats{
		Keys:     int(s.status.keys.Load()),
		WALBytes: s.status.walBytes.Load(),
		Syncs:    s.status.syncs.Load(),
		Groups:   s.status.groups.Load(),
		Commits:  s.status.commits.Load(),
		Version:  s.memory.Version(),
		Recovery: s.recovery,

		Expired:    s.status.expired.Load(),
		ClockSteps: s.clock.steps.Load(),

		Snapshots: s.status.snapshots.Load(),
		DiskBytes: s.disk.Bytes(),
	}
	s.addDue(&stats)
	if s.config.InMemory {
		stats.WALBytes, stats.Syncs, stats.DiskBytes = 0, 0, 0
	}
	stats.MemoryMapped, stats.MemoryUsed = s.memory.Memory()
	if at := s.status.lastSnapshot.Load(); at != nil {
		stats.LastSnapshot = *at
	}
	if s.mailbox != nil {
		stats.QueueBytes = s.mailbox.Bytes()
	}
	stats.Recovery.Dropped = slices.Clone(stats.Recovery.Dropped)
	var since time.Time
	if stats.Views, since, stats.ViewBytes = s.memory.Views(); stats.Views > 0 {
		stats.OldestView = time.Since(since)
	}
	return stats
}

// addDue adds the figures about deadlines, as they are now.
func (s *Store) addDue(stats *Stats) {
	t := s.table.Load()
	if t == nil {
		return
	}
	now, oldest := t.Now(), int64(0)
	stats.Keys, stats.Expiring = t.Len(), t.Expiring()
	if stats.Due, oldest = t.Due(now); stats.Due > 0 {
		stats.ExpireLag = time.Duration(now - oldest)
	}
}

// Recovery is what Open found; it is part of [Stats].
type Recovery struct {
	Snapshot string        // base name of the snapshot that was loaded, "" if there was none
	Groups   uint64        // groups replayed from the log
	Entries  uint64        // entries in them: SET and DELETE, EXPIRE for a deadline, CAUSE for a deletion of due keys
	Dropped  []Dropped     // torn tails: incomplete writes that a crash left, none of them acknowledged as durable
	Took     time.Duration // from the call of Open until the store could serve
}

// Dropped is a torn tail of the log that recovery cut off.
type Dropped struct {
	File   string // base name
	Offset int64  // where the tail begins
	Bytes  int64  // up to the last byte that was not zero
}

// newRecovery returns the report on a recovery, but for the time it took.
func newRecovery(state *recovery.State) Recovery {
	r := Recovery{Groups: state.Groups, Entries: state.Entries}
	if state.Snapshot > 0 {
		r.Snapshot = format.SnapshotName(state.Snapshot)
	}
	for _, d := range state.Dropped {
		r.Dropped = append(r.Dropped, Dropped(d))
	}
	return r
}

// compacted counts the snapshot with which recovery may have replaced the log,
// and tells the Logger of it.
func (s *Store) compacted(state *recovery.State, now time.Time) {
	l := s.config.Logger.With("dir", s.config.DataDir)
	switch {
	case state.Uncompacted != nil:
		l.Warn("kvstore: no room for a snapshot of the log", "error", state.Uncompacted)
	case state.Newest != state.Snapshot:
		s.status.snapshots.Store(1)
		s.status.lastSnapshot.Store(&now)
		l.Info("kvstore: snapshot written", "file", format.SnapshotName(state.Newest), "keys", state.Table.Size())
	}
}

// logOpened tells the Logger what Open found, and warnings of what endangers
// the data. syncsNames says that the file system has an fsync for directories.
func (s *Store) logOpened(syncsNames bool) {
	l := s.config.Logger.With("dir", s.config.DataDir)
	for _, d := range s.recovery.Dropped {
		l.Warn("kvstore: dropped the torn tail of the log", "file", d.File, "offset", d.Offset, "bytes", d.Bytes)
	}
	if !s.config.SyncWrites && !s.config.ReadOnly {
		l.Warn("kvstore: SyncWrites is off, a power cut may lose the last writes",
			"interval", s.config.SyncInterval)
	}
	if !syncsNames {
		l.Warn("kvstore: the file system has no fsync for directories, a power cut may lose new files")
	}
	l.Info("kvstore: opened", "snapshot", s.recovery.Snapshot, "groups", s.recovery.Groups,
		"entries", s.recovery.Entries, "keys", s.status.keys.Load(), "took", s.recovery.Took)
}
